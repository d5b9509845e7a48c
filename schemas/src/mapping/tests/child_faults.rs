//! Faults of child tables, and of references between tables.

use super::assert_faults;

#[test]
fn references_between_tables() {
    assert_faults(&[
        (
            "  people:
    table: people
    key: [id, b]
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      b: { type: text, path: _id.b }
  others:
    table: others
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      p: { type: uuid, convert: uuid-v5, references: { table: people } }
",
            &[
                "mapping.yaml:15:63: collections.others.columns.p.references.table: the key of `people` has 2 columns; a reference points to one",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid }
      p: { type: uuid, convert: uuid-v5, references: { table: people } }
",
            &[
                "mapping.yaml:9:33: collections.people.columns.p.convert: this column is made by `convert: uuid-v5`, `people.id` is not",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      p: { type: uuid, convert: uuid-v5, references: { table: tags } }
    children:
      - table: tags
        from: tags
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
",
            &[
                "mapping.yaml:9:63: collections.people.columns.p.references.table: `tags` is a child table; a reference points to a collection's own table",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uid, convert: uuid-v5 }
      p: { type: uuid, convert: uuid-v5, references: { table: people } }
",
            &[
                "mapping.yaml:8:30: collections.people.columns.id.type: unknown type `uid`; did you mean `uuid`?",
            ],
        ),
    ]);
}

#[test]
fn elements_of_arrays_and_maps() {
    let child = |from: &str, key: &str, columns: &str| {
        format!(
            "  people:
    table: people
    key: id
    columns: {{ id: {{ path: _id, type: text }} }}
    children:
      - table: tags
        from: {from}
        key: {key}
        columns: {{ id: {{ parent: id }}, {columns} }}
"
        )
    };
    let n = "n: { position: true, type: integer }";
    let at = "mapping.yaml";
    let place = "collections.people.children[0]";
    for (from, key, columns, expected) in [
        (
            "[]",
            "[id, n]",
            n,
            format!("{at}:10:15: {place}.from: the list names no array"),
        ),
        (
            "{}",
            "[id, n]",
            n,
            format!(
                "{at}:10:15: {place}.from: `path`, an array, or `map`, a document with free keys, is missing"
            ),
        ),
        (
            "{ path: a, map: b }",
            "[id, n]",
            n,
            format!(
                "{at}:10:31: {place}.from.map: rows come from an array, `path`, or from a `map`, not from both"
            ),
        ),
        (
            "{ path: a, sets: b }",
            "[id, n]",
            n,
            format!("{at}:10:26: {place}.from.sets: unknown key `sets`; did you mean `set`?"),
        ),
        (
            "[a, b]",
            "[id, n]",
            n,
            format!(
                "{at}:11:14: {place}.key: nothing tells the elements of several arrays apart: add a column with `set: true` to the key"
            ),
        ),
        (
            "[{ path: a }, a]",
            "[id, p]",
            "p: { type: text, required: true }",
            format!("{at}:10:29: {place}.from[1]: `a` stands twice"),
        ),
        (
            "{ map: a }",
            "[id, n]",
            n,
            format!(
                "{at}:12:55: {place}.columns.n.position: a map's fields have names, not positions; did you mean `map_key: true`?"
            ),
        ),
        (
            "a",
            "[id, n]",
            "n: { map_key: true, type: text }",
            format!(
                "{at}:12:54: {place}.columns.n.map_key: an array's elements have positions, not names"
            ),
        ),
        (
            "{ map: a }",
            "[id, n]",
            "n: { map_key: true, type: integer }",
            format!(
                "{at}:12:66: {place}.columns.n.type: a name is text or a UUID, not `integer`; did you mean `text`?"
            ),
        ),
        (
            "{ path: a, set: { k: x } }",
            "[id, n]",
            n,
            format!("{at}:10:33: {place}.from.set.k: the table has no column `k`"),
        ),
        (
            "{ path: a, set: { n: x } }",
            "[id, n]",
            n,
            format!("{at}:10:33: {place}.from.set.n: `n` is not declared with `set: true`"),
        ),
        (
            "{ path: a, set: { k: x } }",
            "[id, n]",
            "n: { position: true, type: integer }, k: { set: true, type: integer }",
            format!(
                "{at}:10:36: {place}.from.set.k: `x` is no `integer`: write a whole number in range"
            ),
        ),
        (
            "a",
            "[id, n]",
            "n: { position: true, type: integer }, k: { set: true, type: integer }",
            format!("{at}:10:15: {place}.from: `set` lacks `k` for `a`"),
        ),
        (
            "a",
            "d",
            "d: { derive: [id, n], type: uuid }, n: { position: true, type: integer }",
            format!("{at}:12:58: {place}.columns.d.derive[1]: no column `n` stands above this one"),
        ),
        (
            "a",
            "d",
            "n: { position: true, type: integer }, d: { derive: [n], type: uuid }",
            format!(
                "{at}:11:14: {place}.key: the key lacks the parent's key: a column with `parent: id`"
            ),
        ),
        (
            "a",
            "d",
            "n: { position: true, type: integer }, d: { derive: [id, n], type: text }",
            format!(
                "{at}:12:106: {place}.columns.d.type: what is derived is a UUID, not `text`; did you mean `uuid`?"
            ),
        ),
        (
            "a",
            "d",
            "p: text, d: { derive: [id, p], type: uuid }",
            format!(
                "{at}:12:67: {place}.columns.d.derive[1]: `p` may be missing, so nothing can be derived from it: make it `required: true`"
            ),
        ),
        (
            "a",
            "d",
            "p: { type: numeric, required: true }, d: { derive: [id, p], type: uuid }",
            format!(
                "{at}:12:96: {place}.columns.d.derive[1]: nothing can be derived from `p`, which is `numeric`"
            ),
        ),
    ] {
        let text = child(from, key, columns);
        assert_faults(&[(&text, &[&expected])]);
    }
}

#[test]
fn cascades_in_circles() {
    let table = |name: &str, to: &str, on_delete: &str| {
        format!(
            "  {name}: {{ table: {name}, key: id, columns: {{ id: {{ path: _id, type: text }}, \
             p: {{ type: text, references: {{ table: {to}, on_delete: {on_delete} }} }} }} }}\n"
        )
    };
    let text = [
        table("a", "b", "cascade"),
        table("b", "c", "hold"),
        table("c", "a", "set-null"),
        table("d", "d", "cascade"),
        table("e", "a", "cascade"),
    ]
    .concat();
    let expected = "mapping.yaml:4:121: collections.a.columns.p.references.on_delete: `a` and `b` point to each other in a circle, where `cascade` cannot tell what goes first";
    assert_faults(&[(&text, &[expected])]);
}

#[test]
fn children() {
    assert_faults(&[
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        from: .
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
",
            &[
                "mapping.yaml:11:15: collections.people.children[0].from: `.` is the element of the table above, which a collection's own table does not have",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
",
            &[
                "mapping.yaml:10:9: collections.people.children[0]: a child table needs `from`, the path of its array",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        from: tags
        database: x
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
",
            &[
                "mapping.yaml:12:9: collections.people.children[0].database: unknown key `database`: known are table, from, where, key, unique, indexes, columns, children",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children: { a: b }
",
            &[
                "mapping.yaml:9:15: collections.people.children: a block of keys stands where a list of child tables should be",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children: [a]
",
            &[
                "mapping.yaml:9:16: collections.people.children[0]: `a` stands where a child table's keys (`table`, `from`, `key`, `columns`) should be",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        from: tags
        key: [n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
",
            &[
                "mapping.yaml:12:14: collections.people.children[0].key: the key lacks the parent's key: a column with `parent: id`",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        from: tags
        key: id
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
",
            &[
                "mapping.yaml:12:14: collections.people.children[0].key: nothing tells the elements of one array apart: add a column with `position: true`, with `map_key: true` or with a path to the key",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        from: tags
        key: [id, m]
        columns:
          id: { parent: id }
          n: { position: true, type: integer }
          m: text
",
            &[
                "mapping.yaml:12:19: collections.people.children[0].key[1]: `m` may be missing, so it cannot be in the key: make it `required: true`",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        from: tags
        key: [id, n]
        columns:
          id: { parent: idd }
          n: { position: true, type: integer }
",
            &[
                "mapping.yaml:14:25: collections.people.children[0].columns.id.parent: the parent table has no column `idd`; did you mean `id`?",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        from: tags
        key: [id, n]
        columns:
          id: { parent: id, type: text }
          n: { position: true, type: integer }
",
            &[
                "mapping.yaml:14:35: collections.people.children[0].columns.id.type: the parent's column is `uuid`, this one `text`; did you mean `uuid`?",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        from: tags
        key: [id, n]
        columns:
          id: { parent: id, required: true, convert: auto }
          n: { position: true, type: integer }
",
            &[
                "mapping.yaml:14:39: collections.people.children[0].columns.id.required: `required` says nothing for a column with `parent`",
                "mapping.yaml:14:54: collections.people.children[0].columns.id.convert: `convert` says nothing for a column with `parent`",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        from: tags
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: text }
",
            &[
                "mapping.yaml:15:38: collections.people.children[0].columns.n.type: a position is a whole number, not `text`; did you mean `integer`?",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        from: tags
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true, type: integer, references: { table: people } }
",
            &[
                "mapping.yaml:15:59: collections.people.children[0].columns.n.references: a position points to nothing",
            ],
        ),
        (
            "  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
    children:
      - table: tags
        from: tags
        key: [id, n]
        columns:
          id: { parent: id }
          n: { position: true }
",
            &[
                "mapping.yaml:15:11: collections.people.children[0].columns.n: column `n` needs a `type`",
            ],
        ),
    ]);
}
