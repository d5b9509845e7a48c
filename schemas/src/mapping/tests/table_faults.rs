//! Faults of tables: what they need, their keys and indexes.

use super::{HEAD, assert_faults, faults};

#[test]
fn what_a_table_needs() {
    assert_faults(&[
        (
            "  people: {}
",
            &[
                "mapping.yaml:4:3: collections.people: a table needs `columns`",
                "mapping.yaml:4:3: collections.people: a table needs `table`",
                "mapping.yaml:4:3: collections.people: a table needs `key`",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns: {}
",
            &["mapping.yaml:7:14: collections.people.columns: a table needs at least one column"],
        ),
        (
            "  people:
    table: people
    key: id
    columns: []
",
            &[
                "mapping.yaml:7:14: collections.people.columns: a list stands where a block of columns should be",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    from: x
    keys: a
    indices: [[id]]
",
            &[
                "mapping.yaml:9:5: collections.people.from: unknown key `from`: known are database, poll_by, tables, table, where, delete, key, on_same_key, newest_by, unique, indexes, columns, children",
                "mapping.yaml:10:5: collections.people.keys: unknown key `keys`; did you mean `key`?",
                "mapping.yaml:11:5: collections.people.indices: unknown key `indices`; did you mean `indexes`?",
            ],
        ),
    ]);
}

#[test]
fn dates_to_poll_by() {
    assert_faults(&[(
        "  people:
    poll_by: [updated, ., updated, a..b, 'x\\.y', []]
    table: people
    key: id
    columns: { id: { path: _id, type: text } }
  places:
    poll_by: [updated, ., updated, 'x\\.y', $z]
    table: places
    key: id
    columns: { id: { path: _id, type: text } }
  things:
    poll_by: []
    table: things
    key: id
    columns: { id: { path: _id, type: text } }
",
        &[
            r"mapping.yaml:5:36: collections.people.poll_by[3]: `a..b` is not a path: steps are separated by single dots, a dot in a name is written `\.`",
            "mapping.yaml:5:50: collections.people.poll_by[5]: a list stands where a path should be",
            "mapping.yaml:10:24: collections.places.poll_by[1]: `.` is the document itself, which is no date",
            "mapping.yaml:10:27: collections.places.poll_by[2]: `updated` is named twice",
            r"mapping.yaml:10:36: collections.places.poll_by[3]: a source cannot be asked by `x\.y`: a step with a dot or a dollar in its name",
            "mapping.yaml:10:44: collections.places.poll_by[4]: a source cannot be asked by `$z`: a step with a dot or a dollar in its name",
            "mapping.yaml:15:14: collections.things.poll_by: the list names no path",
        ],
    )]);
}

#[test]
fn keys() {
    assert_faults(&[
        (
            "  people:
    table: people
    key: idd
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &[
                "mapping.yaml:6:10: collections.people.key: the table has no column `idd`; did you mean `id`?",
            ],
        ),
        (
            "  people:
    table: people
    key: []
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &["mapping.yaml:6:10: collections.people.key: the list names no column"],
        ),
        (
            "  people:
    table: people
    key: [id, id]
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &["mapping.yaml:6:15: collections.people.key[1]: column `id` stands twice"],
        ),
        (
            "  people:
    table: people
    key: {}
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &[
                "mapping.yaml:6:10: collections.people.key: a block of keys stands where a list of column names should be",
            ],
        ),
        (
            "  people:
    table: people
    key: [id, [x]]
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &[
                "mapping.yaml:6:15: collections.people.key[1]: a list stands where the name of a column should be",
            ],
        ),
        (
            "  people:
    table: people
    key: [zzz]
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &["mapping.yaml:6:11: collections.people.key[0]: the table has no column `zzz`"],
        ),
        (
            "  people:
    table: people
    key: [id, mail]
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      mail: { type: text }
",
            &[
                "mapping.yaml:6:15: collections.people.key[1]: `mail` may be missing, so it cannot be in the key: make it `required: true`",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5, required: false }
",
            &[
                "mapping.yaml:8:64: collections.people.columns.id.required: a column of the key is never null",
            ],
        ),
        (
            "  people:
    table: people
    key: c
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      c: { type: text, constant: a }
",
            &[
                "mapping.yaml:6:10: collections.people.key: nothing of the document is in the key, so all documents would be one row",
            ],
        ),
        (
            "  people:
    table: people
    key: j
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      j: { type: json, path: _id }
",
            &[
                "mapping.yaml:6:10: collections.people.key: `j` is `json`, which PostgreSQL cannot compare, so it can be in no key and no index; did you mean `jsonb`?",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: text, invalid: { nul: null } }
",
            &[
                "mapping.yaml:8:52: collections.people.columns.id.invalid.nul: a required column cannot become null",
            ],
        ),
    ]);
}

#[test]
fn several_tables() {
    let one = |name: &str| {
        format!(
            "      - {{ table: {name}, key: id, columns: {{ id: {{ path: _id, type: text }} }} }}\n"
        )
    };
    let two = [one("a"), one("a")].concat();
    for (text, expected) in [
        (
            "  people:\n    tables: []\n".to_owned(),
            "5:13: collections.people.tables: the list names no table",
        ),
        (
            "  people:\n    tables: a\n".to_owned(),
            "5:13: collections.people.tables: `a` stands where a list of tables should be",
        ),
        (
            "  people:\n    tables: [a]\n".to_owned(),
            "5:14: collections.people.tables[0]: `a` stands where a table's keys (`table`, `where`, `key`, `columns`) should be",
        ),
        (
            format!("  people:\n    tables:\n{two}"),
            "7:18: collections.people.tables[1].table: two tables are called `a`, the first in line 6",
        ),
        (
            format!("  people:\n    tables:\n{}    tabel: x\n", one("a")),
            "7:5: collections.people.tabel: unknown key `tabel`; did you mean `table`?",
        ),
    ] {
        assert_eq!(
            faults(&format!("{HEAD}{text}")),
            [format!("mapping.yaml:{expected}")],
            "{text}"
        );
    }
}

#[test]
fn tables_of_several_collections() {
    let table = |name: &str, columns: &str, more: &str| {
        format!(
            "  {name}: {{ table: t, key: id, columns: {{ id: {{ path: _id, type: text }}, {columns} }}{more} }}\n"
        )
    };
    let a = table("a", "n: integer", "");
    for (b, expected) in [
        (table("b", "n: { path: x, type: integer }", ""), vec![]),
        (
            table("b", "n: text", ""),
            vec![
                "5:15: collections.b.table: `t` is filled from line 4 too, but `n` is `integer` there",
            ],
        ),
        (
            table("b", "m: integer", ""),
            vec![
                "5:15: collections.b.table: `t` is filled from line 4 too, but lacks the column `n`",
            ],
        ),
        (
            table("b", "n: integer, m: text", ""),
            vec![
                "5:15: collections.b.table: `t` is filled from line 4 too, but `m` is no column there",
            ],
        ),
        (
            table("b", "n: { type: integer, required: true }", ""),
            vec![
                "5:15: collections.b.table: `t` is filled from line 4 too, but `n` has another `required` or `default` there",
            ],
        ),
        (
            table("b", "n: { type: integer, unique: true }", ""),
            vec![
                "5:15: collections.b.table: `t` is filled from line 4 too, but other columns are unique there",
            ],
        ),
        (
            table(
                "b",
                "n: integer",
                ", children: [{ table: c, from: c, key: [id, p], columns: { id: { parent: id }, p: { position: true, type: integer } } }]",
            ),
            vec![
                "5:94: collections.b.children[0]: below a table that several collections fill there can be no child tables yet",
            ],
        ),
    ] {
        let expected: Vec<String> = expected
            .iter()
            .map(|e| format!("mapping.yaml:{e}"))
            .collect();
        assert_eq!(faults(&format!("{HEAD}{a}{b}")), expected, "{b}");
    }
    let to = |on_delete: &str| {
        format!(
            "  b: {{ table: u, key: id, columns: {{ id: {{ path: _id, type: text }}, p: {{ type: text, references: {{ table: t, on_delete: {on_delete} }} }} }} }}\n"
        )
    };
    let again = table("c", "n: integer", "");
    assert_eq!(
        faults(&format!("{HEAD}{a}{}{again}", to("hold"))),
        Vec::<String>::new()
    );
    let found = faults(&format!("{HEAD}{a}{}{again}", to("cascade")));
    assert_eq!(
        found,
        [
            "mapping.yaml:5:121: collections.b.columns.p.references.on_delete: with a table that several collections fill, `on_delete` can be nothing but `hold` yet; did you mean `hold`?"
        ]
    );
}

#[test]
fn soft_deletes() {
    let table = |delete: &str| {
        format!(
            "  people:
    table: people
    delete: {delete}
    key: id
    columns:
      id: {{ path: _id, type: text }}
      boss: {{ type: text, references: {{ table: people, on_delete: cascade }} }}
"
        )
    };
    let cascade = "10:67: collections.people.columns.boss.references.on_delete: rows with a soft delete stay, so they cannot go with others: `hold` or `set-null`";
    for (delete, expected) in [
        ("{ soft: gone }", vec![cascade]),
        (
            "{}",
            vec!["6:13: collections.people.delete: `soft`, the name of a column, is missing"],
        ),
        (
            "soft",
            vec![
                "6:13: collections.people.delete: `soft` stands where `{ soft: column }` should be",
            ],
        ),
        (
            "{ soft: id }",
            vec![
                "6:21: collections.people.delete.soft: `id` stands among the columns, but its value is not of the document: leave it out there",
            ],
        ),
        (
            "{ soft: xmin }",
            vec![
                "6:21: collections.people.delete.soft: every PostgreSQL table has a column `xmin` already",
                cascade,
            ],
        ),
        (
            "{ hard: id }",
            vec![
                "6:13: collections.people.delete: `soft`, the name of a column, is missing",
                "6:15: collections.people.delete.hard: unknown key `hard`: known are soft",
            ],
        ),
    ] {
        let expected: Vec<String> = expected
            .iter()
            .map(|e| format!("mapping.yaml:{e}"))
            .collect();
        assert_eq!(
            faults(&format!("{HEAD}{}", table(delete))),
            expected,
            "{delete}"
        );
    }
}

#[test]
fn conditions() {
    let table = |filter: &str| {
        format!(
            "  people:
    table: people
    where: {filter}
    key: id
    columns:
      id: {{ path: _id, type: uuid, convert: uuid-v5 }}
"
        )
    };
    for (filter, expected) in [
        (
            "{}",
            "6:12: collections.people.where: the block names no condition",
        ),
        (
            "[a]",
            "6:12: collections.people.where: a list stands where a block of conditions such as `{ kind: basic }`, or a CEL expression, should be",
        ),
        (
            "{ a..b: exists }",
            "6:14: collections.people.where.a..b: `a..b` is not a path: steps are separated by single dots, a dot in a name is written `\\.`",
        ),
        (
            "{ a: null }",
            "6:17: collections.people.where.a: null is no constant here: `missing` means not there, or null; did you mean `missing`?",
        ),
        (
            "{ a: }",
            "6:15: collections.people.where.a: there is nothing where a constant should be",
        ),
        (
            "{ a: [] }",
            "6:17: collections.people.where.a: the list names no constant",
        ),
        (
            "{ a: [[b]] }",
            "6:18: collections.people.where.a[0]: a list stands where a constant should be",
        ),
        (
            "{ a: { b: c } }",
            "6:17: collections.people.where.a: a block of keys stands where `exists`, `missing`, a constant or a list of constants should be",
        ),
        (
            "{ .: exists }",
            "6:12: collections.people.where: a condition on the whole document, `.`, says nothing",
        ),
        (
            "~",
            "6:12: collections.people.where: `~` stands where a block of conditions such as `{ kind: basic }`, or a CEL expression, should be",
        ),
        (
            "\"doc.kind == 'x' &&\"",
            "6:12: collections.people.where: it is no CEL expression: mismatched input '<EOF>'",
        ),
        (
            "has(dco.kind)",
            "6:12: collections.people.where: there is no `dco`: an expression sees `doc`, the document or element, and `id`, its `_id`; did you mean `doc`?",
        ),
        (
            "doc.kind.startWith('x')",
            "6:12: collections.people.where: there is no function `startWith`; did you mean `startsWith`?",
        ),
        (
            "1 < 2",
            "6:12: collections.people.where: a condition that names neither `doc` nor `id` says nothing",
        ),
    ] {
        let found = faults(&format!("{HEAD}{}", table(filter)));
        assert_eq!(found, [format!("mapping.yaml:{expected}")], "{filter}");
    }
}

#[test]
fn indexes() {
    assert_faults(&[
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    unique: [id]
    indexes: [[idd], [id], [a], [a], [], 7]
",
            &[
                "mapping.yaml:9:14: collections.people.unique[0]: `id` stands where a list of column names should be",
                "mapping.yaml:10:16: collections.people.indexes[0][0]: the table has no column `idd`; did you mean `id`?",
                "mapping.yaml:10:22: collections.people.indexes[1]: these columns have a key or an index already",
                "mapping.yaml:10:29: collections.people.indexes[2][0]: the table has no column `a`",
                "mapping.yaml:10:34: collections.people.indexes[3][0]: the table has no column `a`",
                "mapping.yaml:10:38: collections.people.indexes[4]: the list names no column",
                "mapping.yaml:10:42: collections.people.indexes[5]: `7` stands where a list of column names should be",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      a: text
      b: text
    unique: [[a, b], [a, b], [b, b]]
    indexes: [[idd], [id], []]
",
            &[
                "mapping.yaml:11:22: collections.people.unique[1]: these columns have a key or an index already",
                "mapping.yaml:11:34: collections.people.unique[2][1]: column `b` stands twice",
                "mapping.yaml:12:16: collections.people.indexes[0][0]: the table has no column `idd`; did you mean `id`?",
                "mapping.yaml:12:22: collections.people.indexes[1]: these columns have a key or an index already",
                "mapping.yaml:12:28: collections.people.indexes[2]: the list names no column",
            ],
        ),
    ]);
}

#[test]
fn more_columns_than_postgresql_indexes() {
    let names: Vec<String> = (0..33).map(|n| format!("c{n}")).collect();
    let columns: String = names
        .iter()
        .map(|name| format!("      {name}: {{ type: text, path: _id.{name} }}\n"))
        .collect();
    let table = format!(
        "  a:\n    table: a\n    key: [{}]\n    columns:\n{columns}",
        names.join(", ")
    );
    let found = faults(&format!("{HEAD}{table}"));
    let expected = "collections.a.key[32]: PostgreSQL allows 32 columns in a key or an index";
    assert_eq!(found, [format!("mapping.yaml:6:161: {expected}")]);
}

#[test]
fn what_could_not_be_read_is_not_missed_elsewhere() {
    let to_c = "      b: { type: text, references: { table: c } }\n";
    let c = "{ table: [], key: k, columns: { k: { path: _id, type: text } } }";
    for (rest, expected) in [
        (format!("{to_c}  c: c\n"), "10:6: collections.c: `c` stands"),
        (
            format!("{to_c}  c: {c}\n"),
            "10:15: collections.c.table: a list stands",
        ),
        (
            "      b: []\n    unique: [[b]]\n".to_owned(),
            "9:10: collections.a.columns.b: a list stands",
        ),
        (
            "      b: tex\n      c: { type: text, references: { table: a } }\n".to_owned(),
            "9:10: collections.a.columns.b: unknown type `tex`",
        ),
    ] {
        let a =
            "  a:\n    table: a\n    key: id\n    columns:\n      id: { path: _id, type: text }\n";
        let found = faults(&format!("{HEAD}{a}{rest}"));
        let [fault] = &found[..] else {
            panic!("{found:#?}")
        };
        assert!(
            fault.starts_with(&format!("mapping.yaml:{expected}")),
            "{fault}"
        );
    }
}
