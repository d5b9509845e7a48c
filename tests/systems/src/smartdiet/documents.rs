//! SmartDiet's documents. Each is a function of its collection and its number.

use super::logbooks::{self, LOGBOOKS};
use bson::{Array, Bson, DateTime, Document, doc, oid::ObjectId};
use leafcutter_harness::dice::Dice;

pub(super) const YEAR_2025: i64 = 1_735_689_600_000;
const DAY: i64 = 86_400_000;

/// A collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they are the collections' names")]
pub enum Kind {
    Ingredients,
    AppointmentTypes,
    Companies,
    Offers,
    Categories,
    Targets,
    Recipes,
    Quizzs,
    QuizzQuestions,
    Contents,
    Events,
    Users,
    Menus,
    Messages,
    Coachings,
    UserQuizzs,
    UserQuizzQuestions,
    Appointments,
    Periods,
    Items,
    Days,
    Logbooks,
}

use Kind::{
    AppointmentTypes, Appointments, Categories, Coachings, Companies, Contents, Days, Events,
    Ingredients, Items, Logbooks, Menus, Messages, Offers, Periods, QuizzQuestions, Quizzs,
    Recipes, Targets, UserQuizzQuestions, UserQuizzs, Users,
};

/// All of them with their names and how many documents they have before anything changes, children
/// first, but for logbooks.
pub const ALL: [(Kind, &str, u32); 22] = [
    (Days, "days", 70),
    (Items, "items", 40),
    (Periods, "periods", 40),
    (Appointments, "appointments", 60),
    (UserQuizzQuestions, "userquizzquestions", 60),
    (UserQuizzs, "userquizzs", 40),
    (Coachings, "coachings", 40),
    (Messages, "messages", 90),
    (Menus, "menus", 20),
    (Users, "users", 80),
    (Events, "events", 30),
    (Contents, "contents", 40),
    (QuizzQuestions, "quizzquestions", 40),
    (Quizzs, "quizzs", 20),
    (Recipes, "recipes", 30),
    (Targets, "targets", 60),
    (Categories, "categories", 8),
    (Offers, "offers", 8),
    (Companies, "companies", 10),
    (AppointmentTypes, "appointmenttypes", 6),
    (Ingredients, "ingredients", 30),
    (Logbooks, "coachinglogbooks", LOGBOOKS),
];

fn place(kind: Kind) -> (u8, u32) {
    let places = (1..).zip(ALL);
    let found = places.into_iter().find(|(_, (other, ..))| *other == kind);
    found.map_or((0, 1), |(place, (_, _, count))| (place, count))
}

/// The n-th `_id` of a collection.
pub fn oid(kind: Kind, n: u32) -> ObjectId {
    let mut bytes = [0x66, 0, 0, 0, place(kind).0, 0, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&n.to_be_bytes()[2..]);
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

/// The same as a value.
pub fn id(kind: Kind, n: u32) -> Bson {
    oid(kind, n).into()
}

/// An id of one of the first documents, once in a while as text, and rarely of none.
fn one(kind: Kind, dice: &mut Dice) -> Bson {
    let n = if dice.percent(2) {
        9_999
    } else {
        dice.below_u32(place(kind).1)
    };
    if dice.percent(20) {
        oid(kind, n).to_hex().into()
    } else {
        id(kind, n)
    }
}

/// Several of them, some twice; or what stands there instead of an array.
fn several(kind: Kind, most: usize, dice: &mut Dice) -> Option<Bson> {
    match dice.below(12) {
        0 => None,
        1 => Some(Bson::Null),
        _ => Some(Bson::Array(
            (0..dice.below(most)).map(|_| one(kind, dice)).collect(),
        )),
    }
}

fn base(kind: Kind, n: u32, dice: &mut Dice) -> Document {
    let millis = YEAR_2025 + i64::from(dice.below_u32(2_000_000_000));
    let mut document =
        doc! { "_id": id(kind, n), "creation_date": DateTime::from_millis(millis), "__v": 0 };
    match dice.below(4) {
        0 => None,
        1 => document.insert("update_date", Bson::Null),
        _ => document.insert("update_date", DateTime::from_millis(millis + 1)),
    };
    if n % 17 == 5 {
        // From a system before this one.
        document.insert("creation_date", DateTime::from_millis(-62_135_596_800_000));
    }
    document
}

fn put(document: &mut Document, name: &str, value: Option<Bson>) {
    if let Some(value) = value {
        document.insert(name, value);
    }
}

/// The n-th document of a collection.
pub fn document(kind: Kind, n: u32) -> Document {
    let dice = &mut Dice::new(&[0x5a47, place(kind).0.into(), n.into()]);
    let mut document = base(kind, n, dice);
    let name = format!(
        "{} {n} é😀",
        dice.pick(&["Léa", "O'Neil", "\"x\"", "tab\t"])
    );
    match kind {
        Ingredients => {
            let calories: [Bson; 5] = [52.into(), "52.5".into(), "env. 50".into(), 0.125.into(), Bson::Null];
            document.extend(doc! { "name": name, "calories": calories[dice.below(5)].clone() });
            if n % 3 == 1 {
                document.insert("unit", "ml");
            }
        }
        AppointmentTypes | Categories => document.extend(doc! { "name": name }),
        Companies => document.extend(doc! { "name": name, "code": format!("C{n}"), "sso": { "on": true, "hosts": ["a.b"] } }),
        Offers => document.extend(doc! { "name": name, "price": 19.995, "months": 3.0 }),
        Targets => document.extend(doc! { "name": name }),
        Recipes => document.extend(doc! { "name": name, "servings": 4, "tags": ["été", "vite"],
            "ingredients": [ { "ingredient": id(Ingredients, 1), "g": 12.5 } ] }),
        Quizzs => {
            document.insert("title", name);
            put(&mut document, "questions", several(QuizzQuestions, 8, dice));
        }
        QuizzQuestions => document.extend(doc! { "label": name, "answers": [ { "text": "oui", "right": true }, "non" ] }),
        Contents => document.extend(doc! { "title": name, "url": "https://x/é?a=b&c", "category": id(Categories, dice.below_u32(8)) }),
        Events => document.extend(doc! { "title": name, "starts_at": DateTime::from_millis(YEAR_2025), "company": one(Companies, dice) }),
        Users => user(&mut document, n, dice),
        Menus => {
            document.extend(doc! { "title": name, "week": dice.int(53) });
            document.insert("recipes", recipes(dice));
        }
        Messages => document.extend(doc! { "user": one(Users, dice), "text": dice.pick(&["Bonjour", "", "a\0b"]) }),
        Coachings => {
            document.extend(doc! { "user": one(Users, dice), "coach": name, "start_date": DateTime::from_millis(YEAR_2025 - 1) });
            put(&mut document, "reasons", several(Targets, 6, dice));
            put(&mut document, "health_reasons", several(Targets, 4, dice));
        }
        UserQuizzs => {
            document.extend(doc! { "user": one(Users, dice), "quizz": one(Quizzs, dice), "score": dice.fraction() });
            put(&mut document, "questions", several(UserQuizzQuestions, 6, dice));
        }
        UserQuizzQuestions => document.extend(doc! { "question": one(QuizzQuestions, dice), "answer": { "chosen": [dice.int(4)] } }),
        Appointments => document.extend(doc! { "user": one(Users, dice), "type": one(AppointmentTypes, dice),
            "coaching": one(Coachings, dice), "date": DateTime::from_millis(YEAR_2025 + i64::from(n)) }),
        Periods => document.extend(doc! { "number_of_days": dice.int(30), "coaching": one(Coachings, dice) }),
        Items => document.extend(doc! { "menu": one(Menus, dice), "ingredient": one(Ingredients, dice), "quantity": dice.fraction() }),
        Days => {
            document.extend(doc! { "date": DateTime::from_millis(YEAR_2025 + DAY * i64::from(n) - 1), "period": one(Periods, dice),
                "userQuizz": one(UserQuizzs, dice) });
            if n % 2 == 1 {
                document.insert("is_success", n % 4 == 1);
            }
            put(&mut document, "contents", several(Contents, 5, dice));
            put(&mut document, "main_logbooks", several(Logbooks, 4, dice));
        }
        Logbooks => logbooks::fill(&mut document, n, dice),
    }
    document
}

fn user(user: &mut Document, n: u32, dice: &mut Dice) {
    let genders: [Bson; 6] = [
        "M".into(),
        "F".into(),
        "male".into(),
        "".into(),
        Bson::Null,
        "female".into(),
    ];
    let heights: [Bson; 5] = [
        172.into(),
        " 168.5 ".into(),
        "1m72".into(),
        171.25.into(),
        Bson::Null,
    ];
    user.extend(doc! {
        "email": format!("user{n}@example.org"), "firstname": "Zoé ".repeat(1 + dice.below(25)), "lastname": "d'Été",
        "gender": genders[dice.below(6)].clone(), "height": heights[dice.below(5)].clone(),
        "birthdate": DateTime::from_millis(-DAY * i64::from(dice.below_u32(20_000)) - 1),
        "company": one(Companies, dice), "offer": one(Offers, dice),
    });
    if n % 9 == 4 {
        user.remove("email");
    }
    put(user, "registered_events", several(Events, 6, dice));
    put(user, "targets", several(Targets, 12, dice));
    put(user, "specificity_targets", several(Targets, 5, dice));
    put(user, "health_targets", several(Targets, 5, dice));
    let mut seen = Vec::new();
    let mut reads = Array::new();
    for _ in 0..dice.below(6) {
        let content = id(Contents, dice.below_u32(40));
        if seen.contains(&content) {
            continue;
        }
        seen.push(content.clone());
        reads.push(if dice.percent(30) {
            content
        } else {
            doc! { "content": content, "date": DateTime::from_millis(YEAR_2025) }.into()
        });
    }
    user.insert("contents_reads", reads);
    match n {
        // Fifty targets in three arrays, all of which there are.
        0 => {
            for (name, from, to) in [
                ("targets", 0, 20),
                ("specificity_targets", 10, 25),
                ("health_targets", 20, 35),
            ] {
                user.insert(name, (from..to).map(|n| id(Targets, n)).collect::<Array>());
            }
        }
        // No array, a null in one, a gender that there is not, one content read at two times.
        13 => drop(user.insert("targets", "none")),
        23 => drop(user.insert("health_targets", bson::bson!([null]))),
        43 => drop(user.insert("gender", "X")),
        53 => drop(user.insert(
            "contents_reads",
            bson::bson!([
                { "content": id(Contents, 1), "date": DateTime::from_millis(0) },
                { "content": id(Contents, 1), "date": DateTime::from_millis(1) },
            ]),
        )),
        _ => {}
    }
}

/// Ids, and documents that say more; the same recipe twice is the same twice.
fn recipes(dice: &mut Dice) -> Array {
    let mut recipes = Array::new();
    for k in 0..dice.below(6) {
        let recipe = id(
            Recipes,
            5 * u32::try_from(k).unwrap_or(0) + dice.below_u32(5),
        );
        if k % 2 == 0 {
            recipes.push(recipe.clone());
            recipes.push(recipe);
        } else {
            recipes.push(doc! { "recipe": recipe, "servings": dice.int(8) }.into());
        }
    }
    recipes
}

/// All of them.
pub(super) fn all() -> Vec<(&'static str, Document)> {
    let of = |(kind, name, count): (Kind, &'static str, u32)| {
        (0..count).map(move |n| (name, document(kind, n)))
    };
    ALL.into_iter().flat_map(of).collect()
}
