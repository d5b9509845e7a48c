//! Accounts: one collection, one table, a unique column whose values are exchanged.

use crate::{
    model::{Model, Write},
    workload::Workload,
};
use bson::{Bson, DateTime, Document, doc};
use leafcutter_finlit::expected::tables::{Column, Kind, column, text, varchar};
use leafcutter_harness::dice::Dice;
use leafcutter_systems::{
    System,
    expected::{Expected, Row},
    source::{Source, id},
};

const NAME: &str = "accounts";
/// How many there are at first.
const ACCOUNTS: u32 = 40_000;
const YEAR_2020: i64 = 1_577_836_800_000;
/// Of so many, one has no address: a dead letter.
const WITHOUT: u32 = 500;

const SYSTEM: System = System {
    name: NAME,
    mapping: include_str!("../accounts.yaml"),
    indexes: Vec::new,
    series: &[],
    documents: all,
    expected,
};

static COLUMNS: &[Column] = &[
    column("account_id", Kind::BigInt).at("_id"),
    varchar("email", 120).required(),
    text("holder").required(),
    varchar("kind", 20).or("private"),
    column("balance", Kind::Numeric(Some((14, 2)))),
    column("interest", Kind::Float),
    column("is_open", Kind::Bool).at("open").or("true"),
    column("opened_on", Kind::Date).at("opened"),
    column("changed_at", Kind::Timestamp).at("changed"),
    column("address", Kind::Json),
];

/// The application.
#[derive(Debug, Default)]
pub struct Accounts {
    /// How many revisions and new accounts it has made.
    made: u32,
}

fn account_id(n: u32) -> Bson {
    // As the shell writes some and drivers others.
    match n.is_multiple_of(2) {
        true => Bson::Int64(n.into()),
        false => Bson::Int32(i32::try_from(n).unwrap_or(0)),
    }
}

/// The n-th account in a revision: all but its address, which is the first one's until it changes.
fn document(n: u32, revision: u32) -> Document {
    let dice = &mut Dice::new(&[u64::from_be_bytes(*b"accounts"), n.into(), revision.into()]);
    let mut account = doc! {
        "_id": account_id(n),
        "holder": format!("{} {n} é😀", dice.pick(&["Ada", "O'Neil", "\"x\"", "\\N"])),
        "balance": f64::from(dice.int(20_000_000)) / 100.0 - 100_000.0,
        "interest": dice.pick(&[0.0, -0.0, 0.015, 1e-300, f64::NAN]),
        "opened": DateTime::from_millis(YEAR_2020 + i64::from(dice.below_u32(2_000_000_000))),
        "changed": DateTime::from_millis(YEAR_2020 + i64::from(revision)),
    };
    if n % WITHOUT != 7 {
        account.insert("email", format!("a{n}@example.org"));
    }
    if dice.percent(50) {
        account.insert("kind", dice.pick(&["business", "private", ""]));
    }
    if dice.percent(50) {
        account.insert("open", dice.percent(50));
    }
    if dice.percent(70) {
        let lines: Vec<_> = (0..dice.below(4))
            .map(|line| format!("line {line}"))
            .collect();
        account.insert("address", doc! { "lines": lines, "zip": dice.int(99_999) });
    }
    account
}

fn all() -> Vec<(&'static str, Document)> {
    (0..ACCOUNTS).map(|n| (NAME, document(n, 0))).collect()
}

fn expected(source: &Source) -> Expected {
    let mut expected = Expected::default();
    for account in source.of(NAME) {
        match Row::of(COLUMNS, &account.clone().into()) {
            Ok(row) => expected.place(NAME, row),
            Err(reason) => expected.dead_letter(NAME, account, reason),
        }
    }
    expected
}

impl Accounts {
    fn next(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    /// Another revision of an account, with the address that it has.
    fn changed(&mut self, account: &Document) -> Document {
        let n = match account.get("_id") {
            Some(Bson::Int64(n)) => u32::try_from(*n),
            Some(Bson::Int32(n)) => u32::try_from(*n),
            _ => Ok(0),
        };
        let mut changed = document(n.unwrap_or(0), self.next());
        if let Some(email) = account.get("email") {
            changed.insert("email", email.clone());
        }
        changed
    }
}

impl Workload for Accounts {
    fn system(&self) -> System {
        SYSTEM
    }

    fn documents(&self) -> Vec<(&'static str, Document)> {
        all()
    }

    fn is_sound(&self, _: &Document) -> bool {
        // Nobody points to an account, and one without an address stays without.
        true
    }

    fn documents_per_second(&self) -> u32 {
        1_000
    }

    fn step(&mut self, model: &Model, dice: &mut Dice) -> Vec<Write> {
        let Some(account) = model.any(NAME, dice) else {
            return Vec::new();
        };
        match dice.below(100) {
            0..70 => vec![Write::Put(NAME, self.changed(account))],
            70..80 => {
                let new = ACCOUNTS + self.next();
                vec![Write::Put(NAME, document(new, 0))]
            }
            80..88 => vec![Write::Delete(NAME, id(account))],
            88..94 => vec![
                Write::Delete(NAME, id(account)),
                Write::Put(NAME, self.changed(account)),
            ],
            // Two, three or four exchange their addresses in a circle.
            _ => {
                let mut circle: Vec<&Document> = Vec::new();
                for _ in 0..2 + dice.below(3) {
                    let next = model.any(NAME, dice);
                    let next = next.filter(|next| next.contains_key("email"));
                    circle.extend(next.filter(|next| !circle.contains(next)));
                }
                let next = circle.iter().cycle().skip(1);
                let exchanged = circle.iter().zip(next).map(|(account, next)| {
                    let mut changed = self.changed(account);
                    changed.insert("email", next.get("email").cloned());
                    Write::Put(NAME, changed)
                });
                exchanged.collect()
            }
        }
    }
}
