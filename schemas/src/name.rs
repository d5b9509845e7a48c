//! Names of topics, derived from names of collections.
//!
//! Kafka allows letters, digits, `.`, `_` and `-` and at most 249 bytes
//! (`org.apache.kafka.common.internals.Topic`); MongoDB allows far more. Characters that Kafka
//! refuses become `_`, so two collections may collide: [`data_topics`] finds that out before
//! anything is created.

use std::collections::BTreeMap;

/// Longest topic name that Kafka accepts, in bytes.
pub const TOPIC_BYTES_MAX: usize = 249;

/// What follows a data topic's name in its dead-letter topic.
pub const DEAD_LETTER_SUFFIX: &str = ".dead-letter";

/// The database name that Leafcutter keeps for its own topics.
pub const RESERVED_DATABASE: &str = "leafcutter";

/// Why collections cannot be given topics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The topic name would be longer than Kafka accepts.
    #[error("topic `{topic}` has {} bytes, Kafka allows {TOPIC_BYTES_MAX}", topic.len())]
    TooLong {
        /// The name that does not fit.
        topic: String,
    },
    /// Two collections would share one topic.
    #[error(
        "collections `{first}` and `{second}` would both use topic `{topic}`; Kafka takes names \
         for one that differ only by `.` and `_`"
    )]
    Collision {
        /// The topic both would use.
        topic: String,
        /// The first collection, as `database.collection`.
        first: String,
        /// The second collection, as `database.collection`.
        second: String,
    },
    /// The name is kept for Leafcutter's own topics.
    #[error("`{name}` is reserved: {why}")]
    Reserved {
        /// The name that is taken.
        name: String,
        /// What it is taken for.
        why: &'static str,
    },
}

fn legal(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '_',
        })
        .collect()
}

/// The data topic of one collection: `<prefix>.<database>.<collection>`.
///
/// # Errors
/// When the name is reserved or too long for Kafka.
pub fn data_topic(prefix: &str, database: &str, collection: &str) -> Result<String, NameError> {
    if database == RESERVED_DATABASE {
        return Err(NameError::Reserved {
            name: database.to_owned(),
            why: "a database of this name would share topics with Leafcutter's own",
        });
    }
    let topic = legal(&format!("{prefix}.{database}.{collection}"));
    if topic.ends_with(DEAD_LETTER_SUFFIX) {
        return Err(NameError::Reserved {
            name: topic,
            why: "topics with this ending hold dead letters",
        });
    }
    if topic.len() + DEAD_LETTER_SUFFIX.len() > TOPIC_BYTES_MAX {
        return Err(NameError::TooLong {
            topic: dead_letter_topic(&topic),
        });
    }
    Ok(topic)
}

/// The data topics of several collections, in the order given, with every fault.
///
/// # Errors
/// Every reserved, too long or colliding name.
pub fn data_topics<'a>(
    prefix: &str,
    collections: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<String>, Vec<NameError>> {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut topics = Vec::new();
    let mut faults = Vec::new();
    for (database, collection) in collections {
        match data_topic(prefix, database, collection) {
            Err(fault) => faults.push(fault),
            Ok(topic) => {
                let owner = format!("{database}.{collection}");
                if let Some(first) = owners.insert(metric_name(&topic), owner.clone()) {
                    faults.push(NameError::Collision {
                        topic: topic.clone(),
                        first,
                        second: owner,
                    });
                }
                topics.push(topic);
            }
        }
    }
    if faults.is_empty() {
        Ok(topics)
    } else {
        Err(faults)
    }
}

/// A topic's name as Kafka's metrics have it. Kafka refuses a topic whose name there is another's.
pub fn metric_name(topic: &str) -> String {
    topic.replace('.', "_")
}

/// Where records of `topic` go that can never be applied.
pub fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}{DEAD_LETTER_SUFFIX}")
}

/// The compacted topic with `snapshot-complete` records and heartbeats.
pub fn control_topic(prefix: &str) -> String {
    legal(&format!("{prefix}.{RESERVED_DATABASE}.control"))
}

/// The compacted topic with the producers' checkpoints.
pub fn checkpoints_topic(prefix: &str) -> String {
    legal(&format!("{prefix}.{RESERVED_DATABASE}.checkpoints"))
}

/// The identity of a producer unless `--name` says otherwise: `<prefix>.<database>`.
pub fn producer_name(prefix: &str, database: &str) -> String {
    format!("{prefix}.{database}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn illegal_characters_become_underscores() {
        assert_eq!(data_topic("lc", "shop", "a b$é").unwrap(), "lc.shop.a_b__");
        assert_eq!(control_topic("lc"), "lc.leafcutter.control");
        assert_eq!(dead_letter_topic("lc.shop.a"), "lc.shop.a.dead-letter");
    }

    #[test]
    fn reserved_long_and_colliding_names_are_all_reported() {
        let long = "x".repeat(250);
        let faults = data_topics(
            "lc",
            [
                ("leafcutter", "a"),
                ("shop", long.as_str()),
                ("shop", "a b"),
                ("shop", "a_b"),
                ("shop", "a.b"),
            ],
        )
        .unwrap_err();
        assert_eq!(faults.len(), 4);
        assert!(matches!(faults[0], NameError::Reserved { .. }));
        assert!(matches!(faults[1], NameError::TooLong { .. }));
        assert!(matches!(faults[2], NameError::Collision { .. }));
        assert!(matches!(faults[3], NameError::Collision { .. }));
        assert!(data_topic("lc", "shop", "a.dead-letter").is_err());
    }
}
