//! Which collections there are, and under which names a person may call them.
//!
//! The mapping says so, and what each waits for. Without a mapping the topics that the state or the
//! control topic name are taken, which is enough for everything but gates.

use crate::{connect::State, settings::Installation};
use leafcutter_consumer::mapping;
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use leafcutter_sink::{
    model::Model,
    state::{dead_letters, offsets},
};
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// A collection and its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// Its topic.
    pub topic: String,
    /// What its gate waits for: positions in the catalog.
    pub parents: Vec<usize>,
}

/// The collections of an installation.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// What every topic's name begins with.
    pub prefix: String,
    /// The collections.
    pub collections: Vec<Collection>,
    /// The compiled mapping, where one was given.
    pub model: Option<Arc<Model>>,
}

/// The topics that anything was applied or refused of.
async fn topics(state: &mut State) -> Result<BTreeSet<String>, tokio_postgres::Error> {
    let mut topics: BTreeSet<String> = BTreeSet::new();
    topics.extend(offsets::topics(&mut state.session).await?);
    topics.extend(dead_letters::topics(&mut state.session).await?);
    Ok(topics)
}

impl Catalog {
    /// The collections of a mapping file; none yet without a file.
    ///
    /// # Errors
    /// Every fault of the file.
    pub fn load(prefix: &str, file: Option<&Path>) -> Result<Self, Failure> {
        let model = file
            .map(|file| mapping::load(file, prefix))
            .transpose()?
            .map(Arc::new);
        let collections = model
            .iter()
            .flat_map(|model| &model.collections)
            .map(|c| Collection {
                database: c.database.clone(),
                name: c.name.clone(),
                topic: c.topic.clone(),
                parents: c.parents.iter().map(|parent| parent.0).collect(),
            });
        Ok(Self {
            prefix: prefix.to_owned(),
            collections: collections.collect(),
            model,
        })
    }

    /// The collections of the mapping, if one is given, and all that the state knows.
    ///
    /// # Errors
    /// Every fault of the file, or when PostgreSQL cannot be asked.
    pub async fn of(installation: &Installation, state: &mut State) -> Result<Self, Failure> {
        let mut catalog = Self::load(&installation.prefix, installation.mapping.as_deref())?;
        let topics = topics(state).await;
        let topics = topics.map_err(|error| state.lost(&error))?;
        catalog.add_topics(topics.iter().map(String::as_str));
        Ok(catalog)
    }

    /// Adds the topics that are not in it yet.
    pub fn add_topics<'t>(&mut self, topics: impl IntoIterator<Item = &'t str>) {
        for topic in topics {
            if self.by_topic(topic).is_none() {
                let rest = topic
                    .strip_prefix(&self.prefix)
                    .and_then(|rest| rest.strip_prefix('.'))
                    .unwrap_or(topic);
                let (database, name) = rest.split_once('.').unwrap_or(("", rest));
                self.collections.push(Collection {
                    database: database.to_owned(),
                    name: name.to_owned(),
                    topic: topic.to_owned(),
                    parents: Vec::new(),
                });
            }
        }
    }

    /// The collection of a topic.
    #[must_use]
    pub fn by_topic(&self, topic: &str) -> Option<usize> {
        self.collections.iter().position(|c| c.topic == topic)
    }

    /// A topic as `database.collection`, the shortest name that is never ambiguous.
    #[must_use]
    pub fn short<'t>(&self, topic: &'t str) -> &'t str {
        topic
            .strip_prefix(&self.prefix)
            .and_then(|rest| rest.strip_prefix('.'))
            .unwrap_or(topic)
    }

    /// The collection that a person calls `collection`, `database.collection` or by its topic.
    ///
    /// # Errors
    /// When there is none, or several, of that name.
    pub fn find(&self, called: &str) -> Result<usize, Failure> {
        let full = |c: &Collection| format!("{}.{}", c.database, c.name);
        let exact = |c: &Collection| c.topic == called || full(c) == called;
        if let Some(found) = self.collections.iter().position(exact) {
            return Ok(found);
        }
        let by_name: Vec<usize> = (0..self.collections.len())
            .filter(|&index| self.collections[index].name == called)
            .collect();
        if let [only] = by_name.as_slice() {
            return Ok(*only);
        }
        let names = |list: &mut dyn Iterator<Item = &Collection>| {
            list.map(full).collect::<Vec<_>>().join(", ")
        };
        let (why, next) = if by_name.is_empty() {
            let known = names(&mut self.collections.iter());
            let known = if known.is_empty() {
                "none".to_owned()
            } else {
                known
            };
            (
                "there is none of that name".to_owned(),
                format!("Known are: {known}."),
            )
        } else {
            let several = names(&mut by_name.iter().map(|&index| &self.collections[index]));
            (
                format!("it may be each of {several}"),
                "Give the database too.".to_owned(),
            )
        };
        Err(usage(
            "could not find the collection",
            &format!("`{called}`"),
            why,
            next,
        ))
    }
}

/// The command line cannot be carried out as it stands.
pub fn usage(what: &str, place: &str, why: impl Into<String>, next: impl Into<String>) -> Failure {
    Failure::one(Exit::Usage, Fault::new(what, place, why, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(topics: &[&str]) -> Catalog {
        let mut catalog = Catalog::load("lc", None).unwrap();
        catalog.add_topics(topics.iter().copied());
        catalog
    }

    #[test]
    fn a_collection_answers_to_three_names() {
        let catalog = catalog(&["lc.shop.orders", "lc.shop.items.old", "lc.shop.orders"]);
        assert_eq!(catalog.collections.len(), 2);
        for name in ["orders", "shop.orders", "lc.shop.orders"] {
            assert_eq!(catalog.find(name).unwrap(), 0, "{name}");
        }
        assert_eq!(catalog.find("items.old").unwrap(), 1);
        assert_eq!(catalog.short("lc.shop.orders"), "shop.orders");
        assert_eq!(catalog.short("other.shop.orders"), "other.shop.orders");
    }

    #[test]
    fn unknown_and_ambiguous_names_are_refused_with_the_known_ones() {
        let catalog = catalog(&["lc.shop.orders", "lc.other.orders"]);
        let unknown = catalog.find("order").unwrap_err();
        assert_eq!(unknown.exit, Exit::Usage);
        assert!(
            unknown.to_string().contains("shop.orders, other.orders"),
            "{unknown}"
        );
        let ambiguous = catalog.find("orders").unwrap_err();
        assert!(ambiguous.to_string().contains("each of"), "{ambiguous}");
        assert_eq!(catalog.find("other.orders").unwrap(), 1);
    }
}
