//! Why a run of the producer ended, what each reason makes the program do, and what it says then.
//!
//! What is transient never gets here from the readers: they wait and try again by themselves. An
//! error in this enum has ended a run. [`Error::class`] decides whether the next run begins at the
//! checkpoint or the program stops; [`Error::into_failure`] words the stop.

use leafcutter_runtime::{
    exit::Exit,
    report::{self, Failure, Fault},
};
use leafcutter_schemas::{class::Class, version::Version};

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// MongoDB did not answer a question that a run begins or goes on with.
    #[error("could not {what}")]
    Source {
        /// What was attempted, as a verb and an object.
        what: String,
        /// What the driver says.
        source: mongodb::error::Error,
    },
    /// The oplog no longer holds the position to go on from.
    #[error("the change history after {position} is gone from the source")]
    HistoryLost {
        /// The position that is lost.
        position: String,
        /// The collections that cannot go on.
        collections: Vec<String>,
        /// What the server says.
        source: mongodb::error::Error,
    },
    /// The source does not have an event any more that was read from it.
    #[error("the source has another history than before: no event at {event}")]
    HistoryReplaced {
        /// The time of the event.
        event: Version,
    },
    /// A collection was dropped or renamed, or the stream ended.
    #[error("stopped by policy: {what} at {time}")]
    Halted {
        /// What happened, with the collection's name.
        what: String,
        /// Its cluster time.
        time: Version,
    },
    /// An event is larger than the server can send.
    #[error("a change event is larger than 16 MB and cannot be read")]
    EventTooLarge {
        /// What the server says.
        source: mongodb::error::Error,
    },
    /// A transaction has more events than can be held until it is whole.
    #[error("a transaction of more than {events} events needs more than {limit} bytes")]
    TransactionTooLarge {
        /// Events that had room.
        events: usize,
        /// Bytes there are for them.
        limit: usize,
    },
    /// The server sent something that is not a change event as documented.
    #[error("could not understand a change event: {why}")]
    MalformedEvent {
        /// What is missing or unknown.
        why: String,
    },
    /// The broker refused a record, or the client is no longer usable.
    #[error("could not deliver a record to topic `{topic}`")]
    Deliver {
        /// The topic.
        topic: String,
        /// What the client says.
        source: rdkafka::error::KafkaError,
    },
    /// Kafka did not answer a question that a run begins or goes on with.
    #[error("could not {what}")]
    Broker {
        /// What was attempted, as a verb and an object.
        what: String,
        /// What the client says.
        source: rdkafka::error::KafkaError,
    },
    /// Something is not as it has to be, in the words of the person who has to mend it.
    #[error("{fault}")]
    Fault {
        /// The code to end with.
        exit: Exit,
        /// What is wrong.
        fault: Box<Fault>,
    },
    /// A Kafka client has lost its brokers for good.
    #[error(transparent)]
    ClientLost(leafcutter_runtime::kafka::ClientLost),
    /// Something that the preflight found in order does not answer now.
    #[error("{0}")]
    Unavailable(Box<Fault>),
    /// A task of the run panicked or did not end.
    #[error("{0}")]
    Task(Box<Failure>),
    /// A part of this program did what it cannot do.
    #[error("{task} failed: {why}")]
    Internal {
        /// Which part.
        task: &'static str,
        /// What it did.
        why: String,
    },
    /// Draining took too long: records are still in flight.
    #[error("{in_flight} records were not acknowledged within the time for draining")]
    DrainDeadline {
        /// How many.
        in_flight: usize,
    },
}

impl Error {
    /// A fault that ends the program with `exit`.
    pub(crate) fn fault(exit: Exit, fault: Fault) -> Self {
        Self::Fault {
            exit,
            fault: Box::new(fault),
        }
    }

    /// A thread of this program ended without an answer.
    pub(crate) fn internal(task: &'static str, why: impl ToString) -> Self {
        Self::Internal {
            task,
            why: why.to_string(),
        }
    }

    /// What the error makes the program do: transient ones start the next run at the checkpoint.
    pub fn class(&self) -> Class {
        match self {
            Self::Source { .. }
            | Self::Deliver { .. }
            | Self::Broker { .. }
            | Self::ClientLost(_)
            | Self::Unavailable(_) => Class::Transient,
            Self::HistoryLost { .. }
            | Self::HistoryReplaced { .. }
            | Self::Halted { .. }
            | Self::EventTooLarge { .. }
            | Self::TransactionTooLarge { .. }
            | Self::MalformedEvent { .. }
            | Self::Fault { .. }
            | Self::Task(_)
            | Self::Internal { .. }
            | Self::DrainDeadline { .. } => Class::Fatal,
        }
    }

    /// The failure the program ends with.
    pub fn into_failure(self) -> Failure {
        let message = self.to_string();
        let why = causes(&self);
        let (exit, fault) = match self {
            Self::Task(failure) => return *failure,
            Self::Fault { exit, fault } => (exit, *fault),
            Self::Unavailable(fault) => (Exit::Preflight, *fault),
            Self::Source { .. } => {
                let next = "Check that the server is up and reachable.";
                (Exit::Preflight, Fault::new(message, "MongoDB", why, next))
            }
            Self::Deliver { .. } | Self::Broker { .. } | Self::ClientLost(_) => {
                let next = "Check that the brokers are up and reachable.";
                (Exit::Preflight, Fault::new(message, "Kafka", why, next))
            }
            Self::HistoryLost {
                position,
                collections,
                ..
            } => (
                Exit::HistoryLost,
                history_lost(&position, &collections, why),
            ),
            Self::HistoryReplaced { event } => (Exit::StateMismatch, history_replaced(event)),
            Self::Halted { what, time } => (Exit::Stopped, halted(&what, time)),
            Self::EventTooLarge { .. } => (Exit::Stopped, event_too_large(why)),
            Self::TransactionTooLarge { .. } => (Exit::Stopped, transaction_too_large(message)),
            Self::MalformedEvent { why } => (Exit::Stopped, malformed_event(why)),
            Self::DrainDeadline { .. } => (Exit::DrainDeadline, drain_deadline(message)),
            Self::Internal { task, why } => (Exit::Bug, internal(task, why)),
        };
        Failure::one(exit, fault)
    }
}

fn history_lost(position: &str, collections: &[String], why: String) -> Fault {
    let (words, names) = (collections.join(" "), collections.join(","));
    Fault::new(
        "lost the change history",
        format!("position {position}, {}", collections.join(", ")),
        why,
        format!(
            "The source has overwritten the changes that come next; going on would lose them in \
             silence. Read again what is concerned, which finds the deletes of that time too: \
             `leafcutter resnapshot {words} --lost-history`. As soon as it says so, start the \
             producer as before. To go on with other collections until then: `--except {names}`. A \
             larger oplog (`replSetResizeOplog`) survives longer outages."
        ),
    )
}

fn history_replaced(event: Version) -> Fault {
    Fault::new(
        "could not go on: the source has another history than before",
        format!("the event at {event}, which the checkpoint names"),
        "it was read from this source and is not in its oplog any more, as after a restore from a \
         backup: what was written since the backup is in PostgreSQL, and not in MongoDB",
        "Point the producer at the cluster it began with, or begin again: \
         `leafcutter rollback`, then another `--prefix` (README).",
    )
}

fn halted(what: &str, time: Version) -> Fault {
    Fault::new(
        "stopped because the source changed its shape",
        format!("{what} at cluster time {time}"),
        "what is in PostgreSQL is left as it is; `--on-drop halt` says so",
        "If it was meant: start with `--on-drop ignore` to go past it, or remove the collection \
         from the mapping. If the collection was created anew, begin again: \
         `leafcutter rollback`, then another `--prefix` (README).",
    )
}

fn event_too_large(why: String) -> Fault {
    Fault::new(
        "stopped at a change event that MongoDB cannot send",
        "the change stream",
        why,
        "Make the document smaller, and begin again: \
         `leafcutter rollback`, then another `--prefix` (README).",
    )
}

fn transaction_too_large(why: String) -> Fault {
    Fault::new(
        "stopped at a transaction that does not fit its memory",
        "the change stream",
        why,
        "Start again with a larger `--memory-budget`: all events of a transaction have to be there \
         before the first is published. Nothing is lost as long as the oplog reaches back.",
    )
}

fn malformed_event(why: String) -> Fault {
    Fault::new(
        "stopped at a change event it does not understand",
        "the change stream",
        why,
        "A newer Leafcutter may know it; nothing is lost meanwhile as long as the oplog reaches \
         back.",
    )
}

fn drain_deadline(why: String) -> Fault {
    Fault::new(
        "left before everything in hand was acknowledged",
        "Kafka",
        why,
        "Nothing is lost: the next start goes on from the last checkpoint.",
    )
}

fn internal(task: &str, why: String) -> Fault {
    Fault::new(
        "stopped because a part of this program failed",
        task,
        why,
        "Please report this. Nothing is lost: the next start goes on from the last checkpoint.",
    )
}

/// The causes below an error, joined for people.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let words = |error: &(dyn std::error::Error + 'static)| {
        let driver = error.downcast_ref::<mongodb::error::Error>();
        driver.map_or_else(|| error.to_string(), told)
    };
    let cause = error.source();
    cause.map_or_else(String::new, |cause| report::causes_by(cause, words))
}

/// What the driver says, without the server's whole reply, which its own text appends in hex.
pub(crate) fn told(error: &mongodb::error::Error) -> String {
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(command) => {
            let mongodb::error::CommandError {
                code,
                code_name,
                message,
                ..
            } = command;
            format!("{message} (code {code} {code_name})")
        }
        mongodb::error::ErrorKind::ServerSelection { message, .. } => selection(message),
        kind => kind.to_string(),
    }
}

/// Why no server could be chosen: the error of the first that has one, without the driver's picture of all.
fn selection(message: &str) -> String {
    let error = message.split_once("Error: Kind: ");
    let error = error.and_then(|(_, rest)| rest.split_once(", labels:"));
    match error {
        Some((error, _)) => format!("no server answers: {}", error.trim_end_matches(':')),
        None => message.to_owned(),
    }
}

/// The server's error code, where it answered with one.
pub(crate) fn server_code(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}
