//! Proves that every document is where it has to be, and that nothing else is anywhere.
//!
//! It takes a MongoDB that nobody writes to any more and a PostgreSQL that has caught up. Each
//! document is turned into rows by [`super::expected`] and held against the rows that are there;
//! what is left over has to be held. A document that is not in its row has to be in the dead
//! letters with the right reason, and the reason has to be true: an orphan's parent is really not
//! there, a unique value is really taken. Then the ledger's fates are looked up one by one
//! ([`fates`]), and the dead-letter topics are held against their index ([`dead_letters`]).
//!
//! What is true of the target is asked from the target: a child whose parent is wrongly missing is
//! an orphan like any other, so one loss is one finding, with its cause.

pub mod report;
pub mod state;
pub mod target;
mod judge;
mod held;
mod fates;
pub mod dead_letters;

use super::{Collection, ledger::Ledger};
use bson::Document;
use futures_util::TryStreamExt;
use judge::Judge;
use leafcutter_harness::{
    failure::{Attempt, Result},
    world::World,
};
use mongodb::Database;
use report::{Finding, Report, Wrong};
use state::State;
use target::Target;

/// The two sides, and what Leafcutter wrote beside them.
pub struct Sides<'a> {
    /// The source.
    pub mongodb: &'a Database,
    /// The target.
    pub postgres: &'a mut tokio_postgres::Client,
    /// The prefix of the topics.
    pub prefix: &'a str,
    /// The consumer group whose progress counts. Rows that wait and dead letters are of a table and
    /// a topic, whoever came last.
    pub group: &'a str,
}

impl<'a> Sides<'a> {
    /// The sides of a test's world.
    pub fn of(world: &'a mut World) -> Self {
        Self {
            mongodb: &world.source,
            postgres: &mut world.target,
            prefix: &world.place.prefix,
            group: &world.group,
        }
    }
}

/// Compares everything but the topics.
///
/// # Errors
/// When a server fails; what it finds is in the report.
pub async fn compare(sides: Sides<'_>, ledger: &Ledger) -> Result<Report> {
    let Sides {
        mongodb,
        postgres,
        prefix,
        group,
    } = sides;
    // One view of the target, whoever else is at it.
    let view = postgres
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let state = State::read(&view, prefix, mongodb.name(), group).await?;
    let target = Target::read_keys(&view).await?;
    let mut report = Report::new(&state);
    for collection in Collection::ALL {
        let rows = target::rows(&view, collection).await?;
        let mut judge = Judge::new(collection, &target, &state, rows, &mut report);
        let mut documents = mongodb
            .collection::<Document>(collection.name())
            .find(bson::doc! {})
            .await
            .attempt(&format!("read `{}`", collection.name()))?;
        while let Some(document) = documents.try_next().await? {
            judge.document(&document);
        }
        let left = judge.finish();
        held::check(&view, collection, left, &state, &mut report).await?;
    }
    for (what, ids) in state.dead_letters_of_unknown_records() {
        report.add(Finding {
            wrong: Wrong::DeadLetter,
            collection: what,
            id: ids,
            detail: "a dead letter of a record that says not whose it is".to_owned(),
        });
    }
    fates::check(&view, ledger, &state, &mut report).await?;
    view.rollback().await?;
    Ok(report)
}
