//! Every BSON type meets every column type: what `docs/mapping.md` says of it is what PostgreSQL
//! holds, and what has no exact place is refused and never changed.

use crate::{
    documented::{DOCUMENT, cells},
    shell,
    world::{World, put},
};
use bson::{Bson, RawDocumentBuf, doc};
use leafcutter_consumer::transform::Rows;

/// What a value becomes in a column, as PostgreSQL writes it; `–` and the like where it does not.
async fn becomes(world: &mut World, value: &Bson) -> String {
    let document = doc! { "_id": 1, "v": value.clone() };
    let raw = RawDocumentBuf::try_from(&document).unwrap();
    let plan = &world.model.collections[0].plan;
    match plan.transform(&raw, &mut Rows::default()) {
        Err(reason) if reason.code == "wrong-type" => return "–".to_owned(),
        Err(reason) => return reason.code.to_owned(),
        Ok(_) => {}
    }
    world.apply(&[put("all", 1, document)]).await.unwrap();
    let sql = "set timezone to 'UTC'; select coalesce(v::text, 'null') from \"all\"";
    let text = world.text(sql).await;
    world.execute("delete from \"all\"").await;
    text
}

/// A world of one table with a column `v`.
async fn world(column: &str) -> World {
    World::with(&format!(
        "version: 1
database: shop
collections:
  all:
    table: all
    key: id
    columns:
      id: {{ path: _id, type: integer }}
      v: {column}
"
    ))
    .await
}

#[tokio::test]
async fn the_documented_table_is_what_postgresql_holds() {
    let table = DOCUMENT.split("| BSON type | ").nth(1).unwrap();
    let mut lines = table.lines().take_while(|line| line.contains('|'));
    let header = cells(lines.next().unwrap());
    let rows: Vec<_> = lines.skip(1).map(cells).collect();
    assert!(rows.len() >= 21, "only {} BSON values", rows.len());
    let mut found: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row[..2].iter().map(|&cell| cell.to_owned()).collect())
        .collect();
    for column in &header[1..] {
        let column = match column.split_once(", ") {
            None => format!("{{ type: \"{column}\" }}"),
            Some((pg_type, convert)) => format!("{{ type: {pg_type}, {convert} }}"),
        };
        let mut world = world(&column).await;
        for (row, found) in rows.iter().zip(&mut found) {
            found.push(becomes(&mut world, &shell::value(row[1])).await);
        }
        world.end().await;
    }
    let lines = |rows: Vec<String>| rows.join("\n");
    assert_eq!(
        lines(rows.iter().map(|row| row.join(" | ")).collect()),
        lines(found.iter().map(|row| row.join(" | ")).collect())
    );
}

/// Asserts what values become in a column.
async fn assert_becomes(column: &str, cases: &[(&str, &str)]) {
    let mut world = world(column).await;
    for (value, expected) in cases {
        let found = becomes(&mut world, &shell::value(value)).await;
        assert_eq!(found, *expected, "{value} in {column}");
    }
    world.end().await;
}

#[tokio::test]
async fn numbers_are_exact_or_refused() {
    let largest = format!("9{}", "9".repeat(33)) + &"0".repeat(6111);
    let smallest = format!("0.{}1", "0".repeat(6175));
    assert_becomes(
        "numeric",
        &[
            (
                r#"NumberDecimal("9.999999999999999999999999999999999E+6144")"#,
                &largest,
            ),
            (r#"NumberDecimal("1E-6176")"#, &smallest),
            (
                r#"NumberDecimal("-1234567890.123456789012345678901234")"#,
                "-1234567890.123456789012345678901234",
            ),
            (r#"NumberDecimal("NaN")"#, "NaN"),
            (r#"NumberDecimal("Infinity")"#, "Infinity"),
            (r#"NumberDecimal("-Infinity")"#, "-Infinity"),
            (r#"NumberDecimal("-0")"#, "0"),
            ("0.1", "0.1"),
            ("5e-324", &format!("0.{}5", "0".repeat(323))),
            (r#"Long("-9223372036854775808")"#, "-9223372036854775808"),
        ],
    )
    .await;
    assert_becomes(
        "bigint",
        &[
            (r#"Long("9223372036854775807")"#, "9223372036854775807"),
            (
                r#"NumberDecimal("9223372036854775807")"#,
                "9223372036854775807",
            ),
            (r#"NumberDecimal("9223372036854775808")"#, "out-of-range"),
            (r#"NumberDecimal("1E+6000")"#, "out-of-range"),
            (r#"NumberDecimal("1E+2")"#, "100"),
            ("9007199254740992.0", "9007199254740992"),
            ("1e19", "out-of-range"),
            ("1.5", "–"),
            ("NaN", "out-of-range"),
            ("-0.0", "0"),
        ],
    )
    .await;
    assert_becomes(
        "real",
        &[
            ("0.1", "0.1"),
            ("1e39", "out-of-range"),
            ("1e-50", "out-of-range"),
            ("Infinity", "Infinity"),
        ],
    )
    .await;
    assert_becomes(
        "double precision",
        &[
            ("5e-324", "5e-324"),
            ("-0.0", "-0"),
            (r#"NumberDecimal("1E+400")"#, "out-of-range"),
            (r#"NumberDecimal("1E-400")"#, "out-of-range"),
            (r#"NumberDecimal("NaN")"#, "NaN"),
        ],
    )
    .await;
    assert_becomes(
        r#"{ type: "numeric(6,2)" }"#,
        &[
            ("9999.994", "9999.99"),
            ("9999.995", "out-of-range"),
            (r#"NumberDecimal("0.005")"#, "0.01"),
            ("Infinity", "out-of-range"),
            ("NaN", "NaN"),
        ],
    )
    .await;
}

#[tokio::test]
async fn dates_reach_as_far_as_the_types_do() {
    assert_becomes(
        "timestamptz",
        &[
            (r#"Date("-210866803200000")"#, "4714-11-24 00:00:00+00 BC"),
            (r#"Date("-210866803200001")"#, "out-of-range"),
            (
                r#"Date("9224318015999999")"#,
                "294276-12-31 23:59:59.999+00",
            ),
            (r#"Date("9224318016000000")"#, "out-of-range"),
            (r#"Date("9223372036854775807")"#, "out-of-range"),
            (r#"Date("-9223372036854775808")"#, "out-of-range"),
            (r#"Date("-1")"#, "1969-12-31 23:59:59.999+00"),
        ],
    )
    .await;
    assert_becomes(
        "date",
        &[
            (r#"Date("-1")"#, "1969-12-31"),
            (r#"Date("185331706992000000")"#, "5874897-12-31"),
            (r#"Date("185331707078400000")"#, "out-of-range"),
            (r#"Date("-9223372036854775808")"#, "out-of-range"),
        ],
    )
    .await;
}

#[tokio::test]
async fn names_of_any_form_are_kept() {
    let odd = r#"{ "": 1, "a.b": 2, "$c": 3, " d ": 4, "e\"f": 5, "g\\h": 6, "ü": 7 }"#;
    assert_becomes(
        "json",
        &[(
            odd,
            r#"{"":1,"a.b":2,"$c":3," d ":4,"e\"f":5,"g\\h":6,"ü":7}"#,
        )],
    )
    .await;
}
