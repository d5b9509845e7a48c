//! Which collections of the mapping are this producer's, and their topics.

use super::capture::Choice;
use crate::source::{Collection, dates::Dates};
use leafcutter_runtime::report::{Fault, Faults};
use leafcutter_schemas::{
    mapping::{Mapping, tier},
    name,
};

/// The database: the one that was asked for, or the only one.
pub(super) fn database(mapping: &Mapping, wanted: Option<String>) -> Result<String, Fault> {
    let known = mapping.databases();
    match (wanted, known.as_slice()) {
        (Some(wanted), known) if known.contains(&wanted.as_str()) => Ok(wanted),
        (Some(wanted), known) => Err(Fault::new(
            "could not find the database in the mapping",
            format!("`--database {wanted}`"),
            format!("the mapping names {}", list(known)),
            "Choose one of these, or add its collections to the mapping.",
        )),
        (None, [only]) => Ok((*only).to_owned()),
        (None, known) => Err(Fault::new(
            "could not choose a database",
            "`--database`",
            format!("the mapping names {}", list(known)),
            "One producer exports one database: start one for each, with `--database`.",
        )),
    }
}

/// Names for a message.
pub(super) fn list(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    if quoted.is_empty() {
        "none".to_owned()
    } else {
        quoted.join(", ")
    }
}

/// The chosen collections of the database with their topics, parents first. Names are checked over the
/// whole mapping, since all producers share the topics.
pub(super) fn collections(
    mapping: &Mapping,
    (prefix, database): (&str, &str),
    choice: &Choice,
    faults: &mut Faults,
) -> Option<Vec<Collection>> {
    let all = || mapping.collections.iter();
    let names = all().map(|c| (c.database.as_str(), c.name.as_str()));
    match name::data_topics(prefix, names) {
        Err(errors) => {
            for error in errors {
                faults.push(Fault::new(
                    "could not name a topic",
                    "`--prefix` and the mapping",
                    error.to_string(),
                    "Choose a shorter prefix, or map the collection from a view of another name.",
                ));
            }
            None
        }
        Ok(topics) => {
            let tiers = tier::tiers(mapping);
            let mut mine: Vec<Collection> = all()
                .zip(topics)
                .enumerate()
                .filter(|(_, (collection, _))| collection.database == database)
                .filter(|(_, (collection, _))| choice.takes(&collection.name))
                .map(|(index, (collection, topic))| Collection {
                    name: collection.name.clone(),
                    topic,
                    tier: tiers.tiers().get(index).copied().unwrap_or_default(),
                    dates: Dates(collection.poll_by.clone()),
                })
                .collect();
            mine.sort_by_key(|collection| collection.tier);
            Some(mine)
        }
    }
}
