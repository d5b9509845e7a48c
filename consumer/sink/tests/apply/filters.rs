//! `where`: what its conditions take, and what becomes of a document that leaves them.

use crate::world::{World, delete, id, put};
use bson::{Bson, DateTime, Decimal128, Document, doc};
use leafcutter_harness::rows;
use leafcutter_sink::change::Outcome;

const ORDERS: &str = "
version: 1
database: shop
collections:
  orders:
    table: orders
    where: { kind: [basic, gift], profile.size: exists, removed: missing }
    key: id
    columns: { id: { path: _id, type: text, convert: text }, kind: text }
    children:
      - table: lines
        from: lines
        where: { amount: exists, sku: missing }
        key: [id, n]
        columns: { id: { parent: id }, n: { position: true, type: integer }, amount: integer }
  payments:
    table: payments
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      order_id: { type: text, convert: text, references: { table: orders } }
";

fn order(fields: Document) -> Document {
    let mut order = doc! { "_id": id(1), "kind": "basic", "profile": { "size": 1 } };
    order.extend(fields);
    order
}

const LINES: &str = "select n, amount from lines order by 1";

#[tokio::test]
async fn a_document_that_leaves_the_filter_goes_and_may_come_back() {
    let mut world = World::with(ORDERS).await;
    let orders = |version, fields| put("orders", version, order(fields));
    let records = [
        orders(3, doc! { "removed": true }),
        // Older than the tombstone that the one before left.
        orders(2, doc! {}),
        orders(3, doc! { "removed": true }),
        orders(4, doc! { "lines": [{ "amount": 7 }] }),
        orders(6, doc! { "removed": true }),
        orders(5, doc! {}),
        orders(7, doc! { "kind": "gift", "removed": Bson::Null }),
        delete("orders", 8, 1),
    ];
    let outcomes = world.each(&records).await;
    let expected = [
        Outcome::Filtered,
        Outcome::Stale,
        Outcome::Unchanged,
        Outcome::Applied,
        Outcome::Filtered,
        Outcome::Stale,
        Outcome::Applied,
        Outcome::Deleted,
    ];
    assert_eq!(outcomes, expected);
    let left =
        "select (select count(*) from orders) as orders, (select count(*) from lines) as lines";
    assert_eq!(world.rows(left).await, rows![{ orders: 0, lines: 0 }]);
}

#[tokio::test]
async fn a_row_outside_the_filter_is_held_while_others_point_to_it() {
    let mut world = World::with(ORDERS).await;
    let payment = |version| {
        put(
            "payments",
            version,
            doc! { "_id": id(9), "order_id": id(1) },
        )
    };
    let outcomes = world
        .each(&[
            put("orders", 1, order(doc! {})),
            payment(2),
            put("orders", 3, order(doc! { "kind": "other" })),
        ])
        .await;
    assert_eq!(
        outcomes,
        [Outcome::Applied, Outcome::Applied, Outcome::Held]
    );
    world.each(&[delete("payments", 4, 9)]).await;
    assert_eq!(world.settle().await.let_go, 1);
    assert_eq!(world.count("orders").await, 0);
    // What points to a document outside the filter waits until it is inside again.
    assert_eq!(world.each(&[payment(5)]).await, [Outcome::Parked]);
    let applied = world
        .apply(&[put("orders", 6, order(doc! {}))])
        .await
        .unwrap();
    assert_eq!(applied.released, 1);
}

#[tokio::test]
async fn elements_outside_the_filter_have_no_row() {
    let mut world = World::with(ORDERS).await;
    let lines = |version, lines: Bson| put("orders", version, order(doc! { "lines": lines }));
    let some = Bson::from(vec![
        Bson::from(doc! { "amount": 1 }),
        Bson::from(doc! { "amount": 2, "sku": "x" }),
        Bson::from(doc! {}),
        Bson::from(doc! { "amount": 4 }),
        Bson::from("none"),
    ]);
    world.each(&[lines(1, some)]).await;
    assert_eq!(
        world.rows(LINES).await,
        rows![{ n: 0, amount: 1 }, { n: 3, amount: 4 }]
    );
    // An element that leaves the filter takes its row along.
    let fewer = Bson::from(vec![Bson::from(doc! { "amount": 1, "sku": "y" })]);
    world.each(&[lines(2, fewer)]).await;
    assert_eq!(world.rows(LINES).await, rows![]);
}

/// Constants are compared by their meaning.
#[tokio::test]
async fn constants_match_values_of_every_type_that_mean_the_same() {
    let mapping = |condition: &str| {
        format!(
            "version: 1\ndatabase: shop\ncollections:\n  things:\n    table: things\n    \
             where: {{ a.v: {condition} }}\n    key: id\n    columns: {{ id: {{ path: _id, type: text, convert: text }} }}\n"
        )
    };
    let decimal = |text: &str| Bson::from(text.parse::<Decimal128>().unwrap());
    let hex = "000000000000000000000007";
    let cases: [(&str, Vec<Bson>, Vec<Bson>); 6] = [
        (
            "5",
            vec![
                5.into(),
                5i64.into(),
                5.0.into(),
                decimal("5.00"),
                vec![1, 5].into(),
            ],
            vec![
                6.into(),
                "5".into(),
                true.into(),
                Bson::Null,
                vec![1].into(),
            ],
        ),
        (
            "0.1",
            vec![0.1.into(), decimal("0.10")],
            vec![0.11.into(), "0.1".into()],
        ),
        (
            "'5'",
            vec!["5".into(), Bson::Symbol("5".into())],
            vec![5.into(), doc! { "5": 5 }.into()],
        ),
        (
            "true",
            vec![true.into()],
            vec![false.into(), "true".into(), 1.into()],
        ),
        (
            "[a, 'exists', 000000000000000000000007]",
            vec!["a".into(), "exists".into(), 7.into()],
            vec!["b".into(), "".into()],
        ),
        (
            "'000000000000000000000007'",
            vec![id(7).into(), hex.into()],
            vec![id(8).into(), 7.into(), DateTime::from_millis(7).into()],
        ),
    ];
    for (condition, inside, outside) in cases {
        let mut world = World::with(&mapping(condition)).await;
        for (values, outcome) in [(inside, Outcome::Applied), (outside, Outcome::Filtered)] {
            for (number, value) in (1..).zip(values) {
                let said = format!("{condition} {value}");
                let document = doc! { "_id": id(number), "a": { "v": value } };
                // Each is newer than all before it.
                let version = if outcome == Outcome::Applied { 1 } else { 2 };
                let told = world.each(&[put("things", version, document)]).await;
                assert_eq!(told, [outcome], "{said}");
            }
        }
    }
}

const EXPRESSIONS: &str = "
version: 1
database: shop
collections:
  orders:
    table: orders
    where: \"doc.kind == 'x' && doc.n > 3\"
    key: id
    columns: { id: { path: _id, type: text, convert: text }, n: integer }
    children:
      - table: lines
        from: lines
        where: doc.amount
        key: [id, n]
        columns: { id: { parent: id }, n: { position: true, type: integer } }
        children:
          - table: parts
            from: parts
            where: doc > 1
            key: [id, n, part]
            columns:
              id: { parent: id }
              n: { parent: n }
              part: { path: ., type: integer, required: true }
      - table: codes
        from: { map: codes }
        where: doc.startsWith('a')
        key: [id, code]
        columns: { id: { parent: id }, code: { map_key: true, type: text } }
  payments:
    tables:
      - table: paid
        where: \"has(doc.at)\"
        key: id
        columns: { id: { path: _id, type: text, convert: text } }
      - table: due
        where: { at: missing }
        key: id
        columns: { id: { path: _id, type: text, convert: text } }
";

#[tokio::test]
async fn a_document_that_leaves_the_expression_goes_and_may_come_back() {
    let mut world = World::with(EXPRESSIONS).await;
    let orders = |version, kind: &str, n: Bson| {
        let document = doc! { "_id": id(1), "kind": kind, "n": n };
        put("orders", version, document)
    };
    let records = [
        orders(1, "y", 4.into()),
        orders(2, "x", 3.into()),
        orders(3, "x", 4.into()),
        orders(5, "x", 2.into()),
        // Older than the tombstone that the one before left.
        orders(4, "x", 4.into()),
        orders(6, "x", 5i64.into()),
        orders(7, "x", 5.5.into()),
        delete("orders", 8, 1),
    ];
    let outcomes = world.each(&records[..6]).await;
    let expected = [
        Outcome::Filtered,
        Outcome::Filtered,
        Outcome::Applied,
        Outcome::Filtered,
        Outcome::Stale,
        Outcome::Applied,
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(
        world.rows("select n, lc_version from orders").await,
        rows![{ n: 5, lc_version: 6 }]
    );
    // The condition holds, and a column takes no fraction.
    assert_eq!(
        world.each(&records[6..]).await,
        [Outcome::DeadLettered, Outcome::Deleted]
    );
}

#[tokio::test]
async fn elements_outside_the_expression_have_no_row_nor_have_theirs() {
    let mut world = World::with(EXPRESSIONS).await;
    let document = |lines: Bson, codes: Document| {
        doc! { "_id": id(1), "kind": "x", "n": 9, "lines": lines, "codes": codes }
    };
    let lines = vec![
        Bson::from(doc! { "amount": true, "parts": [1, 2, 3] }),
        Bson::from(doc! { "amount": false, "parts": [4] }),
    ];
    let codes = doc! { "k1": "ab", "k2": "ba" };
    let record = put("orders", 1, document(lines.into(), codes.clone()));
    assert_eq!(world.each(&[record]).await, [Outcome::Applied]);
    let rows = "select (select string_agg(n::text, ',' order by n) from lines) as lines, \
        (select string_agg(n || ' ' || part, ',' order by part) from parts) as parts, \
        (select string_agg(code, ',') from codes) as codes";
    assert_eq!(
        world.rows(rows).await,
        rows![{ lines: "0", parts: "0 2,0 3", codes: "k1" }]
    );
    // The last element that is inside leaves it, and takes its own elements along.
    let lines = vec![Bson::from(doc! { "amount": false, "parts": [2, 3] })];
    let record = put("orders", 2, document(lines.into(), codes));
    assert_eq!(world.each(&[record]).await, [Outcome::Applied]);
    assert_eq!(
        world.rows(rows).await,
        rows![{ lines: null, parts: null, codes: "k1" }]
    );
}

#[tokio::test]
async fn a_collection_is_divided_by_an_expression() {
    let mut world = World::with(EXPRESSIONS).await;
    let there = "select (select count(*) from paid) as paid, (select count(*) from due) as due";
    let due = put("payments", 1, doc! { "_id": id(1) });
    let paid = put("payments", 2, doc! { "_id": id(1), "at": 7 });
    for (record, rows) in [
        (&due, rows![{ paid: 0, due: 1 }]),
        (&paid, rows![{ paid: 1, due: 0 }]),
        (&due, rows![{ paid: 1, due: 0 }]),
    ] {
        world.each(std::slice::from_ref(record)).await;
        assert_eq!(world.rows(there).await, rows);
    }
}

/// What nobody can decide is the data's own fault, and told with its place.
#[tokio::test]
async fn an_expression_that_fails_refuses_the_document_and_leaves_its_rows() {
    let mut world = World::with(EXPRESSIONS).await;
    let good = doc! { "_id": id(1), "kind": "x", "n": 4, "lines": [{ "amount": true }] };
    let with = |name: &str, value: Bson| {
        let mut document = good.clone();
        document.insert(name, value);
        document
    };
    let mut without = good.clone();
    without.remove("n");
    let cases = [
        (without, "orders", "null", "there is no field `n`"),
        (with("n", "4".into()), "orders", "null", ""),
        (
            with(
                "lines",
                vec![doc! { "amount": true }, doc! { "amount": 1 }].into(),
            ),
            "lines",
            "lines.1",
            "it gives int, not a boolean",
        ),
        (
            with(
                "lines",
                vec![doc! { "amount": true, "parts": [2, "s3cret"] }].into(),
            ),
            "parts",
            "lines.0.parts.1",
            "",
        ),
        (
            with("codes", doc! { "a": "a", "b": 7 }.into()),
            "codes",
            "codes.b",
            "",
        ),
    ];
    world.each(&[put("orders", 1, good.clone())]).await;
    let open = "from leafcutter.dead_letters where state = 'open'";
    let letters = format!(
        "select reason, stage, table_name, column_name, \
        coalesce(path, 'null') as path {open}"
    );
    let messages = format!("select message {open}");
    let rows = "select (select n from orders) as n, (select count(*) from lines) as lines";
    for (version, (document, table, path, why)) in (2..).zip(cases) {
        let outcome = world.each(&[put("orders", version, document)]).await;
        assert_eq!(outcome, [Outcome::DeadLettered], "{table} {path}");
        let letter = rows![{
            reason: "expression",
            stage: "transform",
            table_name: "orders",
            column_name: "where",
            path: path,
        }];
        assert_eq!(world.rows(&letters).await, letter);
        let said = world.rows(&messages).await.only();
        let begins = format!("the condition of `{table}` fails: {why}");
        assert!(said.starts_with(&begins), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert_eq!(world.rows(rows).await, rows![{ n: 4, lines: 1 }]);
        world.execute("delete from leafcutter.dead_letters").await;
    }
    // The next change of the document is judged anew.
    let last = with("n", 5.into());
    assert_eq!(
        world.each(&[put("orders", 9, last)]).await,
        [Outcome::Applied]
    );
    assert_eq!(world.rows(rows).await, rows![{ n: 5, lines: 1 }]);
}
