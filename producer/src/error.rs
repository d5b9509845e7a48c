//! Why a run of the producer ended, what each reason makes the program do, and what it says then.
//!
//! What is transient never gets here from the readers: they wait and try again by themselves. An
//! error in this enum has ended a run. [`Error::class`] decides whether the next run begins at the
//! checkpoint or the program stops; [`Error::into_failure`] words the stop.

use leafcutter_runtime::exit::Exit;
use leafcutter_runtime::report::{Failure, Fault};
use leafcutter_schemas::class::Class;
use leafcutter_schemas::version::Version;

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
        /// What the server says.
        source: mongodb::error::Error,
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
    /// Something that the preflight found in order does not answer now.
    #[error("{0}")]
    Unavailable(Box<Fault>),
    /// A task of the run panicked or did not end.
    #[error("{0}")]
    Task(Box<Failure>),
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

    /// What the error makes the program do: transient ones start the next run at the checkpoint.
    pub fn class(&self) -> Class {
        match self {
            Self::Source { .. }
            | Self::Deliver { .. }
            | Self::Broker { .. }
            | Self::Unavailable(_) => Class::Transient,
            Self::HistoryLost { .. }
            | Self::Halted { .. }
            | Self::EventTooLarge { .. }
            | Self::MalformedEvent { .. }
            | Self::Fault { .. }
            | Self::Task(_)
            | Self::DrainDeadline { .. } => Class::Fatal,
        }
    }

    /// The failure the program ends with.
    pub fn into_failure(self) -> Failure {
        let message = self.to_string();
        let why = causes(&self);
        match self {
            Self::Fault { exit, fault } => Failure::one(exit, *fault),
            Self::Unavailable(fault) => Failure::one(Exit::Preflight, *fault),
            Self::Task(failure) => *failure,
            Self::HistoryLost { position, .. } => Failure::one(
                Exit::HistoryLost,
                Fault::new(
                    "lost the change history",
                    format!("position {position}"),
                    why,
                    "The source has overwritten the changes that come next, so going on would \
                     lose them in silence. Enlarge the oplog (`replSetResizeOplog`), then begin \
                     again: another `--prefix`, and the target emptied (README).",
                ),
            ),
            Self::Halted { what, time } => Failure::one(
                Exit::Stopped,
                Fault::new(
                    "stopped because the source changed its shape",
                    format!("{what} at cluster time {time}"),
                    "what is in PostgreSQL is left as it is; `--on-drop halt` says so",
                    "If it was meant: start with `--on-drop ignore` to go past it, or remove the \
                     collection from the mapping. If the collection was created anew, begin \
                     again: another `--prefix`, and the target emptied (README).",
                ),
            ),
            Self::EventTooLarge { .. } => Failure::one(
                Exit::Stopped,
                Fault::new(
                    "stopped at a change event that MongoDB cannot send",
                    "the change stream",
                    why,
                    "Make the document smaller, and begin again: another `--prefix`, and the \
                     target emptied (README).",
                ),
            ),
            Self::MalformedEvent { why } => Failure::one(
                Exit::Stopped,
                Fault::new(
                    "stopped at a change event it does not understand",
                    "the change stream",
                    why,
                    "A newer Leafcutter may know it; nothing is lost meanwhile as long as the \
                     oplog reaches back.",
                ),
            ),
            Self::DrainDeadline { .. } => Failure::one(
                Exit::DrainDeadline,
                Fault::new(
                    "left before everything in hand was acknowledged",
                    "Kafka",
                    message,
                    "Nothing is lost: the next start goes on from the last checkpoint.",
                ),
            ),
            Self::Source { .. } => Failure::one(
                Exit::Preflight,
                Fault::new(
                    message,
                    "MongoDB",
                    why,
                    "Check that the server is up and reachable.",
                ),
            ),
            Self::Deliver { .. } | Self::Broker { .. } => Failure::one(
                Exit::Preflight,
                Fault::new(
                    message,
                    "Kafka",
                    why,
                    "Check that the brokers are up and reachable.",
                ),
            ),
        }
    }
}

/// The chain of causes below an error, joined for people.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = match cause.downcast_ref::<mongodb::error::Error>() {
            Some(error) => told(error),
            None => cause.to_string(),
        };
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = cause.source();
    }
    texts.join(": ")
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
        kind => kind.to_string(),
    }
}

/// The server's error code, where it answered with one.
pub(crate) fn server_code(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}
