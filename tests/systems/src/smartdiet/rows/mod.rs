//! The rows of SmartDiet's documents, worked out again.

mod tables;

pub(super) use tables::{CREATED, UPDATED, USER};

use super::logbooks;
use crate::{
    expected::{Expected, Row},
    source::Source,
};
use bson::{Array, Bson, Document, doc};
use leafcutter_finlit::expected::{
    self as finlit,
    cell::Cell,
    decimal,
    tables::{self as columns, Kind, column, text},
};
use tables::{Plain, TABLES, link};

/// An array, its table, the column of the document's id, that of the element's, and its `type`.
type Links = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
);

/// The arrays of a collection.
fn links(collection: &str) -> &'static [Links] {
    match collection {
        "quizzs" => &[(
            "questions",
            "quizzs_links_questions",
            "quizz_id",
            "question_id",
            None,
        )],
        "users" => &[
            (
                "registered_events",
                "user_events",
                "user_id",
                "event_id",
                None,
            ),
            (
                "targets",
                "users_targets",
                "user_id",
                "target_id",
                Some("basic"),
            ),
            (
                "specificity_targets",
                "users_targets",
                "user_id",
                "target_id",
                Some("specificity"),
            ),
            (
                "health_targets",
                "users_targets",
                "user_id",
                "target_id",
                Some("health"),
            ),
            (
                "contents_reads",
                "users_contents_reads",
                "user_id",
                "content_id",
                None,
            ),
        ],
        "menus" => &[("recipes", "menu_recipes", "menu_id", "recipe_id", None)],
        "coachings" => &[
            (
                "reasons",
                "coaching_reasons",
                "coaching_id",
                "target_id",
                Some("reason"),
            ),
            (
                "health_reasons",
                "coaching_reasons",
                "coaching_id",
                "target_id",
                Some("health_reason"),
            ),
        ],
        "userquizzs" => &[(
            "questions",
            "users_quizzs_links_questions",
            "user_quizz_id",
            "user_question_id",
            None,
        )],
        "days" => &[
            (
                "contents",
                "days_contents_links",
                "day_id",
                "content_id",
                None,
            ),
            (
                "main_logbooks",
                "days_logbooks_links",
                "day_id",
                "logbook_id",
                None,
            ),
        ],
        _ => &[],
    }
}

/// Where a table's references point. The third: what is missing is null.
fn references(table: &str) -> &'static [(&'static str, &'static str, bool)] {
    match table {
        "quizzs_links_questions" => &[("question_id", "quizzs_questions", false)],
        "events" => &[("company_id", "companies", true)],
        "users" => &[
            ("company_id", "companies", true),
            ("offer_id", "offers", true),
        ],
        "user_events" => &[("event_id", "events", false)],
        "users_targets" | "coaching_reasons" => &[("target_id", "targets", false)],
        "users_contents_reads" | "days_contents_links" => &[("content_id", "contents", false)],
        "menu_recipes" => &[("recipe_id", "recipes", false)],
        "messages" | "coachings" => &[("user_id", "users", false)],
        "users_quizzs" => &[("user_id", "users", false), ("quizz_id", "quizzs", true)],
        "users_quizzs_links_questions" => &[("user_question_id", "users_quizzs_questions", false)],
        "users_quizzs_questions" => &[("question_id", "quizzs_questions", false)],
        "appointments" => &[
            ("user_id", "users", false),
            ("appointment_type_id", "appointment_types", true),
            ("coaching_id", "coachings", true),
        ],
        "periods" => &[("coaching_id", "coachings", false)],
        "items" => &[
            ("menu_id", "menus", false),
            ("ingredient_id", "ingredients", true),
        ],
        "days" => &[
            ("period_id", "periods", false),
            ("user_quizz_id", "users_quizzs", true),
        ],
        _ => &[],
    }
}

/// All rows.
pub(super) fn expected(source: &Source) -> Expected {
    let mut expected = Expected::default();
    for plain in &TABLES {
        for document in source.of(plain.0) {
            let made = own(plain, document).and_then(|row| {
                let children = children(plain.0, document, row.get("id"))?;
                Ok((row, children))
            });
            match made {
                Err(reason) => expected.dead_letter(plain.0, document, reason),
                Ok((row, children)) => {
                    let of = (plain.0, document);
                    if place(&mut expected, of, plain.1, row) {
                        for (table, row) in children {
                            place(&mut expected, of, table, row);
                        }
                    }
                }
            }
        }
    }
    logbooks::place(&mut expected, source);
    expected
}

fn place(
    expected: &mut Expected,
    of: (&str, &Document),
    table: &'static str,
    mut row: Row,
) -> bool {
    let mut needed = Vec::new();
    for (column, parent, or_null) in references(table) {
        if !or_null {
            needed.push((*column, *parent, "id"));
        } else if !expected.finds(row.get(column), parent, "id") {
            row = row.with(column, Cell::Null);
        }
    }
    expected.place_child(of, table, row, &needed)
}

/// The document's own row.
fn own((collection, _, columns): &Plain, document: &Document) -> Result<Row, &'static str> {
    let row = Row::of(columns, &document.clone().into())?;
    Ok(match *collection {
        "ingredients" => row.with("calories", parsed(document.get("calories"), (8, 2))),
        "companies" => {
            let mut rest = document.clone();
            for name in ["_id", "creation_date", "update_date", "name", "code"] {
                rest.remove(name);
            }
            let json = finlit::cell(&column("", Kind::Json).at(""), &rest.into())?;
            row.with("settings", json)
        }
        "recipes" => {
            let tags = document.get_array("tags").into_iter().flatten();
            let cell = |tag: &Bson| finlit::cell(&text("").at(""), tag);
            row.with(
                "tags",
                Cell::Array(tags.map(cell).collect::<Result<_, _>>()?),
            )
        }
        "users" => {
            let gender = match document.get_str("gender") {
                Ok("M" | "male") => Cell::Text("male".to_owned()),
                Ok("F" | "female") => Cell::Text("female".to_owned()),
                Ok("") | Err(_) => Cell::Null,
                Ok(_) => return Err("unlisted"),
            };
            let height = parsed(document.get("height"), (5, 2));
            row.with("gender", gender).with("height", height)
        }
        _ => row,
    })
}

/// A number, or text that is one; anything else is null.
pub(super) fn parsed(value: Option<&Bson>, (precision, scale): (u32, u32)) -> Cell {
    let number = match value {
        Some(Bson::String(text)) => text.trim().to_owned(),
        Some(Bson::Int32(n)) => n.to_string(),
        Some(Bson::Double(n)) => n.to_string(),
        _ => return Cell::Null,
    };
    if number.parse::<f64>().is_err() {
        return Cell::Null;
    }
    decimal::rounded(&number, precision, scale).map_or(Cell::Null, Cell::Numeric)
}

/// One row for each element of each array; the same one twice is there once.
fn children(
    collection: &str,
    document: &Document,
    id: &Cell,
) -> Result<Vec<(&'static str, Row)>, &'static str> {
    let mut rows: Vec<(&'static str, Row)> = Vec::new();
    for (array, table, parent, column, set) in links(collection) {
        let none = Array::new();
        let elements = match document.get(array) {
            None | Some(Bson::Null) => &none,
            Some(Bson::Array(elements)) => elements,
            Some(_) => return Err("wrong-type"),
        };
        for element in elements {
            let (name, more) = match *table {
                "menu_recipes" => ("recipe", Some(columns::column("servings", Kind::Int))),
                "users_contents_reads" => (
                    "content",
                    Some(columns::column("read_at", Kind::Timestamp).at("date")),
                ),
                _ => ("", None),
            };
            let whole = match element {
                Bson::Document(document) => document.clone(),
                id => doc! { name: id },
            };
            let target =
                finlit::cell(&link("", "").required(), whole.get(name).unwrap_or(element))?;
            let mut row = Row::default().with(parent, id.clone()).with(column, target);
            if let Some(more) = more {
                row = row.with(more.name, finlit::cell(&more, &whole.into())?);
            }
            if let Some(set) = set {
                row = row.with("type", Cell::Text((*set).to_owned()));
            }
            let same = |(of, other): &&(&str, Row)| {
                of == table
                    && other.get(column) == row.get(column)
                    && other.get("type") == row.get("type")
            };
            match rows.iter().find(same) {
                None => rows.push((*table, row)),
                Some((_, other)) if other.0 == row.0 => {}
                Some(_) => return Err("duplicate"),
            }
        }
    }
    Ok(rows)
}
