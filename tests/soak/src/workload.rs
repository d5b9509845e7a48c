//! What is moved, and what its application does.

use crate::model::{Model, Write};
use bson::Document;
use leafcutter_harness::dice::Dice;
use leafcutter_systems::System;

/// A system with an application that writes at random.
pub trait Workload {
    /// The system.
    fn system(&self) -> System;

    /// What there is before anything changes, by collection.
    fn documents(&self) -> Vec<(&'static str, Document)>;

    /// Whether a document can be rows, by what is in it.
    fn is_sound(&self, document: &Document) -> bool;

    /// Documents that the producer reads a second, so that faults fall into the snapshot too.
    fn documents_per_second(&self) -> u32;

    /// What the application does next: writes that are made one after the other. After the last of
    /// them no document that it wrote points to one that is not there. None: nothing this time.
    fn step(&mut self, model: &Model, dice: &mut Dice) -> Vec<Write>;
}
