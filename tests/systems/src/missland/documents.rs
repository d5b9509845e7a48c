//! Missland's documents. Each is a function of its number. The even ones came from PostgreSQL, where
//! their number was one more; the odd ones were born in MongoDB.

use bson::{Array, Bson, DateTime, Document, doc, oid::ObjectId};
use leafcutter_harness::dice::Dice;
use mongodb::{IndexModel, options::IndexOptions};

const POSTS: u32 = 220;
const COLLECTIONS: u32 = 120;
const TRYONS: u32 = 200;
/// Nothing points to the posts from this on, until something does.
const LINKED: u32 = 110;
/// There are no posts from this on, and no such post ever comes.
const NOWHERE: u32 = 9_990;

const YEAR_2025: i64 = 1_735_689_600_000;

fn oid(what: u8, n: u32) -> ObjectId {
    let mut bytes = [0x67, 0, 0, 0, what, 0x5e, 0xed, 0, 0, 0, 0, 0];
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

/// The `_id` of a post.
pub fn post_id(n: u32) -> ObjectId {
    oid(1, n)
}

/// The same as text, as it stands in other documents.
pub fn post_text(n: u32) -> String {
    post_id(n).to_hex()
}

/// The `_id` of a collection.
pub fn collection_id(n: u32) -> ObjectId {
    oid(2, n)
}

/// The `_id` of a try-on.
pub fn tryon_id(n: u32) -> ObjectId {
    oid(3, n)
}

/// A time at which something was made.
pub fn created(n: u32) -> DateTime {
    DateTime::from_millis(YEAR_2025 + 86_400_001 * i64::from(n))
}

/// A number as one of the kinds that programs write.
fn number(n: u32, kind: u32) -> Bson {
    match kind % 3 {
        0 => i32::try_from(n).map_or(Bson::Null, Bson::Int32),
        1 => Bson::Int64(n.into()),
        _ => Bson::Double(n.into()),
    }
}

/// The number that it had, if it had one; others have null there, or nothing.
fn legacy(document: &mut Document, n: u32) {
    if n.is_multiple_of(2) {
        document.insert("legacy_pg_id", number(n + 1, n / 2));
    } else if n % 10 == 3 {
        document.insert("legacy_pg_id", Bson::Null);
    }
}

/// A post.
pub fn post(n: u32) -> Document {
    let dice = &mut Dice::new(&[0x3155, 1, n.into()]);
    let mut post = doc! {
        "_id": post_id(n), "title": format!("{} {n}", dice.pick(&["Été 💅", "\"chic\"", "tab\tO'Neil", "\\"])),
        "image_url": format!("https://cdn.example.org/é/{n}.png?a=1&b=2"),
        "width": number(600 + n, n), "height": number(800, n + 1),
        "shape": dice.pick(&["almond", "stiletto", "square", "coffin", "round", "oval"]),
        "pattern": dice.pick(&["french", "ombre", "solid", "glitter", "marbled", "léopard", ""]),
        "size": dice.pick(&["short", "medium", "long", "extra_long"]),
        "created_at": created(n),
    };
    legacy(&mut post, n);
    let names = ["red", "nude", "bleu nuit", "#ff00aa", "red"];
    match dice.below(8) {
        0 => None,
        1 => post.insert("colors", Bson::Null),
        _ => {
            let colors = (0..dice.below(5)).map(|_| Bson::from(dice.pick(&names)));
            post.insert("colors", colors.collect::<Array>())
        }
    };
    match n % 7 {
        0 => drop(post.insert("shape", Bson::Null)),
        1 => drop(post.remove("size")),
        2 => drop(post.insert(
            "try_on_image_url",
            format!("https://cdn.example.org/try/{n}"),
        )),
        3 => drop(post.insert("try_on_image_url", Bson::Null)),
        _ => {}
    }
    match n {
        // No shape of theirs, no title, numbers that are none, a color in the place of colors.
        31 => drop(post.insert("shape", "heart")),
        57 => drop(post.remove("title")),
        63 => drop(post.insert("legacy_pg_id", "64")),
        75 => drop(post.insert("legacy_pg_id", 76.5)),
        88 => drop(post.insert("colors", "red")),
        _ => {}
    }
    post
}

/// A post's id: mostly as text, and rarely of none.
fn one(dice: &mut Dice) -> Bson {
    let n = if dice.percent(2) {
        NOWHERE + dice.below_u32(3)
    } else {
        dice.below_u32(LINKED)
    };
    match dice.below(20) {
        0 => post_text(n).to_uppercase().into(),
        1 | 2 => post_id(n).into(),
        _ => post_text(n).into(),
    }
}

/// A collection of posts; one in four has the same one three times, in two ways.
pub fn collection(n: u32) -> Document {
    let dice = &mut Dice::new(&[0x3155, 2, n.into()]);
    let name = format!("{} {}", dice.pick(&["Mariage", "été 💛", ""]), n % 3);
    let mut collection = doc! { "_id": collection_id(n), "user_id": number(1 + n / 3, n), "name": name, "created_at": created(n) };
    legacy(&mut collection, n);
    match n % 12 {
        1 => None,
        2 => collection.insert("post_ids", Bson::Null),
        _ => {
            let mut posts: Array = (0..dice.below(9)).map(|_| one(dice)).collect();
            if n.is_multiple_of(4) {
                let same = dice.below_u32(LINKED);
                posts.extend([post_text(same).into(), post_id(same).into()]);
                posts.insert(0, post_text(same).into());
            }
            collection.insert("post_ids", posts)
        }
    };
    match n {
        // No id, a null, no array; and posts of which one comes late, and the other never.
        7 => drop(collection.insert("post_ids", bson::bson!([post_text(1), "no id"]))),
        17 => drop(collection.insert("post_ids", bson::bson!([null, post_text(2)]))),
        53 => drop(collection.insert("post_ids", post_text(3))),
        37 => drop(collection.insert(
            "post_ids",
            bson::bson!([post_text(LATE), post_text(4), post_text(NOWHERE)]),
        )),
        _ => {}
    }
    collection
}

/// The post that comes when it has long been said to be missing.
pub const LATE: u32 = 5_001;

/// A try-on: a user has at most one of a post.
pub fn tryon(n: u32) -> Document {
    let post = (n * 37 + n / 20) % LINKED;
    let post: Bson = if n % 9 == 4 {
        post_id(post).into()
    } else {
        post_text(post).into()
    };
    let mut tryon = doc! { "_id": tryon_id(n), "user_id": number(1 + n % 20, n), "post_id": post, "created_at": created(n) };
    legacy(&mut tryon, n);
    match n {
        // Of no post, of no id, of nothing, of no user.
        11 => drop(tryon.insert("post_id", post_text(NOWHERE))),
        21 => drop(tryon.insert("post_id", "67000000015eed000000000")),
        41 => drop(tryon.remove("post_id")),
        51 => drop(tryon.insert("user_id", "7")),
        _ => {}
    }
    tryon
}

/// What points to others comes first.
pub(super) fn all() -> Vec<(&'static str, Document)> {
    let tryons = (0..TRYONS).map(|n| ("tryons", tryon(n)));
    let collections = (0..COLLECTIONS).map(|n| ("collections", collection(n)));
    let posts = (0..POSTS).map(|n| ("posts", post(n)));
    tryons.chain(collections).chain(posts).collect()
}

/// As its guide names them. Numbers are unique where there are any.
pub(super) fn indexes() -> Vec<(&'static str, IndexModel)> {
    let plain = |keys: Document| IndexModel::builder().keys(keys).build();
    let unique = |keys: Document| {
        let options = IndexOptions::builder().unique(true).build();
        IndexModel::builder().keys(keys).options(options).build()
    };
    let numbers = || {
        let options = IndexOptions::builder()
            .unique(true)
            .partial_filter_expression(doc! { "legacy_pg_id": { "$type": "number" } })
            .build();
        let keys = doc! { "legacy_pg_id": 1 };
        IndexModel::builder().keys(keys).options(options).build()
    };
    vec![
        ("posts", plain(doc! { "created_at": -1, "_id": -1 })),
        ("posts", plain(doc! { "shape": 1, "pattern": 1, "size": 1 })),
        ("posts", plain(doc! { "colors": 1 })),
        ("posts", numbers()),
        ("collections", unique(doc! { "user_id": 1, "name": 1 })),
        (
            "collections",
            plain(doc! { "user_id": 1, "created_at": -1 }),
        ),
        ("collections", plain(doc! { "post_ids": 1 })),
        ("collections", numbers()),
        ("tryons", unique(doc! { "user_id": 1, "post_id": 1 })),
        ("tryons", plain(doc! { "user_id": 1, "created_at": -1 })),
        ("tryons", numbers()),
    ]
}
