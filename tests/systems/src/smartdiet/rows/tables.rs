//! Which collection becomes which table, column by column.

use leafcutter_finlit::expected::tables::{Column, Kind, Then, column, text, varchar};

const ID: Column = link("id", "_id");
pub(in crate::smartdiet) const CREATED: Column =
    column("created_at", Kind::Timestamp).at("creation_date");
pub(in crate::smartdiet) const UPDATED: Column =
    column("updated_at", Kind::Timestamp).at("update_date");
const NAME: Column = varchar("name", 255).required();
const TITLE: Column = varchar("title", 255).required();

pub(super) const fn link(name: &'static str, path: &'static str) -> Column {
    let any = Kind::Text {
        max: None,
        any: true,
    };
    column(name, any).at(path)
}

pub(in crate::smartdiet) const USER: Column = link("user_id", "user").required();

/// A collection, its table, and that table's columns.
pub(super) type Plain = (&'static str, &'static str, &'static [Column]);

/// Parents before children.
pub(super) static TABLES: [Plain; 21] = [
    (
        "ingredients",
        "ingredients",
        &[ID, CREATED, UPDATED, NAME, varchar("unit", 20).or("g")],
    ),
    (
        "appointmenttypes",
        "appointment_types",
        &[
            ID,
            CREATED,
            UPDATED,
            NAME,
            column("duration", Kind::Int).or("30"),
        ],
    ),
    (
        "companies",
        "companies",
        &[ID, CREATED, UPDATED, NAME, varchar("code", 40)],
    ),
    (
        "offers",
        "offers",
        &[
            ID,
            CREATED,
            UPDATED,
            NAME,
            column("price", Kind::Numeric(Some((8, 2)))),
            column("months", Kind::Int),
        ],
    ),
    (
        "categories",
        "categories",
        &[
            ID,
            CREATED,
            UPDATED,
            NAME,
            column("rank", Kind::Int).or("0"),
        ],
    ),
    ("targets", "targets", &[ID, CREATED, UPDATED, NAME]),
    (
        "recipes",
        "recipes",
        &[
            ID,
            CREATED,
            UPDATED,
            NAME,
            column("servings", Kind::Int),
            column("ingredients", Kind::Json),
        ],
    ),
    (
        "quizzquestions",
        "quizzs_questions",
        &[
            ID,
            CREATED,
            UPDATED,
            text("label").required(),
            column("answers", Kind::Json),
        ],
    ),
    ("quizzs", "quizzs", &[ID, CREATED, UPDATED, TITLE]),
    (
        "contents",
        "contents",
        &[
            ID,
            CREATED,
            UPDATED,
            TITLE,
            text("url"),
            link("category_id", "category"),
        ],
    ),
    (
        "events",
        "events",
        &[
            ID,
            CREATED,
            UPDATED,
            TITLE,
            column("starts_at", Kind::Timestamp),
            link("company_id", "company"),
        ],
    ),
    (
        "users",
        "users",
        &[
            ID,
            CREATED,
            UPDATED,
            varchar("email", 255),
            varchar("firstname", 80).too_long(Then::Cut),
            varchar("lastname", 80).too_long(Then::Cut),
            column("birthdate", Kind::Date),
            link("company_id", "company"),
            link("offer_id", "offer"),
        ],
    ),
    (
        "menus",
        "menus",
        &[ID, CREATED, UPDATED, TITLE, column("week", Kind::Int)],
    ),
    (
        "messages",
        "messages",
        &[
            ID,
            CREATED,
            UPDATED,
            USER,
            text("text").required().nul(Then::Cut),
            column("read", Kind::Bool).or("false"),
        ],
    ),
    (
        "coachings",
        "coachings",
        &[
            ID,
            CREATED,
            UPDATED,
            USER,
            varchar("coach", 120),
            column("starts_on", Kind::Date).at("start_date"),
        ],
    ),
    (
        "userquizzquestions",
        "users_quizzs_questions",
        &[
            ID,
            CREATED,
            UPDATED,
            link("question_id", "question"),
            column("answer", Kind::Json),
            column("points", Kind::Int).or("0"),
        ],
    ),
    (
        "userquizzs",
        "users_quizzs",
        &[
            ID,
            CREATED,
            UPDATED,
            USER,
            link("quizz_id", "quizz"),
            column("score", Kind::Real),
        ],
    ),
    (
        "appointments",
        "appointments",
        &[
            ID,
            CREATED,
            UPDATED,
            USER,
            link("appointment_type_id", "type"),
            link("coaching_id", "coaching"),
            column("starts_at", Kind::Timestamp).at("date"),
        ],
    ),
    (
        "periods",
        "periods",
        &[
            ID,
            CREATED,
            UPDATED,
            column("days_numbers", Kind::Int).at("number_of_days"),
            link("coaching_id", "coaching").required(),
        ],
    ),
    (
        "items",
        "items",
        &[
            ID,
            CREATED,
            UPDATED,
            link("menu_id", "menu").required(),
            link("ingredient_id", "ingredient"),
            column("quantity", Kind::Numeric(None)),
        ],
    ),
    (
        "days",
        "days",
        &[
            ID,
            CREATED,
            UPDATED,
            column("completed", Kind::Bool).at("is_success").or("false"),
            column("day", Kind::Date).at("date"),
            link("period_id", "period").required(),
            link("user_quizz_id", "userQuizz"),
        ],
    ),
];
