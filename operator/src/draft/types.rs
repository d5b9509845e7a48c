//! Which column takes every value that was seen at a path: its type and its conversion.
//!
//! The type covers all values without loss, or it is `jsonb`, which takes everything. What no column takes
//! at all (NUL characters, dates beyond PostgreSQL) is said beside the column and counted by the
//! [proof](super::proof).

use super::{kind::Kind, profile::Node};

/// A column's type and conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// The type, as the mapping writes it.
    pub name: &'static str,
    /// The conversion, if not `auto`.
    pub convert: Option<&'static str>,
}

impl Type {
    /// A type without conversion.
    pub const fn plain(name: &'static str) -> Self {
        let convert = None;
        Self { name, convert }
    }

    /// Whether it is JSON.
    pub fn is_json(&self) -> bool {
        self.name == "jsonb"
    }
}

/// JSON, which takes everything.
pub const JSON: Type = Type::plain("jsonb");
/// Text of ObjectIds and of other ids.
pub const ID_TEXT: Type = Type {
    name: "text",
    convert: Some("text"),
};
/// The UUID made of any value.
pub const MADE_UUID: Type = Type {
    name: "uuid",
    convert: Some("uuid-v5"),
};

/// Longer texts may not fit into an index (a third of a page, 2,704 bytes).
pub const INDEXED_BYTES_MAX: usize = 1_000;

/// The type that takes every value of a node; none where there was no value.
pub fn covering(node: &Node) -> Option<Type> {
    let types = node.types();
    if types == [Kind::Array] {
        return Some(array(node).unwrap_or(JSON));
    }
    (!types.is_empty()).then(|| scalar(node, &types).unwrap_or(JSON))
}

fn scalar(node: &Node, types: &[Kind]) -> Option<Type> {
    if types.iter().all(|kind| kind.is_number()) {
        return Some(number(node, types));
    }
    let texts = node.count(Kind::Text);
    Some(match types {
        [Kind::Text] => Type::plain("text"),
        [Kind::Boolean] => Type::plain("boolean"),
        [Kind::Date] => Type::plain("timestamptz"),
        [Kind::ObjectId] => ID_TEXT,
        [Kind::Text, Kind::ObjectId] if node.texts.object_ids == texts => ID_TEXT,
        [Kind::Binary] if all_uuids(node) => Type::plain("uuid"),
        [Kind::Binary] => Type::plain("bytea"),
        [Kind::Text, Kind::Binary] if all_uuids(node) && node.texts.uuids == texts => {
            Type::plain("uuid")
        }
        _ => return None,
    })
}

fn all_uuids(node: &Node) -> bool {
    node.binaries.uuids == node.count(Kind::Binary)
}

fn number(node: &Node, types: &[Kind]) -> Type {
    let has = |kind| types.contains(&kind);
    Type::plain(if has(Kind::Decimal) {
        "numeric"
    } else if has(Kind::Double) && (node.numbers.inexact > 0) {
        // A double would round these integers; a numeric keeps both.
        "numeric"
    } else if has(Kind::Double) {
        "double precision"
    } else if has(Kind::Long) {
        "bigint"
    } else {
        "integer"
    })
}

/// A PostgreSQL array, where all elements are of one scalar type.
fn array(node: &Node) -> Option<Type> {
    let elements = node.elements.as_ref()?;
    let element = scalar(elements, &elements.types()).filter(|_| elements.valued() > 0)?;
    let name = match element.name {
        "text" => "text array",
        "boolean" => "boolean array",
        "timestamptz" => "timestamptz array",
        "uuid" => "uuid array",
        "numeric" => "numeric array",
        "double precision" => "double precision array",
        "bigint" => "bigint array",
        "integer" => "integer array",
        _ => return None,
    };
    Some(Type {
        name,
        convert: element.convert,
    })
}

/// The key that a collection's `_id`s make, each another one.
pub fn key(id: &Node) -> Type {
    let types = id.types();
    let whole = id.numbers.fractions == 0;
    match types.as_slice() {
        [Kind::ObjectId] => ID_TEXT,
        [Kind::Text] if id.texts.nul == 0 && id.texts.longest_bytes <= INDEXED_BYTES_MAX => {
            Type::plain("text")
        }
        [Kind::Boolean] => Type::plain("boolean"),
        [Kind::Date] if id.dates.outside == 0 => Type::plain("timestamptz"),
        [Kind::Binary] if all_uuids(id) => Type::plain("uuid"),
        [_, ..] if whole && types.iter().all(|kind| kind.is_number()) => Type::plain("bigint"),
        // Different types, objects, fractions: a UUID that follows from the value.
        _ => MADE_UUID,
    }
}

/// The type of a column that refers to a key of type `key`, if it takes every value of the node.
pub fn referring(node: &Node, key: &Type) -> Option<Type> {
    let types = node.types();
    if node.texts.nul > 0 || node.texts.longest_bytes > INDEXED_BYTES_MAX {
        return None;
    }
    let of = |allowed: &[Kind]| types.iter().all(|kind| allowed.contains(kind));
    let texts = node.count(Kind::Text);
    match (key.name, key.convert) {
        ("uuid", Some(_)) => Some(key.clone()),
        ("text", Some(_)) if of(&[Kind::ObjectId, Kind::Text]) => Some(ID_TEXT),
        ("text", None) if of(&[Kind::Text]) => Some(key.clone()),
        ("uuid", None)
            if of(&[Kind::Binary, Kind::Text]) && all_uuids(node) && node.texts.uuids == texts =>
        {
            Some(key.clone())
        }
        ("bigint", _) if node.numbers.fractions == 0 && types.iter().all(|k| k.is_number()) => {
            Some(key.clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::profile::Profile;
    use bson::{Bson, Decimal128, RawDocumentBuf, doc, oid::ObjectId};

    fn node(values: &[Bson]) -> Node {
        let mut profile = Profile::default();
        for value in values {
            profile.see(&RawDocumentBuf::try_from(&doc! { "v": value.clone() }).unwrap());
        }
        profile.root.fields.by_name.remove("v").unwrap()
    }

    fn of(values: &[Bson]) -> &'static str {
        covering(&node(values)).map_or("none", |covering| covering.name)
    }

    #[test]
    fn a_type_covers_everything_that_was_seen() {
        let decimal = Bson::Decimal128("1.5".parse::<Decimal128>().unwrap());
        let big = Bson::Int64(9_007_199_254_740_993);
        let id = Bson::ObjectId(ObjectId::from_bytes([7; 12]));
        assert_eq!(of(&[1.into()]), "integer");
        assert_eq!(of(&[1.into(), 2i64.into()]), "bigint");
        assert_eq!(of(&[1.into(), 2.5.into()]), "double precision");
        assert_eq!(of(&[big, 2.5.into()]), "numeric");
        assert_eq!(of(&[1.into(), decimal]), "numeric");
        assert_eq!(of(&[1.into(), "x".into()]), "jsonb");
        assert_eq!(of(&[1.into(), "1".into()]), "jsonb");
        assert_eq!(of(&[true.into(), Bson::Null]), "boolean");
        assert_eq!(of(&[id.clone(), id.to_string().into()]), "jsonb");
        assert_eq!(of(&[id.clone(), "07".repeat(12).into()]), "text");
        assert_eq!(of(&[Bson::Null]), "none");
        assert_eq!(
            of(&[bson::bson!(["a", null]), bson::bson!([])]),
            "text array"
        );
        assert_eq!(of(&[bson::bson!(["a", 1])]), "jsonb");
        assert_eq!(of(&[bson::bson!([]), bson::bson!([])]), "jsonb");
        assert_eq!(of(&[bson::bson!(["a"]), "a".into()]), "jsonb");
    }

    #[test]
    fn each_id_has_a_key_of_its_own() {
        let id = Bson::ObjectId(ObjectId::from_bytes([7; 12]));
        assert_eq!(key(&node(std::slice::from_ref(&id))), ID_TEXT);
        assert_eq!(key(&node(&["a".into()])), Type::plain("text"));
        assert_eq!(key(&node(&[1.into(), 2.0.into()])), Type::plain("bigint"));
        assert_eq!(key(&node(&["a".repeat(2_000).into()])), MADE_UUID);
        assert_eq!(key(&node(&["a\0b".into()])), MADE_UUID);
        assert_eq!(key(&node(&[1.5.into()])), MADE_UUID);
        assert_eq!(key(&node(&[id, "a".into()])), MADE_UUID);
        assert_eq!(key(&node(&[bson::bson!({ "a": 1 })])), MADE_UUID);
        assert_eq!(key(&node(&[Bson::Null])), MADE_UUID);
    }
}
