//! Faults of the file as a whole: YAML, versions, databases, collections.

use super::faults;

fn assert_faults(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(faults(text), *expected, "{text}");
    }
}

#[test]
fn what_is_no_mapping() {
    assert_faults(&[
        ("", &["mapping.yaml:1:1: the file is empty"]),
        (
            "# nothing
",
            &["mapping.yaml:1:1: the file is empty"],
        ),
        (
            "version: 1
  a: [
",
            &["mapping.yaml:2:4: this is not YAML: mapping values are not allowed in this context"],
        ),
        (
            "hello
",
            &[
                "mapping.yaml:1:1: `hello` stands where a mapping's keys (`version`, `database`, `collections`) should be",
            ],
        ),
        (
            "- a
",
            &[
                "mapping.yaml:1:1: a list stands where a mapping's keys (`version`, `database`, `collections`) should be",
            ],
        ),
        (
            "version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
---
a: b
",
            &["mapping.yaml:11:1: a second document; a mapping is one"],
        ),
        (
            "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
            &["mapping.yaml:1:65: nested deeper than 64 levels"],
        ),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]
b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]
c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]
d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]
e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]
",
            &["mapping.yaml:5:26: the aliases stand for too much"],
        ),
        (
            "a: &a [*a]
",
            &["mapping.yaml:1:8: an alias cannot contain itself"],
        ),
        (
            "a: *b
",
            &["mapping.yaml:1:4: this is not YAML: while parsing node, found unknown anchor"],
        ),
    ]);
}

#[test]
fn what_stands_at_the_top() {
    assert_faults(&[
        (
            "a: b
",
            &[
                "mapping.yaml:1:1: `version: 1` is missing",
                "mapping.yaml:1:1: `collections` is missing",
                "mapping.yaml:1:1: a: unknown key `a`: known are version, database, uuid_namespace, collections",
            ],
        ),
        (
            "version: 2
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &["mapping.yaml:1:10: version: version `2` is not supported; did you mean `1`?"],
        ),
        (
            "uuid_namespace: x
version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &["mapping.yaml:1:17: uuid_namespace: `x` is not a UUID"],
        ),
        (
            "version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
databse: x
",
            &["mapping.yaml:9:1: databse: unknown key `databse`; did you mean `database`?"],
        ),
        (
            "version: 1
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &[
                "mapping.yaml:3:3: collections.people: the collection's database is missing: give `database` here or at the top",
            ],
        ),
        (
            r#"version: 1
database: ""
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
"#,
            &["mapping.yaml:2:11: database: a database's name is empty"],
        ),
        (
            "version: 1
database: a.b
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &["mapping.yaml:2:11: database: MongoDB has no database named `a.b`"],
        ),
        (
            "version: 1
database: admin
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &["mapping.yaml:2:11: database: `admin` is MongoDB's own database"],
        ),
        (
            "version: 1
database: leafcutter
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &[
                "mapping.yaml:2:11: database: a database `leafcutter` would share topics with Leafcutter's own",
            ],
        ),
    ]);
}

#[test]
fn collections() {
    assert_faults(&[
        (
            "version: 1
database: shop
collections:
  {}
",
            &["mapping.yaml:4:3: collections: the mapping has no collection"],
        ),
        (
            "version: 1
database: shop
collections:
",
            &[
                "mapping.yaml:3:12: collections: there is nothing where a block of collections should be",
            ],
        ),
        (
            "version: 1
database: shop
collections:
  people: people
",
            &[
                "mapping.yaml:4:11: collections.people: `people` stands where a collection's keys (`table`, `key`, `columns`) should be",
            ],
        ),
        (
            r#"version: 1
database: shop
collections:
  system.users:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
  a$b:
    table: b
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
  "":
    table: c
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
"#,
            &[
                "mapping.yaml:4:3: collections.system.users: collections of MongoDB's own, `system.…`, cannot be moved",
                "mapping.yaml:9:3: collections.a$b: MongoDB has no collection named `a$b`",
                "mapping.yaml:14:3: collections.: a collection's name is empty",
            ],
        ),
        (
            "version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
  people:
    table: b
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
",
            &["mapping.yaml:9:3: collections.people: `people` stands twice, first in line 4"],
        ),
    ]);
}
