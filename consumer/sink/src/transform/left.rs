//! Fields of a document that no column takes, so that nothing of them is in PostgreSQL.
//!
//! What all tables of a collection take together is one tree of names; a walk over a document tells each
//! path that leaves the tree, at the place where it leaves it: of an object of which nothing is taken its
//! own path, and nothing below. A column with `rest` takes everything that is left, an expression the fields
//! that it names. A condition takes nothing. It is pure, and looks at names and structure alone.

use bson::{RawBsonRef, RawDocument, raw::RawIter};
use leafcutter_schemas::{
    expression,
    mapping::{Collection, ColumnSource, Path, RowSource, Table},
};
use std::collections::BTreeMap;

/// What stands in a path for an element of an array.
const ELEMENT: &str = "[]";
/// What stands in a path for a name in a map.
const ANY_NAME: &str = "*";

/// What the tables of a collection take.
#[derive(Debug, Default)]
pub struct Taken {
    root: Node,
}

/// What is taken at a path and below.
#[derive(Debug, Default)]
struct Node {
    /// All of it.
    whole: bool,
    names: BTreeMap<String, Node>,
    /// Of the elements of an array.
    elements: Option<Box<Node>>,
    /// Of the values of a map.
    values: Option<Box<Node>>,
}

impl Node {
    fn at(&mut self, path: &Path) -> &mut Self {
        let mut node = self;
        for step in path.steps() {
            node = node.names.entry(step.clone()).or_default();
        }
        node
    }

    fn take(&mut self, table: &Table) {
        for column in &table.columns {
            match &column.source {
                ColumnSource::Path(path) => self.at(path).whole = true,
                ColumnSource::FirstOf(paths) => {
                    paths.iter().for_each(|path| self.at(path).whole = true);
                }
                ColumnSource::Rest => self.whole = true,
                ColumnSource::Expression { text, .. } => {
                    let Ok(read) = expression::read(text) else {
                        continue;
                    };
                    let id = read.id.then(|| "_id".to_owned());
                    self.whole |= read.fields.is_none();
                    for field in read.fields.into_iter().flatten().chain(id) {
                        self.names.entry(field).or_default().whole = true;
                    }
                }
                ColumnSource::Parent(_)
                | ColumnSource::Position
                | ColumnSource::MapKey
                | ColumnSource::Set
                | ColumnSource::Derived(_)
                | ColumnSource::Deleted
                | ColumnSource::Constant(_) => {}
            }
        }
        for child in &table.children {
            let RowSource::Elements(sources) = &child.rows else {
                continue;
            };
            for source in sources {
                let node = self.at(&source.path);
                let below = if source.map {
                    &mut node.values
                } else {
                    &mut node.elements
                };
                below.get_or_insert_default().take(child);
            }
        }
    }

    fn is_leaf(&self) -> bool {
        self.names.is_empty() && self.elements.is_none() && self.values.is_none()
    }
}

impl Taken {
    /// What the tables of this collection take.
    pub fn of(collection: &Collection) -> Self {
        let mut root = Node::default();
        collection.tables.iter().for_each(|table| root.take(table));
        Self { root }
    }

    /// Whether something takes what stands at such a path, or a part of it.
    pub fn takes(&self, path: &str) -> bool {
        let Some(path) = Path::parse(&path.replace(ELEMENT, &format!(".{ELEMENT}"))) else {
            return false;
        };
        let mut node = &self.root;
        for step in path.steps() {
            let below = match &**step {
                _ if node.whole => return true,
                ELEMENT => node.elements.as_deref(),
                name => node.names.get(name).or(node.values.as_deref()),
            };
            let Some(below) = below else { return false };
            node = below;
        }
        true
    }

    /// Tells the path of everything in a document that nobody takes, of an element's field once for each
    /// element.
    pub fn left(&self, document: &RawDocument, each: &mut dyn FnMut(&str)) {
        let mut walk = Walk {
            path: String::new(),
            each,
        };
        if !self.root.whole {
            walk.fields(&self.root, document.iter_elements());
        }
    }
}

struct Walk<'w> {
    path: String,
    each: &'w mut dyn FnMut(&str),
}

impl Walk<'_> {
    fn fields(&mut self, node: &Node, elements: RawIter<'_>) {
        for element in elements.map_while(Result::ok) {
            let name = element.key().as_str();
            let (below, shown) = match (node.names.get(name), &node.values) {
                (Some(below), _) => (Some(below), escaped(name)),
                (None, Some(values)) => (Some(&**values), ANY_NAME.to_owned()),
                (None, None) => (None, escaped(name)),
            };
            let before = self.path.len();
            if before > 0 {
                self.path.push('.');
            }
            self.path.push_str(&shown);
            match (below, element.value()) {
                (Some(below), Ok(value)) => self.value(below, value),
                (Some(_), Err(_)) | (None, _) => (self.each)(&self.path),
            }
            self.path.truncate(before);
        }
    }

    fn value(&mut self, node: &Node, value: RawBsonRef<'_>) {
        match value {
            _ if node.whole => {}
            // Where something is looked for below, nothing is nothing.
            RawBsonRef::Null | RawBsonRef::Undefined if !node.is_leaf() => {}
            RawBsonRef::Document(document) if !node.names.is_empty() || node.values.is_some() => {
                self.fields(node, document.iter_elements());
            }
            RawBsonRef::Array(array) if node.elements.is_some() || !node.names.is_empty() => {
                let before = self.path.len();
                self.path.push_str(ELEMENT);
                for (index, item) in array.into_iter().map_while(Result::ok).enumerate() {
                    match (node.names.get(&index.to_string()), &node.elements) {
                        (_, Some(below)) => self.value(below, item),
                        (Some(below), None) => self.value(below, item),
                        (None, None) => (self.each)(&self.path),
                    }
                }
                self.path.truncate(before);
            }
            _ => (self.each)(&self.path),
        }
    }
}

/// A name as it stands in a path of the mapping.
fn escaped(name: &str) -> String {
    Path::name(name).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Document, RawDocumentBuf, doc};
    use leafcutter_schemas::mapping::parse;

    fn left(columns: &str, document: &Document) -> Vec<String> {
        let document = RawDocumentBuf::try_from(document).unwrap();
        let mut all = Vec::new();
        taken(columns).left(&document, &mut |path| all.push(path.to_owned()));
        all
    }

    fn taken(columns: &str) -> Taken {
        let text = format!(
            "version: 1\ndatabase: d\ncollections:\n  c:\n    table: t\n    key: id\n    columns:\n      \
             id: {{ path: _id, type: bigint }}\n{columns}"
        );
        Taken::of(&parse::load(&text, "test").unwrap().collections[0])
    }

    #[test]
    fn a_field_is_told_where_it_leaves_what_is_taken() {
        let columns =
            "      a: { path: x.a, type: text }\n      first: { path: list.0, type: text }\n";
        let document = doc! {
            "_id": 1, "x": { "a": 1, "b": { "c": 1 } }, "y.z": null, "list": ["a", "b"], "w": [1],
        };
        assert_eq!(left(columns, &document), ["x.b", r"y\.z", "list[]", "w"]);
        let taken = taken(columns);
        for path in ["x.b", "x.b.c", r"y\.z", "list[]", "w", "list.1"] {
            assert!(!taken.takes(path), "{path}");
        }
        for path in ["_id", "x", "x.a", "x.a.deeper", "list.0"] {
            assert!(taken.takes(path), "{path}");
        }
        assert_eq!(left(columns, &doc! { "_id": 1, "x": 5 }), ["x"]);
        assert_eq!(left(columns, &doc! { "_id": 1, "x": null }), [""; 0]);
    }

    #[test]
    fn elements_and_values_of_maps_are_looked_into() {
        let columns = "    children:\n      - table: e\n        from: items\n        key: [id, n]\n        \
            columns:\n          id: { parent: id }\n          n: { position: true, type: integer }\n          \
            sku: { type: text }\n      - table: m\n        from: { map: scores }\n        key: [id, k]\n        \
            columns:\n          id: { parent: id }\n          k: { map_key: true, type: text }\n          \
            v: { path: v, type: integer }\n";
        let document = doc! {
            "_id": 1, "items": [{ "sku": "a", "note": 1 }, { "sku": "b" }],
            "scores": { "x": { "v": 1, "w": 2 } },
        };
        assert_eq!(left(columns, &document), ["items[].note", "scores.*.w"]);
        let taken = taken(columns);
        assert!(!taken.takes("items[].note") && taken.takes("items[].sku"));
        assert!(!taken.takes("scores.*.w") && taken.takes("scores.*.v"));
    }

    #[test]
    fn rest_takes_everything_and_an_expression_what_it_names() {
        let document = doc! { "_id": 1, "a": 1, "b": 2 };
        let rest = "      extra: { rest: true, type: jsonb }\n";
        assert_eq!(left(rest, &document), [""; 0]);
        assert!(taken(rest).takes("a[].b"));
        let named = "      n: { expression: \"doc.a\", type: integer }\n";
        assert_eq!(left(named, &document), ["b"]);
    }
}
