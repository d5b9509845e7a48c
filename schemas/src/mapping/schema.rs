//! The JSON schema of mapping files, for editors: keys and words with what they mean.
//!
//! The types here say what a file may look like and are never built; the words come from the reader
//! itself, so that the two cannot differ. A schema knows nothing of what only the whole file can
//! tell; that is [`check`](super::check)'s. Published as `schemas/mapping.schema.json`, which a
//! mapping names in its first line:
//! `# yaml-language-server: $schema=../../mapping.schema.json`.

#![expect(
    dead_code,
    reason = "the fields are read by their derived schemas only"
)]

use super::{Element, PgType, parse::word, pg_type::SCALARS};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap};

/// The schema, as the text of the published file.
pub fn text() -> String {
    let mut settings = SchemaSettings::draft07();
    settings
        .transforms
        .push(Box::new(schemars::transform::RecursiveTransform(present)));
    let schema = settings.into_generator().into_root_schema_for::<File>();
    format!("{:#}\n", schema.as_value())
}

/// What is optional may be left out, but a key that is there has a value: of a type or nothing, the
/// type is left.
fn present(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(types)) = object.get_mut("type")
        && types.len() == 2
    {
        types.retain(|name| name != "null");
        if let [name] = &types[..] {
            let name = name.clone();
            object.insert("type".to_owned(), name);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if choices.len() == 1
            && let Some(choice) = object.remove("anyOf")
        {
            object.insert("allOf".to_owned(), choice);
        }
    }
}

/// How the documents of MongoDB collections become rows of PostgreSQL tables.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, title = "Leafcutter mapping")]
struct File {
    /// The version of the mapping language: 1.
    version: Version,
    /// The database of all collections that do not name their own.
    database: Option<String>,
    /// The namespace of UUIDs made from document keys; NAMESPACE_OID of RFC 9562 if left out.
    uuid_namespace: Option<String>,
    /// The collections, by name.
    collections: BTreeMap<String, Collection>,
}

/// A collection and the tables its documents go to.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Collection {
    One(Box<CollectionTable>),
    Several(CollectionTables),
}

/// A collection whose documents go to one table and those below it.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct CollectionTable {
    /// The database it is in.
    database: Option<String>,
    /// Where its documents say when they were last written, for `--capture poll`: a path or several,
    /// of which the newest date counts. Without it the collection cannot be polled.
    poll_by: Option<Paths>,
    /// The table that gets one row per document, as `table` or `schema.table`.
    table: String,
    /// Which documents have a row; all, if left out.
    #[schemars(rename = "where")]
    filter: Option<Filter>,
    /// What a delete does; the row is deleted if left out.
    delete: Option<Delete>,
    /// The primary key. A row is found again by it: it follows from the document's `_id`, or what it
    /// was is remembered.
    key: Key,
    /// What becomes of several documents with one key, where it does not follow from `_id`;
    /// `first-stays` if left out.
    on_same_key: Option<OnSameKeyWord>,
    /// The column whose value says which document is the newest, before the time of its last change.
    newest_by: Option<String>,
    /// Further unique keys, each a list of columns.
    unique: Option<Vec<Vec<String>>>,
    /// Indexes, each a list of columns. References have one without saying so.
    indexes: Option<Vec<Vec<String>>>,
    /// The columns, by name.
    columns: BTreeMap<String, Column>,
    /// Tables filled from arrays inside the document.
    children: Option<Vec<ChildTable>>,
}

/// A collection whose documents go to several tables, each to those whose conditions it meets.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct CollectionTables {
    /// The database it is in.
    database: Option<String>,
    /// Where its documents say when they were last written, for `--capture poll`: a path or several,
    /// of which the newest date counts. Without it the collection cannot be polled.
    poll_by: Option<Paths>,
    /// The tables that get one row per document that meets their conditions.
    tables: Vec<OwnTable>,
}

/// One of several tables that a collection's documents go to.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct OwnTable {
    /// The table that gets one row per document, as `table` or `schema.table`.
    table: String,
    /// Which documents have a row; all, if left out.
    #[schemars(rename = "where")]
    filter: Option<Filter>,
    /// What a delete does; the row is deleted if left out.
    delete: Option<Delete>,
    /// The primary key. A row is found again by it: it follows from the document's `_id`, or what it
    /// was is remembered.
    key: Key,
    /// What becomes of several documents with one key, where it does not follow from `_id`;
    /// `first-stays` if left out.
    on_same_key: Option<OnSameKeyWord>,
    /// The column whose value says which document is the newest, before the time of its last change.
    newest_by: Option<String>,
    /// Further unique keys, each a list of columns.
    unique: Option<Vec<Vec<String>>>,
    /// Indexes, each a list of columns. References have one without saying so.
    indexes: Option<Vec<Vec<String>>>,
    /// The columns, by name.
    columns: BTreeMap<String, Column>,
    /// Tables filled from arrays inside the document.
    children: Option<Vec<ChildTable>>,
}

/// A table that gets one row per element of an array, or per field of a map.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ChildTable {
    /// The table, as `table` or `schema.table`.
    table: String,
    /// The array in the parent's document or element, or several, or a map.
    from: From,
    /// Which elements have a row; all, if left out.
    #[schemars(rename = "where")]
    filter: Option<Filter>,
    /// The primary key: the parent's key and what tells the elements apart.
    key: Key,
    /// Further unique keys, each a list of columns.
    unique: Option<Vec<Vec<String>>>,
    /// Indexes, each a list of columns. References have one without saying so.
    indexes: Option<Vec<Vec<String>>>,
    /// The columns, by name.
    columns: BTreeMap<String, Column>,
    /// Tables filled from arrays inside the element.
    children: Option<Vec<ChildTable>>,
}

/// What must hold, by path, all of it; or a CEL expression on `doc`, the document or element, and `id`,
/// its `_id`, that gives a boolean.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Filter {
    Block(BTreeMap<String, ConditionValue>),
    Expression(String),
}

/// What a delete does.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Delete {
    /// The row stays, and this column, a `timestamptz` that no document fills, says since when.
    soft: String,
}

/// The path of an array, or where the rows come from in full, or several of these.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum From {
    Path(String),
    One(Elements),
    Several(Vec<PathOrElements>),
}

/// The path of an array, or an array or a map with the constants that its rows have.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum PathOrElements {
    Path(String),
    One(Elements),
}

/// An array or a map with the constants that its rows have.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Elements {
    /// The path of an array: a row per element. `.` is the element of the table above.
    path: Option<String>,
    /// The path of a document with free keys: a row per field.
    map: Option<String>,
    /// Constants for columns with `set: true`.
    set: Option<BTreeMap<String, Constant>>,
}

/// One column's name or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Key {
    One(String),
    Several(Vec<String>),
}

/// A column: its type, or its keys.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Column {
    Short(TypeName),
    Long(ColumnKeys),
}

/// A column's keys.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ColumnKeys {
    /// The PostgreSQL type. Only a column with `parent` may leave it out.
    #[schemars(rename = "type")]
    pg_type: Option<TypeName>,
    /// Where the value is: `profile.language`, `items.0.sku`, a dot in a name as `\.`, the element
    /// itself as `.`. If left out, the field of the column's name. Of several, the first at which
    /// there is a value.
    path: Option<Paths>,
    /// The same value as that column of the parent table.
    parent: Option<String>,
    /// The element's position in its array, from 0.
    position: Option<bool>,
    /// The name of the field in its map.
    map_key: Option<bool>,
    /// The constant that `from` sets for its array.
    set: Option<bool>,
    /// The UUID made of the values of these columns, which stand above.
    derive: Option<Vec<String>>,
    /// Always this value.
    constant: Option<Constant>,
    /// Everything of the document or element that no other column and no child table takes.
    rest: Option<bool>,
    /// A CEL expression on `doc`, the document or element, and `id`, its `_id`.
    expression: Option<String>,
    /// Whether it is numbered: outside the key by PostgreSQL alone; as the key, for documents without a
    /// value.
    generated: Option<bool>,
    /// The first number of a generated column.
    start: Option<Constant>,
    /// How the value becomes one of the column's type.
    convert: Option<ConversionWord>,
    /// Whether a document without the value, or with null, is refused.
    required: Option<bool>,
    /// The value where the path is missing in the document; an explicit null stays null.
    default: Option<Constant>,
    /// Whether no two rows may have the same value.
    unique: Option<bool>,
    /// Whether there is an index.
    index: Option<bool>,
    /// The values it may have: a list, or for each value of the document the one that stands for it.
    values: Option<Values>,
    /// What becomes of values that the column cannot hold.
    invalid: Option<Invalid>,
    /// The table of this mapping that the column points to, by its key.
    references: Option<Reference>,
}

/// One path or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Paths {
    One(String),
    FirstOf(Vec<String>),
}

/// The values that a column may have, as they stand or each as another one.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Values {
    Listed(Vec<Constant>),
    Mapped(BTreeMap<String, ConstantOrNull>),
}

/// One policy for everything that can be wrong with a value, or one for each.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Invalid {
    All(PolicyWord),
    Each(Policies),
}

/// One policy for each thing that can be wrong with a value.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Policies {
    /// A BSON type that the column does not accept.
    wrong_type: Option<PolicyWord>,
    /// Text over the column's length.
    too_long: Option<PolicyWord>,
    /// A NUL character in text or JSON, which PostgreSQL cannot store.
    nul: Option<PolicyWord>,
    /// A number or date outside the type's range.
    out_of_range: Option<PolicyWord>,
    /// A value that is none of the column's `values`.
    unlisted: Option<PolicyWord>,
}

/// A reference to a collection's own table, whose key is one column of the same type.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Reference {
    /// The table.
    table: String,
    /// With `_id` the value is the `_id` of a document of that table, whose key is generated; left out,
    /// it is the key.
    by: Option<ReferenceByWord>,
    /// What becomes of a row whose parent is known never to come; `dead-letter` if left out.
    on_missing: Option<OnMissingWord>,
    /// What becomes of a parent that is deleted while rows point to it; `hold` if left out.
    on_delete: Option<OnDeleteWord>,
}

/// A schema of which only the JSON is written here.
macro_rules! by_hand {
    ($($name:ident: $description:literal, $schema:expr;)*) => {$(
        struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = $schema;
                schema.insert("description".to_owned(), $description.into());
                schema
            }
        }
    )*};
}

by_hand! {
    Version: "The version of the mapping language.", json_schema!({ "enum": [1, "1"] });
    Constant: "The text of a constant.", json_schema!({ "type": ["string", "number", "boolean"] });
    ConstantOrNull: "The text of a constant, or null.",
        json_schema!({ "type": ["string", "number", "boolean", "null"] });
    ConditionValue:
        "`exists`, `missing` (not there, or null), a constant or a list of constants.",
        json_schema!({ "anyOf": [
            { "type": ["string", "number", "boolean"] },
            { "type": "array", "items": { "type": ["string", "number", "boolean"] } }
        ] });
    TypeName: "A PostgreSQL type.", types();
    ConversionWord:
        "`auto`: without loss of meaning; `text`: ids, numbers, booleans and dates as text too; `uuid-v5`: the UUID made of any value; `object-id-time`: the time within an ObjectId; `epoch-seconds`, `epoch-millis`: numbers since 1970; `parse`: text that is a number, a boolean or a time; `object-id`: of a reference by `_id`, an ObjectId or its 24 hex digits.",
        words(&word::CONVERSIONS);
    PolicyWord:
        "`reject`: the document goes to the dead letters; `null`: the column becomes null; `truncate`: the text is cut to what fits.",
        words(&word::POLICIES);
    ReferenceByWord: "What the value of a reference tells.", words(&word::REFERENCE_BY);
    OnMissingWord:
        "`dead-letter`: the row goes to the dead letters; `null`: the reference becomes null; `keep`: the row is written without a parent.",
        words(&word::ON_MISSING);
    OnDeleteWord:
        "`hold`: the parent stays until the last reference goes; `cascade`: the rows go with it; `set-null`: the references become null.",
        words(&word::ON_DELETE);
    OnSameKeyWord:
        "`first-stays`: the document that has the row keeps it, the others wait until it is free; `newest-wins`: the newest is the row, and when it goes, the next one is.",
        words(&word::SAME_KEY);
}

/// The word `null` may stand without quotes, and is then no word.
fn words<T>(words: &[(&str, T)]) -> Schema {
    let mut values: Vec<Value> = words.iter().map(|(word, _)| Value::from(*word)).collect();
    if values.iter().any(|value| value == "null") {
        values.push(Value::Null);
    }
    json_schema!({ "enum": values })
}

fn types() -> Schema {
    let of = |which: &dyn Fn(PgType) -> bool| -> Vec<&str> {
        let scalars = SCALARS.into_iter().filter(|&scalar| which(scalar));
        scalars
            .flat_map(|scalar| scalar.facts().names)
            .copied()
            .collect()
    };
    let parameters = of(&PgType::has_parameters);
    // A length has to be there, limits may be.
    let names = of(&|scalar| scalar.length().is_none());
    let with_parameters = format!("^({}) ?\\([0-9, ]+\\)$", parameters.join("|"));
    let elements = of(&|scalar| scalar.length().is_none() && Element::of(scalar).is_some());
    let arrays: Vec<String> = elements.iter().map(|name| format!("{name}[]")).collect();
    let other_arrays = format!(
        "^[a-z0-9 ]+(\\([0-9, ]+\\))?({})$",
        word::ARRAY_ENDINGS
            .map(|end| end.replace("[]", "\\[\\]"))
            .join("|")
    );
    json_schema!({ "anyOf": [
        { "enum": names },
        { "type": "string", "pattern": with_parameters },
        { "enum": arrays },
        { "type": "string", "pattern": other_arrays },
    ] })
}
