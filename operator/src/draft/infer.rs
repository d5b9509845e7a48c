//! A profile becomes tables: columns, child tables, keys, references.
//!
//! Each own table, and each child table of documents, has a column `rest`, so that nothing of a document is
//! lost: what has no column of its own, and fields that come later, are in it. Objects of fixed fields
//! become columns, arrays of documents child tables; objects with free keys, and whatever is of several
//! types, stay JSON.

mod comment;

use super::{
    kind::Kind,
    names::Names,
    profile::{FIELDS_MAX, Node, Profile},
    types::{self, Type},
};

/// The step of a path that stands for an array's elements; no field has this name.
pub const ELEMENTS: &str = "\0";
/// PostgreSQL takes 1,600 columns at most, and a row of many wide ones does not fit into a page.
const COLUMNS_MAX: usize = 250;
/// Levels of child tables, and of objects whose fields become columns.
const NESTED_MAX: usize = 4;

/// A table.
#[derive(Debug)]
pub struct TableDraft {
    /// Its name.
    pub name: String,
    /// Of a child table, the path of its array.
    pub from: Option<Vec<String>>,
    /// Its primary key.
    pub key: Vec<String>,
    /// Its columns.
    pub columns: Vec<ColumnDraft>,
    /// The tables below.
    pub children: Vec<TableDraft>,
}

/// Where a column's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The value at this path; of no steps, the element itself.
    Path(Vec<String>),
    /// That column of the table above.
    Parent(String),
    /// The element's position.
    Position,
    /// What nothing else takes.
    Rest,
}

/// A column.
#[derive(Debug)]
pub struct ColumnDraft {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub origin: Origin,
    /// Its type.
    pub typed: Type,
    /// The collection whose key it refers to, by its position.
    pub parent: Option<usize>,
    /// NUL characters are taken out, since the whole value is elsewhere.
    pub without_nul: bool,
    /// What was seen.
    pub comment: String,
}

/// A reference that was found: at this path, to the collection of that position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The path, with [`ELEMENTS`] in it.
    pub path: Vec<String>,
    /// The collection that it points to.
    pub to: usize,
    /// The type of the column.
    pub typed: Type,
}

/// What the tables are made from.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'p> {
    /// The collection's name.
    pub name: &'p str,
    /// Its profile.
    pub profile: &'p Profile,
    /// Its references.
    pub references: &'p [Found],
}

/// The tables of a collection, and what a person has to look at.
pub fn tables(seen: Seen<'_>, names: &mut Names) -> (TableDraft, Vec<String>) {
    let mut work = Work {
        seen,
        names,
        unsure: Vec::new(),
    };
    let table = work.root();
    (table, work.unsure)
}

struct Work<'w> {
    seen: Seen<'w>,
    names: &'w mut Names,
    unsure: Vec<String>,
}

/// A table that is being made.
struct Making {
    table: TableDraft,
    taken: Names,
    /// Where its rows are, from the document, with [`ELEMENTS`] in it.
    place: Vec<String>,
    /// How many rows it has.
    rows: u64,
    /// Fields that found no place.
    left_out: usize,
    level: usize,
}

impl Work<'_> {
    fn root(&mut self) -> TableDraft {
        let profile = self.seen.profile;
        let mut making = Making::new(self.names.take(self.seen.name), None, profile.documents);
        let nothing = Node::default();
        let id = profile.root.fields.by_name.get("_id").unwrap_or(&nothing);
        let key = types::key(id);
        let made = key == types::MADE_UUID;
        let comment = match made {
            true => format!("{}; a UUID made of it", comment::coverage(id, making.rows)),
            false => comment::coverage(id, making.rows),
        };
        let column = making.column("_id", Origin::Path(vec!["_id".to_owned()]), key, comment);
        making.table.key.push(column);
        if made {
            let path = Origin::Path(vec!["_id".to_owned()]);
            making.column(
                "source_id",
                path,
                types::JSON,
                "the `_id` itself".to_owned(),
            );
            if let Some(column) = making.table.columns.last_mut() {
                column.without_nul = id.texts.nul > 0 || id.count(Kind::Object) > 0;
            }
        }
        self.fields(&mut making, &profile.root, &[]);
        self.finish(making)
    }

    /// The column for the rest, and what was left to it.
    fn finish(&mut self, mut making: Making) -> TableDraft {
        let comment = "what has no column of its own, and fields that come later".to_owned();
        making.column("rest", Origin::Rest, types::JSON, comment);
        if making.left_out > 0 {
            self.unsure.push(format!(
                "{}: {} more fields have no column of their own and go to `rest`",
                making.table.name, making.left_out
            ));
        }
        making.table
    }

    fn fields(&mut self, making: &mut Making, node: &Node, above: &[String]) {
        if node.fields.more > 0 {
            self.unsure.push(format!(
                "{}: {} values of fields beyond the bound were not looked at; they go to `rest`",
                making.table.name, node.fields.more
            ));
        }
        for name in &node.fields.order {
            let Some(below) = node.fields.by_name.get(name) else {
                continue;
            };
            if above.is_empty() && making.place.is_empty() && name == "_id" {
                continue;
            }
            // A path cannot name these: no step is empty, and a number is a position.
            if name.is_empty() || name.bytes().all(|byte| byte.is_ascii_digit()) {
                self.unsure.push(format!(
                    "{}: a field called {name:?} cannot be named by a path; it goes to `rest`",
                    making.table.name
                ));
                continue;
            }
            let mut path = above.to_vec();
            path.push(name.clone());
            self.field(making, below, path);
        }
    }

    fn field(&mut self, making: &mut Making, node: &Node, path: Vec<String>) {
        let title = path.join("_");
        if making.table.columns.len() >= COLUMNS_MAX {
            making.left_out += 1;
            return;
        }
        let types = node.types();
        if types == [Kind::Object] && path.len() < NESTED_MAX && is_fixed(node) {
            self.fields(making, node, &path);
            return;
        }
        if types == [Kind::Array] && making.level < NESTED_MAX {
            let mut elements_at = making.place.clone();
            elements_at.extend(path.iter().cloned());
            elements_at.push(ELEMENTS.to_owned());
            let Some(elements) = &node.elements else {
                return self.plain(making, node, path, &title);
            };
            let reference = self.reference(&elements_at);
            let documents = elements.types() == [Kind::Object] && is_fixed(elements);
            if documents || reference.is_some() {
                let below = self.child(making, elements, path, elements_at);
                making.table.children.push(below);
                return;
            }
        }
        self.plain(making, node, path, &title);
    }

    fn plain(&mut self, making: &mut Making, node: &Node, path: Vec<String>, title: &str) {
        let mut at = making.place.clone();
        at.extend(path.iter().cloned());
        let reference = self.reference(&at);
        let covering = types::covering(node);
        let Some(typed) = reference.as_ref().map(|r| r.typed.clone()).or(covering) else {
            self.unsure.push(format!(
                "{}: `{}` was null wherever it was; it goes to `rest`",
                making.table.name,
                show_path(&path)
            ));
            return;
        };
        if node.types().len() > 1 && typed.is_json() {
            self.unsure.push(format!(
                "{}: `{}` is {}; it is kept as jsonb",
                making.table.name,
                show_path(&path),
                comment::coverage(node, making.rows)
            ));
        }
        let comment = comment::column(node, making.rows, &typed);
        making.column(title, Origin::Path(path), typed, comment);
        if let (Some(column), Some(found)) = (making.table.columns.last_mut(), reference) {
            column.parent = Some(found.to);
        }
    }

    fn reference(&self, path: &[String]) -> Option<Found> {
        let references = self.seen.references.iter();
        references
            .into_iter()
            .find(|found| found.path == path)
            .cloned()
    }

    /// A table of an array's elements: keyed by their position, since nothing else is sure to differ.
    fn child(
        &mut self,
        above: &Making,
        elements: &Node,
        path: Vec<String>,
        place: Vec<String>,
    ) -> TableDraft {
        let title = format!("{}_{}", above.table.name, path.join("_"));
        let mut making = Making::new(self.names.take(&title), Some(path.clone()), elements.seen());
        making.place = place;
        making.level = above.level + 1;
        for key in &above.table.key {
            let title = match above.table.from {
                None => format!("{}_{key}", above.table.name),
                Some(_) => key.clone(),
            };
            let parent = Origin::Parent(key.clone());
            let name = making.column(&title, parent, types::JSON, String::new());
            making.table.key.push(name);
        }
        let title = match above.table.from {
            None => "position".to_owned(),
            Some(_) => format!("{}_position", path.join("_")),
        };
        let integer = Type::plain("integer");
        let position = making.column(&title, Origin::Position, integer, String::new());
        making.table.key.push(position);
        match self.reference(&making.place) {
            Some(found) => {
                let comment = comment::column(elements, making.rows, &found.typed);
                let own = Origin::Path(Vec::new());
                let title = path.last().map_or("value", String::as_str);
                making.column(title, own, found.typed, comment);
                if let Some(column) = making.table.columns.last_mut() {
                    column.parent = Some(found.to);
                }
                making.table
            }
            None => {
                self.fields(&mut making, elements, &[]);
                self.finish(making)
            }
        }
    }
}

impl Making {
    fn new(name: String, from: Option<Vec<String>>, rows: u64) -> Self {
        Self {
            table: TableDraft {
                name,
                from,
                key: Vec::new(),
                columns: Vec::new(),
                children: Vec::new(),
            },
            taken: Names::default(),
            place: Vec::new(),
            rows,
            left_out: 0,
            level: 0,
        }
    }

    /// Adds a column, and gives its name.
    fn column(&mut self, title: &str, origin: Origin, typed: Type, comment: String) -> String {
        let name = self.taken.take(title);
        self.table.columns.push(ColumnDraft {
            name: name.clone(),
            origin,
            typed,
            parent: None,
            without_nul: false,
            comment,
        });
        name
    }
}

/// Whether the objects have fields that a table can have as columns, and not free keys.
fn is_fixed(node: &Node) -> bool {
    const MANY: usize = 20;
    let names = &node.fields.order;
    let whole = names.len() < FIELDS_MAX && node.fields.more == 0 && node.deeper == 0;
    if names.is_empty() || !whole {
        return false;
    }
    let keys = names.iter().filter(|name| is_key(name)).count();
    let objects = node.count(Kind::Object);
    let fields: u64 = node.fields.by_name.values().map(Node::seen).sum();
    let count = u64::try_from(names.len()).unwrap_or(u64::MAX);
    // Of many names, an object has few: they are data.
    let sparse = names.len() > MANY && fields.saturating_mul(5) < count.saturating_mul(objects);
    2 * keys < names.len() && !sparse
}

/// Whether a name looks like data: a number, a day, an ObjectId, a UUID.
fn is_key(name: &str) -> bool {
    let data = |c: char| c.is_ascii_hexdigit() || matches!(c, '-' | ':' | '.');
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    digits > 0 && name.chars().all(data) && (2 * digits >= name.len() || name.len() >= 24)
}

/// A path as a mapping writes it.
pub fn show_path(path: &[String]) -> String {
    if path.is_empty() {
        return ".".to_owned();
    }
    let step = |step: &String| step.replace('\\', "\\\\").replace('.', "\\.");
    path.iter().map(step).collect::<Vec<_>>().join(".")
}
