//! The rows of Missland's documents, worked out again.

use crate::{
    expected::{Expected, Row},
    numbers::Numbers,
    source::Source,
};

use bson::{Bson, Document, oid::ObjectId};
use leafcutter_finlit::expected::{
    self as finlit,
    cell::Cell,
    tables::{Column, Kind, column, varchar},
};
use std::collections::BTreeSet;

/// The first number that is given to a document that has none.
pub const FIRST_NUMBER: i64 = 1_000_000;

const MONGO_ID: Column = {
    let any = Kind::Text {
        max: None,
        any: true,
    };
    column("mongo_id", any).at("_id")
};
const LEGACY: Column = column("id", Kind::BigInt).at("legacy_pg_id");
const USER: Column = column("user_id", Kind::BigInt).required();
const CREATED: Column = column("created_at", Kind::Timestamp);

static POST: &[Column] = &[
    LEGACY,
    MONGO_ID,
    varchar("title", 255).required(),
    varchar("image_url", 500),
    column("width", Kind::Int),
    column("height", Kind::Int),
    varchar("shape", 20),
    varchar("pattern", 50),
    varchar("size", 20),
    varchar("try_on_image_url", 500).or(""),
    CREATED,
];
static COLLECTION: &[Column] = &[
    LEGACY,
    MONGO_ID,
    USER,
    varchar("name", 255).required(),
    CREATED,
];
static TRYON: &[Column] = &[LEGACY, MONGO_ID, USER, CREATED];

/// All rows.
pub(super) fn expected(source: &Source) -> Expected {
    let mut expected = Expected::default();
    for table in ["core_post", "core_collection", "core_tryon"] {
        expected.numbers.push(Numbers {
            table,
            column: "id",
            by: &["mongo_id"],
            start: FIRST_NUMBER,
        });
    }
    for document in source.of("posts") {
        match post(document) {
            Err(reason) => expected.dead_letter("posts", document, reason),
            Ok((row, colors)) => {
                for color in colors {
                    let color = Row::default()
                        .with("post_id", row.get("id").clone())
                        .with("color", Cell::Text(color));
                    expected.place("core_post_colors", color);
                }
                expected.place("core_post", row);
            }
        }
    }
    for document in source.of("collections") {
        match own("core_collection", COLLECTION, document)
            .and_then(|row| Ok((row, links(document)?)))
        {
            Err(reason) => expected.dead_letter("collections", document, reason),
            Ok((row, posts)) => {
                for post in posts {
                    let link = Row::default().with("collection_id", row.get("id").clone());
                    let to = ("collections", document, post);
                    place(&mut expected, to, "core_collection_posts", link);
                }
                expected.place("core_collection", row);
            }
        }
    }
    for document in source.of("tryons") {
        let post = document.get("post_id").unwrap_or(&Bson::Null);
        match own("core_tryon", TRYON, document).and_then(|row| Ok((row, object_id(post)?))) {
            Err(reason) => expected.dead_letter("tryons", document, reason),
            Ok((row, post)) => place(&mut expected, ("tryons", document, post), "core_tryon", row),
        }
    }
    expected
}

/// A row that points to a post is there if the post is, and has its number.
fn place(
    expected: &mut Expected,
    (collection, document, post): (&str, &Document, ObjectId),
    table: &'static str,
    row: Row,
) {
    let post = Cell::Text(post.to_hex());
    match expected.find("core_post", "mongo_id", &post) {
        None => expected.orphan(collection, document),
        Some(post) => {
            let number = post.get("id").clone();
            expected.place(table, row.with("post_id", number));
        }
    }
}

/// A document's own row; without a number it is given one.
fn own(table: &str, columns: &'static [Column], document: &Document) -> Result<Row, &'static str> {
    let row = Row::of(columns, &document.clone().into())?;
    if *row.get("id") != Cell::Null {
        return Ok(row);
    }
    let number = Cell::Given(format!("{table} {}", row.get("mongo_id")));
    Ok(row.with("id", number))
}

/// A post's row and its colors.
fn post(document: &Document) -> Result<(Row, BTreeSet<String>), &'static str> {
    let row = own("core_post", POST, document)?;
    for (column, values) in [
        (
            "shape",
            &["almond", "stiletto", "square", "coffin", "round", "oval"][..],
        ),
        ("size", &["short", "medium", "long", "extra_long"]),
    ] {
        if let Cell::Text(value) = row.get(column)
            && !values.contains(&value.as_str())
        {
            return Err("unlisted");
        }
    }
    let colors = elements(document, "colors")?.iter().map(|color| {
        let color = finlit::cell(&varchar("color", 50).at("").required(), color)?;
        match color {
            Cell::Text(color) => Ok(color),
            _ => Err("wrong-type"),
        }
    });
    Ok((row, colors.collect::<Result<_, _>>()?))
}

/// The posts of a collection, each once.
fn links(document: &Document) -> Result<BTreeSet<ObjectId>, &'static str> {
    let ids = elements(document, "post_ids")?.iter().map(object_id);
    ids.collect()
}

fn elements<'a>(document: &'a Document, name: &str) -> Result<&'a [Bson], &'static str> {
    match document.get(name) {
        None | Some(Bson::Null) => Ok(&[]),
        Some(Bson::Array(elements)) => Ok(elements),
        Some(_) => Err("wrong-type"),
    }
}

/// An ObjectId, or its 24 digits.
fn object_id(value: &Bson) -> Result<ObjectId, &'static str> {
    match value {
        Bson::Null => Err("missing"),
        Bson::ObjectId(id) => Ok(*id),
        Bson::String(digits) => ObjectId::parse_str(digits).map_err(|_| "wrong-type"),
        _ => Err("wrong-type"),
    }
}
