//! One collection that is read again: what the steps work with, and how they end.

use super::{part::Part, settings::ResnapshotSettings, tell::Facts};
use crate::{catalog::Collection, connect::State, progress::drawn, show::Show};
use indicatif::ProgressBar;
use leafcutter_producer::again::Reader;
use leafcutter_runtime::shutdown::Shutdown;
use leafcutter_sink::{
    ids::{CollectionId, Generation},
    model::Model,
};
use std::{sync::Arc, time::Instant};

/// The columns of a bar.
const BAR: &str = "{msg:9} {wide_bar} {percent} %  {human_pos} of {human_len}  {rate}  {eta}";

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All is done.
    Done,
    /// All is done, and there is something to look at.
    Differences,
    /// The person stopped it.
    Stopped,
    /// The person did not confirm.
    Refused,
}

/// One collection.
pub(super) struct Work<'a> {
    pub(super) settings: &'a ResnapshotSettings,
    pub(super) state: &'a mut State,
    pub(super) model: Arc<Model>,
    /// The generation of the mapping that it is read under.
    pub(super) generation: Generation,
    pub(super) id: CollectionId,
    pub(super) collection: &'a Collection,
    pub(super) reader: Arc<Reader>,
    pub(super) part: Part,
    pub(super) facts: Facts,
    pub(super) shutdown: Shutdown,
    pub(super) begun: Instant,
}

/// How far a step is.
pub(super) fn bar(whole: u64, what: &'static str, show: &Show<'_>) -> ProgressBar {
    drawn(Some(whole), BAR, show).with_message(what)
}

/// A count, where it is none below zero.
pub(super) fn u64_of(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
