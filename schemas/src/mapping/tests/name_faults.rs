//! Faults of names, of tables and columns, alone and beside each other.

use super::assert_faults;

#[test]
fn names() {
    assert_faults(&[
        (
            "  people:
    table: a.b.c
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &[
                "mapping.yaml:5:12: collections.people.table: `a.b.c` has more than a schema and a table",
            ],
        ),
        (
            "  people:
    table: leafcutter.a
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &[
                "mapping.yaml:5:12: collections.people.table: the schema `leafcutter` holds Leafcutter's own state",
            ],
        ),
        (
            "  people:
    table: pg_catalog.a
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &[
                "mapping.yaml:5:12: collections.people.table: the schema `pg_catalog` is PostgreSQL's own",
            ],
        ),
        (
            "  people:
    table: lc_x
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &[
                "mapping.yaml:5:12: collections.people.table: names that begin with `lc_` are Leafcutter's own",
            ],
        ),
        (
            "  people:
    table: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &[
                "mapping.yaml:5:12: collections.people.table: `xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx` has 64 bytes, PostgreSQL cuts names after 63",
            ],
        ),
        (
            r#"  people:
    table: ""
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
"#,
            &["mapping.yaml:5:12: collections.people.table: a table's name is empty"],
        ),
        (
            "  people:
    table: a.
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &["mapping.yaml:5:12: collections.people.table: a table's name is empty"],
        ),
        (
            "  people:
    table: .a
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &["mapping.yaml:5:12: collections.people.table: a schema's name is empty"],
        ),
        (
            r#"  people:
    table: "a\0"
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
"#,
            &[
                "mapping.yaml:5:12: collections.people.table: a table's name contains a NUL character",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      lc_version: text
",
            &[
                "mapping.yaml:9:7: collections.people.columns.lc_version: names that begin with `lc_` are Leafcutter's own",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      xmin: text
",
            &[
                "mapping.yaml:9:7: collections.people.columns.xmin: every PostgreSQL table has a column `xmin` already",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      éééééééééééééééééééééééééééééééé: text
",
            &[
                "mapping.yaml:9:7: collections.people.columns.éééééééééééééééééééééééééééééééé: `éééééééééééééééééééééééééééééééé` has 64 bytes, PostgreSQL cuts names after 63",
            ],
        ),
        (
            r#"  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      "": text
"#,
            &["mapping.yaml:9:7: collections.people.columns.: a column's name is empty"],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
  others:
    table: people
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
",
            &[
                "mapping.yaml:10:12: collections.others.table: `people` is filled from line 5 too, but `id` is `uuid` there",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: people
        from: tags
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
",
            &[
                "mapping.yaml:10:16: collections.people.children[0].table: two tables are called `people`, the first in line 5",
            ],
        ),
    ]);
}
