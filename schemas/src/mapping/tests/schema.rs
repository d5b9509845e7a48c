//! The published schema is the reader's: the same file, the same keys, the same words.

use super::{FINLIT, faults};
use crate::mapping::{parse, schema};
use serde_json::Value;
use std::collections::BTreeSet;

const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/mapping.schema.json");

/// After a change of the language: `UPDATE=1 cargo test -p leafcutter-schemas published`.
#[test]
fn the_published_schema_is_the_one_of_this_code() {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PUBLISHED, schema::text()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(PUBLISHED).unwrap(), schema::text());
}

fn schema() -> Value {
    serde_json::from_str(&schema::text()).unwrap()
}

/// Where a file breaks it.
pub(super) fn invalid_by_schema(value: &Value) -> Option<String> {
    invalid(&schema(), &schema(), value)
}

#[test]
fn what_is_no_mapping_is_not() {
    for (from, to) in [
        ("version: 1", "version: 2"),
        ("type: varchar(255)", "type: varchr(255)"),
        ("required: true", "requird: true"),
        ("required: true", "required: yes"),
        ("on_missing: null", "on_missing: nul"),
        ("type: varchar(50)", "type: \"text]\""),
        ("key: learner_id", "key: {}"),
        ("from: media", "form: media"),
        ("{ out_of_range: null }", "drop"),
        ("default: 10", "default: null"),
        ("default: 10", "default: [10]"),
    ] {
        let text = FINLIT.replacen(from, to, 1);
        assert_ne!(text, FINLIT, "{from}");
        let value = parse::value(&text).unwrap();
        assert!(invalid(&schema(), &schema(), &value).is_some(), "{to}");
    }
}

#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let head = "version: 1\ndatabase: d\ncollections:\n  c:\n    table: t\n    key: k\n    columns:\n      k: ";
    let column = "{ path: _id, type: text";
    let children = "}\n    children:\n      - table: u\n        from: a\n        key: [k, n]\n        columns: { k: { parent: k }, n: { position: true, type: integer } }\n";
    for (definition, text) in [
        ("File", format!("{head}{column} }}\nqqqqqqqqqqqq: 1\n")),
        (
            "CollectionTable",
            format!("{head}{column} }}\n    qqqqqqqqqqqq: 1\n"),
        ),
        (
            "ColumnKeys",
            format!("{head}{column}, qqqqqqqqqqqq: 1 }}\n"),
        ),
        (
            "Policies",
            format!("{head}{column}, invalid: {{ qqqqqqqqqqqq: 1 }} }}\n"),
        ),
        (
            "Reference",
            format!("{head}{column}, references: {{ table: t, qqqqqqqqqqqq: 1 }} }}\n"),
        ),
        (
            "Elements",
            format!(
                "{head}{column} {}",
                children.replace("from: a", "from: { path: a, qqqqqqqqqqqq: 1 }")
            ),
        ),
        (
            "ChildTable",
            format!("{head}{column} {children}        qqqqqqqqqqqq: 1\n"),
        ),
    ] {
        let found = faults(&text);
        let [fault] = &found[..] else {
            panic!("{found:#?}")
        };
        let (_, known) = fault.split_once("known are ").unwrap();
        let known: BTreeSet<&str> = known.split(", ").collect();
        let schema = schema();
        let object = if definition == "File" {
            &schema
        } else {
            &schema["definitions"][definition]
        };
        let keys: BTreeSet<&str> = object["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        // The keys of one table and of several are known together, so that either can be meant.
        let mut known = known;
        if definition == "CollectionTable" {
            assert!(known.remove("tables"));
        }
        assert_eq!(known, keys, "{definition}");
    }
}

/// Where a value breaks a schema: as much of JSON Schema as ours uses.
fn invalid(root: &Value, schema: &Value, value: &Value) -> Option<String> {
    for (keyword, rule) in schema.as_object()? {
        let found = match keyword.as_str() {
            "$ref" => {
                let name = rule.as_str()?.strip_prefix("#/definitions/")?;
                invalid(root, &root["definitions"][name], value)
            }
            "allOf" => rule
                .as_array()?
                .iter()
                .find_map(|rule| invalid(root, rule, value)),
            "anyOf" => {
                let mut rules = rule.as_array()?.iter();
                let fits = rules.any(|rule| invalid(root, rule, value).is_none());
                (!fits).then(|| format!("{value} is none of {rule}"))
            }
            "enum" => {
                let known = rule.as_array()?.contains(value);
                (!known).then(|| format!("{value} is not in {rule}"))
            }
            "type" => wrong_type(rule, value),
            // Our patterns say: a name with numbers in brackets, and any array.
            "pattern" => {
                let (rule, text) = (rule.as_str().unwrap(), value.as_str().unwrap_or_default());
                let fits = if rule.contains("array") {
                    text.ends_with("[]") || text.ends_with(" array")
                } else {
                    text.ends_with(')')
                        && text
                            .split_once('(')
                            .is_some_and(|(name, _)| rule.contains(name))
                };
                (!fits).then(|| format!("{value} is not like {rule}"))
            }
            "required" => rule
                .as_array()?
                .iter()
                .find(|key| {
                    value
                        .as_object()
                        .is_some_and(|o| !o.contains_key(key.as_str().unwrap()))
                })
                .map(|key| format!("{key} is missing")),
            "properties" => value.as_object().and_then(|object| {
                object
                    .iter()
                    .find_map(|(key, value)| invalid(root, rule.get(key)?, value))
            }),
            "additionalProperties" => value.as_object().and_then(|object| {
                let known = |key: &String| schema["properties"].get(key).is_some();
                let mut rest = object.iter().filter(|(key, _)| !known(key));
                match rule {
                    Value::Bool(false) => rest.next().map(|(key, _)| format!("`{key}` is unknown")),
                    rule => rest.find_map(|(_, value)| invalid(root, rule, value)),
                }
            }),
            "items" => {
                let items = value.as_array();
                items.and_then(|items| items.iter().find_map(|item| invalid(root, rule, item)))
            }
            "title" | "description" | "$schema" | "definitions" => None,
            other => Some(format!("this test does not know `{other}`")),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn wrong_type(rule: &Value, value: &Value) -> Option<String> {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = match rule {
        Value::Array(names) => names.iter().any(|name| name == is),
        name => name == is,
    };
    (!fits).then(|| format!("{value} is no {rule}"))
}
