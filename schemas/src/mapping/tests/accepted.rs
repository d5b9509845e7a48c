//! What a mapping may say, and what becomes of it.

use super::{FINLIT, mapping};
use crate::mapping::{
    ColumnSource, Conversion, Elements, Mapping, OnDelete, OnMissing, Path, PgType, Policies,
    Policy, RowSource, Table,
};
use uuid::Uuid;

/// A mapping of one collection whose columns and children are given.
fn people(rest: &str) -> Mapping {
    mapping(&format!(
        "version: 1
database: shop
collections:
  people:
    table: people
    key: id
    columns:
      id: {{ path: _id, type: uuid, convert: uuid-v5 }}
{rest}"
    ))
}

fn path(text: &str) -> ColumnSource {
    ColumnSource::Path(Path::parse(text).unwrap())
}

fn table<'m>(mapping: &'m Mapping, name: &str) -> &'m Table {
    mapping
        .tables()
        .find(|(_, table)| table.name.to_string() == name)
        .unwrap()
        .1
}

#[test]
fn finlit() {
    let mapping = mapping(FINLIT);
    assert_eq!(mapping.collections.len(), 9);
    assert_eq!(mapping.databases(), ["finlit"]);
    assert_eq!(mapping.uuid_namespace, Uuid::NAMESPACE_OID);

    let learners = &mapping.collection("finlit", "learners").unwrap().tables[0];
    assert_eq!(learners.key, [0]);
    assert_eq!(learners.unique, [[1]]);
    assert_eq!(learners.rows, RowSource::Document);
    let id = &learners.columns[0];
    assert_eq!(
        (id.pg_type, id.conversion, id.required),
        (PgType::Uuid, Conversion::UuidV5, true)
    );
    assert_eq!(id.source, path("_id"));
    let email = &learners.columns[1];
    assert_eq!(
        (email.pg_type, email.required),
        (PgType::Varchar(255), true)
    );
    assert_eq!(email.source, path("email"));
    let name = &learners.columns[2];
    assert_eq!(name.conversion, Conversion::Text);
    let cut = Policies {
        too_long: Policy::Truncate,
        nul: Policy::Truncate,
        ..Policies::default()
    };
    assert_eq!(name.invalid, cut);
    let goal = &learners.columns[learners.column("daily_goal_minutes").unwrap()];
    assert_eq!(goal.default.as_deref(), Some("10"));
    assert_eq!(goal.source, path("gamification.daily_goal_minutes"));

    let items = table(&mapping, "learning_items");
    let difficulty = &items.columns[items.column("discrimination").unwrap()];
    assert_eq!(difficulty.pg_type, PgType::Numeric(Some((8, 4))));
    let tags = &items.children[1];
    let elements = Elements {
        path: Path::parse("tags").unwrap(),
        map: false,
        set: Vec::new(),
    };
    assert_eq!(tags.rows, RowSource::Elements(vec![elements]));
    assert_eq!(tags.key, [0, 1]);
    assert_eq!(tags.columns[0].source, ColumnSource::Parent(0));
    assert_eq!(
        (tags.columns[0].pg_type, tags.columns[0].required),
        (PgType::Uuid, true)
    );
    assert_eq!(tags.columns[1].source, ColumnSource::Position);
    assert_eq!(tags.columns[2].source, path("."));

    let interactions = table(&mapping, "interactions");
    let item = interactions.columns[interactions.column("item_id").unwrap()]
        .reference
        .as_ref()
        .unwrap();
    assert_eq!(
        (item.table.to_string().as_str(), item.column.as_str()),
        ("learning_items", "item_id")
    );
    assert_eq!(
        (item.on_missing, item.on_delete),
        (OnMissing::Null, OnDelete::Hold)
    );
}

#[test]
fn every_reference_begins_an_index() {
    let mapping = mapping(FINLIT);
    let mut references = 0;
    for (_, table) in mapping.tables() {
        for (position, column) in table.columns.iter().enumerate() {
            if column.reference.is_some() {
                references += 1;
                let mut lists = table.unique.iter().chain(&table.indexes);
                assert!(
                    lists.any(|list| list[0] == position),
                    "{}.{}",
                    table.name,
                    column.name
                );
            }
        }
    }
    assert_eq!(references, 11);
    // One column of two indexes, one that nobody asked for.
    let interactions = table(&mapping, "interactions");
    assert_eq!(interactions.indexes, [vec![2, 10], vec![3], vec![4]]);
}

#[test]
fn columns_in_their_shortest_form() {
    let mapping = people("      a.b: VarChar( 9 )\n      c: double   precision\n      d: int\n");
    let columns = &mapping.collections[0].tables[0].columns;
    assert_eq!(columns[1].pg_type, PgType::Varchar(9));
    // A name is one step, whatever is in it.
    assert_eq!(columns[1].source, path(r"a\.b"));
    assert_eq!(columns[2].pg_type, PgType::Float8);
    assert_eq!(columns[3].pg_type, PgType::Int4);
    assert_eq!(
        (columns[3].required, columns[3].conversion),
        (false, Conversion::Auto)
    );
}

#[test]
fn the_word_null_with_and_without_quotes() {
    for null in ["null", "\"null\"", "~"] {
        let mapping = people(&format!(
            "      a: {{ type: integer, invalid: {null} }}
      b: {{ type: integer, invalid: {{ out_of_range: {null} }} }}
      c: {{ type: uuid, convert: uuid-v5, references: {{ table: people, on_missing: {null} }} }}
"
        ));
        let columns = &mapping.collections[0].tables[0].columns;
        let all = Policy::Null;
        assert_eq!(
            columns[1].invalid,
            Policies {
                wrong_type: all,
                too_long: all,
                nul: all,
                out_of_range: all,
                unlisted: all,
            }
        );
        assert_eq!(
            columns[2].invalid,
            Policies {
                out_of_range: Policy::Null,
                ..Policies::default()
            }
        );
        assert_eq!(
            columns[3].reference.as_ref().unwrap().on_missing,
            OnMissing::Null
        );
    }
}

#[test]
fn one_policy_for_all_counts_where_it_can() {
    let mapping = people(
        "      a: { type: varchar(9), invalid: truncate }
      b: { type: text, invalid: truncate }
      c: { type: text, required: true, invalid: reject }
",
    );
    let columns = &mapping.collections[0].tables[0].columns;
    let nul = Policies {
        nul: Policy::Truncate,
        ..Policies::default()
    };
    assert_eq!(
        columns[1].invalid,
        Policies {
            too_long: Policy::Truncate,
            ..nul
        }
    );
    assert_eq!(columns[2].invalid, nul);
    assert_eq!(columns[3].invalid, Policies::default());
}

#[test]
fn constants_keep_their_text() {
    let mapping = people(
        "      a: { type: numeric, default: 1.50 }
      b: { type: text, default: \"null\" }
      c: { type: boolean, constant: true }
      d: { type: text, constant: 007 }
      e: { type: text, default: \"\" }
",
    );
    let columns = &mapping.collections[0].tables[0].columns;
    assert_eq!(columns[1].default.as_deref(), Some("1.50"));
    assert_eq!(columns[2].default.as_deref(), Some("null"));
    assert_eq!(columns[3].source, ColumnSource::Constant("true".to_owned()));
    assert!(columns[3].required);
    assert_eq!(columns[4].source, ColumnSource::Constant("007".to_owned()));
    assert_eq!(columns[5].default.as_deref(), Some(""));
}

#[test]
fn schemas_and_databases_of_their_own() {
    let mapping = mapping(
        "version: 1
collections:
  a: { database: one, table: x.a, key: id, columns: { id: { path: _id, type: bytea } } }
  b: { database: two, table: a, key: [id], columns: { id: { path: _id.x, type: bytea } } }
",
    );
    assert_eq!(mapping.databases(), ["one", "two"]);
    assert!(mapping.collection("one", "b").is_none());
    assert_eq!(mapping.collections[0].tables[0].name.to_string(), "x.a");
    assert_eq!(mapping.collections[1].tables[0].name.schema, "public");
}

#[test]
fn children_of_children() {
    let mapping = people(
        "    children:
      - table: orders
        from: shop.orders
        key: [id, number]
        columns:
          id: { parent: id }
          number: { type: text, required: true }
        children:
          - table: lines
            from: lines
            key: [id, order, line]
            columns:
              order: { parent: number, type: text }
              line: { position: true, type: bigint }
              id: { parent: id }
              person: { parent: id, references: { table: people } }
",
    );
    let orders = &mapping.collections[0].tables[0].children[0];
    assert_eq!(
        orders.rows,
        RowSource::Elements(vec![Elements {
            path: Path::parse("shop.orders").unwrap(),
            map: false,
            set: Vec::new(),
        }])
    );
    let lines = &orders.children[0];
    assert_eq!(lines.key, [2, 0, 1]);
    assert_eq!(lines.columns[0].source, ColumnSource::Parent(1));
    assert_eq!(lines.columns[0].pg_type, PgType::Text);
    assert_eq!(lines.columns[3].reference.as_ref().unwrap().column, "id");
    assert_eq!(lines.indexes, [[3]]);
}

#[test]
fn anchors_and_aliases() {
    let text = FINLIT
        .replace(
            "created_at: { type: timestamp }\n      last",
            "created_at: &at { type: timestamp }\n      last",
        )
        .replace("earned_at: { type: timestamp }", "earned_at: *at");
    assert_ne!(text, FINLIT);
    let mapping = mapping(&text);
    let table = table(&mapping, "learner_achievements");
    assert_eq!(table.columns[4].pg_type, PgType::Timestamp);
    assert_eq!(table.columns[4].source, path("earned_at"));
}

#[test]
fn the_hash_names_the_bytes_of_the_file() {
    let hash = mapping(FINLIT).hash;
    assert_eq!(hash.len(), 16);
    assert_eq!(hash, mapping(FINLIT).hash);
    assert_ne!(hash, mapping(&format!("{FINLIT}# one byte more")).hash);
    // `printf 'version: 1…' | sha256sum`, so that no release changes it.
    let small = "version: 1\ndatabase: d\ncollections:\n  c: { table: t, key: k, columns: { k: { path: _id, type: text } } }\n";
    assert_eq!(mapping(small).hash, "1d79b8fdd931fcb7");
}

#[test]
fn dates_to_poll_by() {
    let of = |line: &str| {
        let text = format!(
            "version: 1\ndatabase: d\ncollections:\n  c: {{ {line}table: t, key: k, columns: {{ k: {{ path: _id, type: text }} }} }}\n"
        );
        let paths = mapping(&text).collections[0].poll_by.clone();
        paths.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of(""), [""; 0]);
    assert_eq!(of("poll_by: updated, "), ["updated"]);
    assert_eq!(of("poll_by: [made.at, updated], "), ["made.at", "updated"]);
}

#[test]
fn an_expression_may_follow_from_the_id() {
    let follows = |text: &str| {
        let mapping = people(&format!(
            "      k: {{ type: text, expression: \"{text}\" }}\n"
        ));
        mapping.collections[0].tables[0].follows_from_id(1)
    };
    assert!(follows("id + '-a'"));
    assert!(follows("string(doc._id.number)"));
    assert!(!follows("doc.mail"));
    assert!(!follows("id + doc.mail"));
}
