//! How it is said that nothing was done, or that reasons are passed over.

use crate::{
    catalog::usage,
    show::{Show, wrap},
    status::readiness::Reason,
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use serde::Serialize;
use std::fmt::Write as _;

/// There is no mapping, and so `what` cannot be done.
pub(crate) fn no_mapping(what: &str) -> Failure {
    let fault = Fault::new(
        what,
        "--mapping",
        "without the mapping nobody knows which tables are meant",
        "Give --mapping or LEAFCUTTER_MAPPING: the file that the consumers run with.",
    );
    Failure::one(Exit::Settings, fault)
}

/// There is no Kafka to ask.
pub(super) fn no_kafka() -> Failure {
    usage(
        "could not finish",
        "`--kafka-brokers` or `LEAFCUTTER_KAFKA_BROKERS`",
        "no broker is given, and only Kafka knows whether everything is applied",
        "Give one, such as 127.0.0.1:9092. Only --drop does without.",
    )
}

/// That nothing was done, as `--json` says it.
#[derive(Debug, Serialize)]
struct Refusal<'a> {
    done: bool,
    because: Vec<&'a str>,
}

/// The reasons, each on a line of its own.
pub(crate) fn listed(reasons: &[Reason]) -> String {
    let mut out = String::new();
    for reason in reasons {
        let wrapped = wrap("    ", &reason.words);
        writeln!(out, "  - {}", wrapped.trim()).unwrap_or_default();
    }
    out
}

/// Says that nothing was done, and why.
pub(crate) fn refused(show: &mut Show<'_>, head: &str, reasons: &[Reason]) -> Exit {
    if show.json {
        let because = reasons.iter().map(|reason| reason.words.as_str());
        show.json(&Refusal {
            done: false,
            because: because.collect(),
        });
        return Exit::Stopped;
    }
    let head = show.paint.attention(head);
    show.line(&head);
    show.text(&listed(reasons));
    show.text(&wrap(
        "",
        "Nothing was done. Mend this, or say --force to go on all the same.",
    ));
    Exit::Stopped
}

/// Says which reasons `--force` passes over.
pub(crate) fn forced(show: &mut Show<'_>, reasons: &[Reason]) {
    if !show.json && !reasons.is_empty() {
        let head = show.paint.attention("Goes on by --force, although:");
        show.line(&head);
        show.text(&listed(reasons));
        show.line("");
    }
}

/// Says that a person has stopped it before anything was changed, and with which command it is begun again.
pub(crate) fn interrupted(show: &mut Show<'_>, again: &str) -> Exit {
    interrupted_after(show, "nothing was changed", again)
}

/// As [`interrupted`], after some of it was `done`.
pub(super) fn interrupted_after(show: &mut Show<'_>, done: &str, again: &str) -> Exit {
    if show.json {
        show.json(&Refusal {
            done: false,
            because: vec!["interrupted"],
        });
    } else {
        let text = format!("Interrupted: {done}. Begin it again: {again}");
        show.text(&wrap("", &text));
    }
    Exit::Differences
}
