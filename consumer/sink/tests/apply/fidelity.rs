//! Every BSON type meets every column type: what `docs/mapping.md` says of it is what PostgreSQL
//! holds, and what has no exact place is refused and never changed.

use crate::{
    documented::{DOCUMENT, cells},
    world::{World, put},
};
use bson::{Bson, RawDocumentBuf, doc};
use leafcutter_harness::shell;
use leafcutter_schemas::mapping::pg_type::SCALARS;
use leafcutter_sink::{session, transform::Rows};

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
    let sql = "set timezone to 'UTC'; select v::text from \"all\"";
    let text = world.rows(sql).await.only();
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
async fn types_have_the_names_and_numbers_of_postgresql() {
    let world = world("text").await;
    let client = session::connect(&world.config, "test").await.unwrap();
    for scalar in SCALARS {
        let facts = scalar.facts();
        let sql = "\
            select t.oid, t.typsend::text, a.oid is not null, exists (select 1 from pg_amop o \
            join pg_am m on m.oid = o.amopmethod where m.amname = 'btree' \
            and o.amoplefttype = coalesce(nullif(t.oid, 'varchar'::regtype), 'text'::regtype)) \
            from pg_type t left join pg_type a on a.oid = t.typarray and a.typname = $2 \
            where t.typname = $1";
        let array = format!("_{}", facts.catalogue);
        let row = client.query_one(sql, &[&facts.catalogue, &array]).await;
        let row = row.unwrap();
        let found: (u32, String, bool, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let said = (facts.oid, facts.send.to_owned(), true, facts.compared);
        assert_eq!(found, said, "{}", facts.catalogue);
        for name in facts.names {
            let sql = format!("select '{name}'::regtype::oid");
            let oid: u32 = client.query_one(&sql, &[]).await.unwrap().get(0);
            assert_eq!(oid, facts.oid, "{name}");
        }
    }
}

/// A default is a column's in PostgreSQL, and is written by Leafcutter where a document lacks the value.
#[tokio::test]
async fn a_constant_means_the_same_to_postgresql() {
    let constants = [
        ("boolean", "yes"),
        ("boolean", "0"),
        ("smallint", "-32768"),
        ("integer", "+007"),
        ("bigint", "-9223372036854775808"),
        ("real", "1.1"),
        ("real", "16777217"),
        ("real", "-Infinity"),
        ("double precision", ".5"),
        ("double precision", "1e308"),
        ("double precision", "NaN"),
        ("numeric", "-1.5"),
        ("numeric", "1e6144"),
        ("numeric", "1e-6176"),
        ("numeric", "nan"),
        ("numeric(8,2)", "-123456.7"),
        ("text", "a 'quoted' \\ text"),
        ("text", ""),
        ("varchar(2)", "äö"),
        ("uuid", "{6BA7B812-9DAD-11D1-80B4-00C04FD430C8}"),
        ("bytea", "abc"),
        ("date", "0001-01-01"),
        ("time", "23:59"),
        ("time", "12:30:00.125"),
        ("timestamp", "2024-02-29"),
        ("timestamp", "2024-02-29T23:59:59.999Z"),
        ("timestamptz", "2024-02-29T23:59:59.5+02:00"),
        ("json", "{\"b\": [1.50, null],  \"a\": 1}"),
        ("jsonb", "{\"b\": [1.50, null],  \"a\": 1}"),
        ("integer[]", "{}"),
        ("varchar(9)[]", "{}"),
    ];
    let mut mapping = "version: 1
database: shop
collections:
  all:
    table: all
    key: id
    columns:
      id: { path: _id, type: integer }
"
    .to_owned();
    for (index, (pg_type, text)) in constants.iter().enumerate() {
        let text = text.replace('\'', "''");
        mapping.push_str(&format!(
            "      c{index}: {{ type: \"{pg_type}\", default: '{text}' }}\n"
        ));
    }
    let mut world = World::with(&mapping).await;
    world
        .apply(&[put("all", 1, doc! { "_id": 1 })])
        .await
        .unwrap();
    world.execute("insert into \"all\" (id) values (2)").await;
    for (index, (pg_type, text)) in constants.iter().enumerate() {
        let sql = format!("select c{index}::text from \"all\" order by id");
        let both = world.rows(&sql).await.values();
        assert_eq!(both.len(), 2);
        assert_eq!(both[0], both[1], "{text} as {pg_type}");
    }
}

#[tokio::test]
async fn a_time_of_day_is_the_dates_or_the_texts() {
    assert_becomes(
        "{ type: time, convert: parse }",
        &[
            (r#"Date("-1")"#, "23:59:59.999"),
            (r#"Date("9223372036854775807")"#, "07:12:55.807"),
            (r#""00:00""#, "00:00:00"),
            (r#"" 23:59:59.999999 ""#, "23:59:59.999999"),
            (r#""12:30:00.0000005""#, "12:30:00.000001"),
            (r#""24:00""#, "–"),
            (r#""12:60""#, "–"),
            (r#""9:30""#, "–"),
            (r#""12:30Z""#, "–"),
            (r#""12:30:00+01:00""#, "–"),
            (r#""2025-01-15T12:30:00Z""#, "–"),
            (r#""""#, "–"),
            ("43200", "–"),
        ],
    )
    .await;
    assert_becomes("time", &[(r#""12:30""#, "–")]).await;
    let array = r#"["12:30", ISODate("2025-01-15T10:30:00.5Z"), null]"#;
    assert_becomes(
        "{ type: \"time[]\", convert: parse }",
        &[(array, "{12:30:00,10:30:00.5,NULL}")],
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
