//! Autores: three collections, with ids of two kinds, two unique keys, and a collection that MongoDB
//! empties by itself.

use super::{
    System,
    expected::{Expected, Row},
    source::Source,
};
use bson::{Bson, DateTime, Document, Timestamp, doc, oid::ObjectId};
use leafcutter_finlit::expected::tables::{Column, Kind, Then, column, varchar};
use leafcutter_harness::dice::Dice;
use mongodb::{IndexModel, options::IndexOptions};
use std::{collections::BTreeSet, time::Duration};
use uuid::Uuid;

/// The system.
pub const AUTORES: System = System {
    name: "autores",
    mapping: include_str!("../../../schemas/examples/autores/mapping.yaml"),
    indexes,
    series: &[],
    documents,
    expected,
};

/// How many users there are before anything changes.
pub const USERS: u32 = 120;
/// How many messages.
pub const MESSAGES: u32 = 360;
/// How many states.
pub const STATES: u32 = 40;
/// The user that comes when another already has its address.
pub const TWIN: u32 = 9_000;

/// How long a state lives.
const STATE_LIVES: Duration = Duration::from_secs(600);
const YEAR_2025: i64 = 1_735_689_600_000;
/// Long after this is run.
const YEAR_2100: i64 = 4_102_444_800_000;

fn dice(what: u64, n: u32) -> Dice {
    Dice::new(&[0x0a07_00e5, what, n.into()])
}

/// The n-th `_id` of a kind: one in three is an ObjectId, the others are UUIDs as text.
pub fn id(what: u8, n: u32) -> Bson {
    if n.is_multiple_of(3) {
        let mut bytes = [0x65, 0xa1, 0xf0, 0xc2, what, 0, 0, 0, 0, 0, 0, 0];
        bytes[8..].copy_from_slice(&n.to_be_bytes());
        return ObjectId::from_bytes(bytes).into();
    }
    let mut bytes = [what; 16];
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    Uuid::from_bytes(bytes).to_string().into()
}

/// The `_id` of a user.
pub fn user_id(n: u32) -> Bson {
    id(1, n)
}

/// The `_id` of a message.
pub fn message_id(n: u32) -> Bson {
    id(2, n)
}

/// The `_id` of a state.
pub fn state_id(n: u32) -> Bson {
    id(3, n)
}

/// Missing, null, or the value: all three are common.
fn maybe(document: &mut Document, name: &str, dice: &mut Dice, value: impl Into<Bson>) {
    match dice.below(4) {
        0 => {}
        1 => {
            document.insert(name, Bson::Null);
        }
        _ => {
            document.insert(name, value);
        }
    }
}

fn at(dice: &mut Dice) -> DateTime {
    let seconds = i64::from(dice.below_u32(20_000_000));
    DateTime::from_millis(YEAR_2025 + seconds * 1_000 + i64::from(dice.below_u32(1_000)))
}

/// A user.
pub fn user(n: u32) -> Document {
    let dice = &mut dice(1, n);
    let twitter = format!("{}", 10_000_000_000_u64 + u64::from(n) * 7_919);
    let mut user = doc! { "_id": user_id(n) };
    match n % 5 {
        0 => user.insert("twitter_id", twitter),
        // Once it was written as a number, and null under the new name.
        1 => {
            user.insert("twitter_user_id", Bson::Null);
            user.insert("twitter_id", twitter.parse::<i64>().unwrap_or(0))
        }
        _ => user.insert("twitter_user_id", twitter),
    };
    maybe(&mut user, "email", dice, format!("user{n}@example.org"));
    // 255 characters, each of four bytes.
    let token = if n % 11 == 4 {
        "🔑".repeat(255)
    } else {
        format!("token-{:x}", dice.number())
    };
    user.extend(doc! { "access_token": token, "refresh_token": "", "token_expires_at": at(dice) });
    if n % 13 == 6 {
        user.insert("token_expires_at", DateTime::from_millis(-1));
    }
    maybe(&mut user, "created_at", dice, at(&mut dice.clone()));
    maybe(&mut user, "updated_at", dice, at(&mut dice.clone()));
    user.insert("revision_id", Bson::Null);
    match n {
        // Tokens one character too long, a date that is text, a user without a token.
        17 => user.insert("access_token", "x".repeat(256)),
        31 => user.insert("token_expires_at", "2025-10-29T12:00:00"),
        47 => user.remove("access_token"),
        _ => None,
    };
    user
}

/// A message, of one of the first users.
pub fn message(n: u32) -> Document {
    let dice = &mut dice(2, n);
    let owner = dice.below_u32(USERS);
    let texts = [
        "hola",
        "",
        "line\nbreak\ttab \\ and \"quotes\"",
        "👩‍👩‍👧‍👦 ñandú",
        "a\0b",
        "'; drop table users; --",
    ];
    let mut message = doc! {
        "_id": message_id(n), "timestamp": at(dice), "user": format!("{}", dice.number()),
        "text": dice.pick(&texts),
    };
    let owner = match (user_id(owner), n % 4) {
        (Bson::ObjectId(id), 1) => Bson::String(id.to_hex()),
        (id, _) => id,
    };
    maybe(&mut message, "user_id", dice, owner);
    maybe(&mut message, "status", dice, "pending");
    maybe(&mut message, "public_response", dice, "gracias");
    maybe(&mut message, "dm_response", dice, "");
    let credits = [Bson::Int32(2), Bson::Int64(3), Bson::Double(4.0)];
    maybe(
        &mut message,
        "credits_used",
        dice,
        credits[dice.clone().below(3)].clone(),
    );
    maybe(&mut message, "redirected", dice, true);
    maybe(&mut message, "created_at", dice, at(&mut dice.clone()));
    match n {
        23 => message.insert("status", "Pending"),
        59 => message.insert("credits_used", 1.5),
        61 => message.insert("user_id", "no such user"),
        83 => message.insert(
            "timestamp",
            Timestamp {
                time: 1,
                increment: 1,
            },
        ),
        _ => None,
    };
    message
}

/// A state; some are old already, and some have no date by which they could be.
pub fn state(n: u32) -> Document {
    let created = match n % 4 {
        0 => Bson::DateTime(DateTime::from_millis(YEAR_2025)),
        1 => Bson::String("2025-01-01T00:00:00".to_owned()),
        2 => Bson::Null,
        _ => Bson::DateTime(DateTime::from_millis(YEAR_2100 + i64::from(n))),
    };
    doc! { "_id": state_id(n), "state": format!("state-{n}"), "code_verifier": "v".repeat(128), "created_at": created }
}

fn documents() -> Vec<(&'static str, Document)> {
    let states = (0..STATES).map(|n| ("oauth_states", state(n)));
    let messages = (0..MESSAGES).map(|n| ("messages", message(n)));
    let users = (0..USERS).map(|n| ("users", user(n)));
    states.chain(messages).chain(users).collect()
}

fn indexes() -> Vec<(&'static str, IndexModel)> {
    let unique = IndexOptions::builder().unique(true).build();
    let expires = IndexOptions::builder().expire_after(STATE_LIVES).build();
    let index = |keys: Document, options| IndexModel::builder().keys(keys).options(options).build();
    vec![
        ("oauth_states", index(doc! { "state": 1 }, unique)),
        ("oauth_states", index(doc! { "created_at": 1 }, expires)),
    ]
}

/// Which states MongoDB has yet to delete.
pub fn expired() -> Document {
    doc! { "created_at": { "$type": "date", "$lt": DateTime::from_millis(YEAR_2100) } }
}

const fn key(name: &'static str) -> Column {
    any(name, 36).at("_id")
}

const fn any(name: &'static str, max: usize) -> Column {
    column(
        name,
        Kind::Text {
            max: Some(max),
            any: true,
        },
    )
}

const LONG_TEXT: Kind = Kind::Text {
    max: None,
    any: false,
};

static USER: &[Column] = &[
    key("id"),
    any("twitter_user_id", 255).required(),
    varchar("email", 255),
    varchar("access_token", 255).required(),
    varchar("refresh_token", 255).required(),
    column("token_expires_at", Kind::Timestamp).required(),
    column("created_at", Kind::Timestamp),
    column("updated_at", Kind::Timestamp),
];

static MESSAGE: &[Column] = &[
    key("id"),
    column("timestamp", Kind::Timestamp).required(),
    varchar("twitter_user_id", 255).at("user").required(),
    any("user_id", 36),
    column("text", LONG_TEXT).required().nul(Then::Cut),
    varchar("status", 50),
    column("public_response", LONG_TEXT),
    column("dm_response", LONG_TEXT),
    column("credits_used", Kind::Int),
    column("redirected", Kind::Bool),
    column("created_at", Kind::Timestamp),
    column("updated_at", Kind::Timestamp),
];

static STATE: &[Column] = &[
    key("id"),
    varchar("state", 255).required(),
    varchar("code_verifier", 255).required(),
    column("created_at", Kind::Timestamp).wrong_type(Then::Null),
];

fn expected(source: &Source) -> Expected {
    let mut expected = Expected::default();
    for document in source.of("users") {
        let mut named = document.clone();
        if named
            .get("twitter_user_id")
            .is_none_or(|id| *id == Bson::Null)
        {
            let old = named.get("twitter_id").cloned();
            named.insert("twitter_user_id", old.unwrap_or(Bson::Null));
        }
        if document.get("_id") == Some(&user_id(TWIN)) {
            expected.dead_letter("users", document, "unique");
            continue;
        }
        match Row::of(USER, &named.into()) {
            Ok(row) => expected.place("users", row),
            Err(reason) => expected.dead_letter("users", document, reason),
        }
    }
    let statuses = BTreeSet::from(["pending", "answered", "ignored", "failed"]);
    for document in source.of("messages") {
        let status = document.get_str("status");
        let row = Row::of(MESSAGE, &document.clone().into());
        match row {
            Ok(_) if status.is_ok_and(|status| !statuses.contains(status)) => {
                expected.dead_letter("messages", document, "unlisted");
            }
            Ok(row) => {
                let of = ("messages", document);
                expected.place_child(of, "messages", row, &[("user_id", "users", "id")]);
            }
            Err(reason) => expected.dead_letter("messages", document, reason),
        }
    }
    for document in source.of("oauth_states") {
        match Row::of(STATE, &document.clone().into()) {
            Ok(row) => expected.place("oauth_states", row),
            Err(reason) => expected.dead_letter("oauth_states", document, reason),
        }
    }
    expected
}
