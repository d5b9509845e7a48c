//! One fault in one column: each is found, at its place, alone.

use super::faults;

/// A table in which the column `x`, in line 9, is yet to be written.
const HEAD: &str = "version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      x: ";

/// Asserts the faults of columns; places are written from the column on.
pub(super) fn assert_faults(cases: &[(&str, &[&str])]) {
    for (column, expected) in cases {
        let found = faults(&format!("{HEAD}{column}\n"));
        let found: Vec<_> = found
            .iter()
            .map(|f| f.replace("collections.people.columns.", ""))
            .collect();
        assert_eq!(found, *expected, "{column}");
    }
}

#[test]
fn types() {
    assert_faults(&[
        (
            "{ type: varchr(9) }",
            &["mapping.yaml:9:18: x.type: unknown type `varchr(9)`; did you mean `varchar(9)`?"],
        ),
        (
            "{ type: String }",
            &["mapping.yaml:9:18: x.type: unknown type `String`; did you mean `text`?"],
        ),
        (
            "{ type: uuid(4) }",
            &["mapping.yaml:9:18: x.type: `uuid` takes no parameters; did you mean `uuid`?"],
        ),
        (
            "{ type: varchar }",
            &[
                "mapping.yaml:9:18: x.type: a varchar has one parameter, its length; without a limit it is `text`",
            ],
        ),
        (
            "{ type: varchar(0) }",
            &["mapping.yaml:9:18: x.type: a `varchar(0)` holds nothing"],
        ),
        (
            "{ type: varchar(99999999) }",
            &[
                "mapping.yaml:9:18: x.type: a varchar has at most 10485760 characters; did you mean `text`?",
            ],
        ),
        (
            "{ type: varchar(x) }",
            &["mapping.yaml:9:18: x.type: the parameters of `varchar(x)` are not whole numbers"],
        ),
        (
            "{ type: numeric(8,4) }",
            &[
                "mapping.yaml:9:18: x.type: `numeric(8` lacks its closing bracket: inside `{ }`, a type with a comma needs quotes",
            ],
        ),
        (
            r#"{ type: "numeric(4,8)" }"#,
            &["mapping.yaml:9:18: x.type: the scale 8 is over the precision 4"],
        ),
        (
            "{ type: numeric(1001) }",
            &["mapping.yaml:9:18: x.type: the precision 1001 is not between 1 and 1000"],
        ),
        (
            r#"{ type: "numeric(1,2,3)" }"#,
            &["mapping.yaml:9:18: x.type: a numeric has at most two parameters"],
        ),
        (
            "{ type: [text] }",
            &["mapping.yaml:9:18: x.type: a list stands where a PostgreSQL type should be"],
        ),
    ]);
}

#[test]
fn keys_and_their_values() {
    assert_faults(&[
        (
            "{ type: text, requird: true }",
            &["mapping.yaml:9:24: x.requird: unknown key `requird`; did you mean `required`?"],
        ),
        (
            "{ type: text, zzzzz: true }",
            &[
                "mapping.yaml:9:24: x.zzzzz: unknown key `zzzzz`: known are type, path, parent, position, map_key, set, derive, constant, rest, expression, generated, start, convert, required, default, unique, index, values, invalid, references",
            ],
        ),
        (
            "{ type: text, required: 1 }",
            &["mapping.yaml:9:34: x.required: `1` stands where `true` or `false` should be"],
        ),
        (
            r#"{ type: text, required: "true" }"#,
            &["mapping.yaml:9:34: x.required: `true` stands where `true` or `false` should be"],
        ),
        (
            "{ type: text, type: text }",
            &["mapping.yaml:9:24: x.type: `type` stands twice, first in line 9"],
        ),
        (
            "{ type: text, <<: { required: true } }",
            &[
                "mapping.yaml:9:24: x.<<: merging with `<<` is not supported: write the keys out, or use an alias for a whole value",
            ],
        ),
        (
            "{ type: text, [a]: b }",
            &["mapping.yaml:9:24: x: a list stands where a key should be"],
        ),
        (
            "[text]",
            &["mapping.yaml:9:10: x: a list stands where a column's type or its keys should be"],
        ),
        (
            "null",
            &["mapping.yaml:9:10: x: `null` stands where a PostgreSQL type should be"],
        ),
        (
            "!x text",
            &["mapping.yaml:9:10: the tag `!x` means nothing here"],
        ),
    ]);
}

#[test]
fn sources() {
    assert_faults(&[
        (
            "{ path: a }",
            &["mapping.yaml:9:7: x: column `x` needs a `type`"],
        ),
        (
            "{ type: text, path: a..b }",
            &[
                r#"mapping.yaml:9:30: x.path: `a..b` is not a path: steps are separated by single dots, a dot in a name is written `\.`"#,
            ],
        ),
        (
            "{ type: text, path: {} }",
            &["mapping.yaml:9:30: x.path: a block of keys stands where a path should be"],
        ),
        (
            "{ type: integer, position: true }",
            &[
                "mapping.yaml:9:37: x.position: `position` is for child tables, whose rows are elements of an array or a map",
            ],
        ),
        (
            "{ type: integer, parent: id }",
            &[
                "mapping.yaml:9:35: x.parent: `parent` is for child tables, whose rows are elements of an array or a map",
            ],
        ),
        (
            "{ type: integer, position: yes }",
            &["mapping.yaml:9:37: x.position: `yes` stands where `true` or `false` should be"],
        ),
        (
            "{ type: text, path: . }",
            &[
                "mapping.yaml:9:30: x.path: the whole document, `.`, is `json` or `jsonb`, not `text`; did you mean `jsonb`?",
            ],
        ),
    ]);
}

#[test]
fn conversions() {
    assert_faults(&[
        (
            "{ type: text, convert: uuid_v5 }",
            &[
                "mapping.yaml:9:33: x.convert: unknown word `uuid_v5`: known are `auto`, `text`, `uuid-v5`, `object-id-time`, `epoch-seconds`, `epoch-millis`, `parse`, `object-id`; did you mean `uuid-v5`?",
            ],
        ),
        (
            "{ type: text, convert: [] }",
            &[
                "mapping.yaml:9:33: x.convert: a list stands where one of `auto`, `text`, `uuid-v5`, `object-id-time`, `epoch-seconds`, `epoch-millis`, `parse`, `object-id` should be",
            ],
        ),
        (
            "{ type: text, convert: }",
            &[
                "mapping.yaml:9:31: x.convert: there is nothing where one of `auto`, `text`, `uuid-v5`, `object-id-time`, `epoch-seconds`, `epoch-millis`, `parse`, `object-id` should be",
            ],
        ),
        (
            "{ type: text, convert: uuid-v5 }",
            &["mapping.yaml:9:33: x.convert: `convert: uuid-v5` does not give `text`"],
        ),
        (
            "{ type: uuid, convert: text }",
            &["mapping.yaml:9:33: x.convert: `convert: text` does not give `uuid`"],
        ),
        (
            "{ type: integer, convert: text }",
            &["mapping.yaml:9:36: x.convert: `convert: text` does not give `integer`"],
        ),
    ]);
}

#[test]
fn constants() {
    assert_faults(&[
        (
            "{ type: text, path: a, constant: b }",
            &[
                "mapping.yaml:9:43: x.constant: a column has one source, not both `path` and `constant`",
            ],
        ),
        (
            "{ type: integer, constant: x }",
            &["mapping.yaml:9:37: x.constant: `x` is no `integer`: write a whole number in range"],
        ),
        (
            "{ type: text, constant: }",
            &["mapping.yaml:9:32: x.constant: there is nothing where a constant should be"],
        ),
        (
            "{ type: text, constant: x, convert: text, default: y, invalid: null, required: true }",
            &[
                "mapping.yaml:9:46: x.convert: `convert` says nothing for a column with `constant`",
                "mapping.yaml:9:61: x.default: `default` says nothing for a column with `constant`",
                "mapping.yaml:9:73: x.invalid: `invalid` says nothing for a column with `constant`",
                "mapping.yaml:9:89: x.required: `required` says nothing for a column with `constant`",
            ],
        ),
        (
            "{ type: integer, default: ten }",
            &["mapping.yaml:9:36: x.default: `ten` is no `integer`: write a whole number in range"],
        ),
        (
            "{ type: smallint, default: 40000 }",
            &["mapping.yaml:9:37: x.default: `40000` is no `smallint`: out of range"],
        ),
        (
            "{ type: timestamp, default: now }",
            &[
                "mapping.yaml:9:38: x.default: `now` is no `timestamp`: write 2026-12-31 or 2026-12-31T23:59:59.999Z",
            ],
        ),
        (
            r#"{ type: jsonb, default: "{" }"#,
            &["mapping.yaml:9:34: x.default: `{` is no `jsonb`: write JSON"],
        ),
        (
            "{ type: text, default: null }",
            &["mapping.yaml:9:33: x.default: `null` stands where a constant should be"],
        ),
    ]);
}

#[test]
fn policies() {
    assert_faults(&[
        (
            "{ type: text, invalid: rejct }",
            &[
                "mapping.yaml:9:33: x.invalid: unknown word `rejct`: known are `reject`, `null`, `truncate`; did you mean `reject`?",
            ],
        ),
        (
            "{ type: text, invalid: [] }",
            &[
                "mapping.yaml:9:33: x.invalid: a list stands where `reject`, `null`, `truncate` or a block of policies should be",
            ],
        ),
        (
            "{ type: text, invalid: { toolong: null } }",
            &[
                "mapping.yaml:9:35: x.invalid.toolong: unknown key `toolong`; did you mean `too_long`?",
            ],
        ),
        (
            "{ type: text, invalid: { too_long: null } }",
            &["mapping.yaml:9:45: x.invalid.too_long: `too_long` cannot happen to `text`"],
        ),
        (
            "{ type: text, invalid: { out_of_range: null } }",
            &["mapping.yaml:9:49: x.invalid.out_of_range: `out_of_range` cannot happen to `text`"],
        ),
        (
            "{ type: text, invalid: { wrong_type: truncate } }",
            &[
                "mapping.yaml:9:47: x.invalid.wrong_type: `wrong_type` cannot be mended by truncating: `reject` or `null`",
            ],
        ),
        (
            "{ type: integer, invalid: { out_of_range: truncate } }",
            &[
                "mapping.yaml:9:52: x.invalid.out_of_range: `out_of_range` cannot be mended by truncating: `reject` or `null`",
            ],
        ),
        (
            "{ type: integer, invalid: { nul: null } }",
            &["mapping.yaml:9:43: x.invalid.nul: `nul` cannot happen to `integer`"],
        ),
        (
            "{ type: jsonb, invalid: { wrong_type: null } }",
            &["mapping.yaml:9:48: x.invalid.wrong_type: `wrong_type` cannot happen to `jsonb`"],
        ),
        (
            "{ type: uuid, convert: uuid-v5, invalid: { wrong_type: null } }",
            &["mapping.yaml:9:65: x.invalid.wrong_type: `wrong_type` cannot happen to `uuid`"],
        ),
        (
            "{ type: integer, invalid: truncate }",
            &["mapping.yaml:9:36: x.invalid: there is nothing to truncate in `integer`"],
        ),
        (
            "{ type: text, required: true, invalid: null }",
            &["mapping.yaml:9:49: x.invalid: a required column cannot become null"],
        ),
        (
            "{ type: text, required: true, invalid: { nul: null } }",
            &["mapping.yaml:9:56: x.invalid.nul: a required column cannot become null"],
        ),
    ]);
}

#[test]
fn references() {
    assert_faults(&[
        (
            "{ type: uuid, convert: uuid-v5, references: people }",
            &[
                "mapping.yaml:9:54: x.references: a reference is a block of keys; did you mean `{ table: people }`?",
            ],
        ),
        (
            "{ type: uuid, convert: uuid-v5, references: {} }",
            &["mapping.yaml:9:54: x.references: a reference needs a `table`"],
        ),
        (
            "{ type: uuid, convert: uuid-v5, references: { table: poeple } }",
            &[
                "mapping.yaml:9:63: x.references.table: the mapping has no table `poeple`; did you mean `people`?",
            ],
        ),
        (
            "{ type: uuid, convert: uuid-v5, references: { table: something } }",
            &["mapping.yaml:9:63: x.references.table: the mapping has no table `something`"],
        ),
        (
            "{ type: uuid, convert: uuid-v5, references: { table: a.b.c } }",
            &["mapping.yaml:9:63: x.references.table: `a.b.c` has more than a schema and a table"],
        ),
        (
            "{ type: uuid, convert: uuid-v5, references: { table: people, on_missing: nul } }",
            &[
                "mapping.yaml:9:83: x.references.on_missing: unknown word `nul`: known are `dead-letter`, `null`, `keep`; did you mean `null`?",
            ],
        ),
        (
            "{ type: uuid, convert: uuid-v5, references: { table: people, on_delete: null } }",
            &[
                "mapping.yaml:9:82: x.references.on_delete: unknown word `null`: known are `hold`, `cascade`, `set-null`",
            ],
        ),
        (
            "{ type: uuid, convert: uuid-v5, references: { table: people, on_drop: hold } }",
            &[
                "mapping.yaml:9:71: x.references.on_drop: unknown key `on_drop`: known are table, by, on_missing, on_delete",
            ],
        ),
        (
            "{ type: uuid, convert: uuid-v5, required: true, references: { table: people, on_missing: null, on_delete: set-null } }",
            &[
                "mapping.yaml:9:99: x.references.on_missing: a required column cannot become null",
                "mapping.yaml:9:116: x.references.on_delete: a required column cannot become null",
            ],
        ),
        (
            "{ type: text, references: { table: people } }",
            &[
                "mapping.yaml:9:18: x.type: this column is `text`, but `people.id` is `uuid`; did you mean `uuid`?",
            ],
        ),
        (
            "{ type: uuid, references: { table: people } }",
            &["mapping.yaml:9:7: x: `people.id` is made by `convert: uuid-v5`, this column is not"],
        ),
    ]);
}

#[test]
fn indexes() {
    assert_faults(&[
        (
            "{ type: json, unique: true }",
            &[
                "mapping.yaml:9:32: x.unique: `x` is `json`, which PostgreSQL cannot compare, so it can be in no key and no index; did you mean `jsonb`?",
            ],
        ),
        (
            "{ type: json, index: true }",
            &[
                "mapping.yaml:9:31: x.index: `x` is `json`, which PostgreSQL cannot compare, so it can be in no key and no index; did you mean `jsonb`?",
            ],
        ),
        (
            "{ type: text, unique: true, index: true }",
            &["mapping.yaml:9:45: x.index: these columns have a key or an index already"],
        ),
    ]);
}
