//! The application: it writes until it is told to stop, whatever becomes of MongoDB meanwhile.

use crate::{
    model::{Model, Write},
    workload::Workload,
};
use bson::{Document, doc};
use leafcutter_harness::{
    dice::Dice,
    failure::{Attempt, Failure, Result},
    source::{AWAY, PAUSE, is_away},
};
use leafcutter_systems::source::id;
use mongodb::Database;
use std::{cell::Cell, time::Duration};
use tokio::time::Instant;

/// Writes `per_second` steps a second until `stop`. Gives how many writes were made.
///
/// # Errors
/// When MongoDB fails otherwise than by being away for a while.
pub async fn run(
    workload: &mut dyn Workload,
    mut model: Model,
    database: &Database,
    (seed, per_second): (u64, u32),
    stop: &Cell<bool>,
) -> Result<u64> {
    let mut dice = Dice::new(&[seed, u64::from_be_bytes(*b"anywhere")]);
    let pause = Duration::from_secs(1) / per_second.max(1);
    let mut due = Instant::now();
    let mut made = 0;
    while !stop.get() {
        tokio::time::sleep_until(due).await;
        // A server that cannot keep up is not punished for it afterwards.
        due = (due + pause).max(Instant::now() - Duration::from_secs(1));
        for write in workload.step(&model, &mut dice) {
            let as_update = dice.percent(50);
            until_done(database, &model, &write, as_update).await?;
            model.take(&write);
            made += 1;
        }
    }
    Ok(made)
}

/// Makes a write until MongoDB has confirmed it.
async fn until_done(
    database: &Database,
    model: &Model,
    write: &Write,
    as_update: bool,
) -> Result<()> {
    let end = Instant::now() + AWAY;
    loop {
        match make(database, model, write, as_update).await {
            Ok(()) => return Ok(()),
            Err(error) if is_away(&error) && Instant::now() < end => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(Failure::from(error)).attempt(&format!("make {write:?}")),
        }
    }
}

async fn make(
    database: &Database,
    model: &Model,
    write: &Write,
    as_update: bool,
) -> mongodb::error::Result<()> {
    match write {
        Write::Delete(collection, id) => {
            let collection = database.collection::<Document>(collection);
            collection.delete_one(doc! { "_id": id }).await.map(drop)
        }
        Write::Put(name, document) => {
            let collection = database.collection::<Document>(name);
            let own = id(document);
            let filter = doc! { "_id": &own };
            let before = model.get(name, &own).filter(|_| as_update);
            match before.and_then(|before| difference(before, document)) {
                Some(change) => collection.update_one(filter, change).await.map(drop),
                None => {
                    let replace = collection.replace_one(filter, document);
                    replace.upsert(true).await.map(drop)
                }
            }
        }
    }
}

/// The update that makes one document into the other; none where they are equal.
fn difference(before: &Document, after: &Document) -> Option<Document> {
    let set: Document = after
        .iter()
        .filter(|(name, value)| before.get(name.as_str()) != Some(*value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let unset: Document = before
        .keys()
        .filter(|name| !after.contains_key(name.as_str()))
        .map(|name| (name.clone(), "".into()))
        .collect();
    let mut change = Document::new();
    for (operator, fields) in [("$set", set), ("$unset", unset)] {
        if !fields.is_empty() {
            change.insert(operator, fields);
        }
    }
    (!change.is_empty()).then_some(change)
}

#[cfg(test)]
mod tests {
    use super::difference;
    use bson::doc;

    #[test]
    fn an_update_says_what_is_other_and_what_is_gone() {
        let (before, after) = (
            doc! { "_id": 1, "a": 1, "b": 2 },
            doc! { "_id": 1, "b": 3, "c": null },
        );
        let change = doc! { "$set": { "b": 3, "c": null }, "$unset": { "a": "" } };
        assert_eq!(difference(&before, &after), Some(change));
        assert_eq!(difference(&before, &before), None);
    }
}
