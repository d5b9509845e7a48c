//! Whatever reads foreign bytes, given any bytes: nothing panics, and what is read is right.
//!
//! A target takes bytes and panics on a finding. `make fuzz` has libFuzzer look for such bytes for as long as
//! one likes (`driver/`), guided by what each input reaches. `cargo test -p leafcutter-fuzz` gives each target
//! some thousand random inputs, and the inputs that were findings once (`found/`).
//!
//! The target that matters most is [`rows`]: documents of every BSON type, as odd as they come, through
//! mappings of every type, conversion and policy, where the consumer's transform and the reading of
//! `leafcutter verify`, which share no code, have to make the same of each.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a finding is a panic, and what fails here is a finding"
)]

pub mod documents;
pub mod drafts;
pub mod mappings;
pub mod records;
pub mod rows;
pub mod texts;

/// A target: it panics on a finding.
pub type Target = fn(&[u8]);

/// The targets, by their names.
pub const TARGETS: [(&str, Target); 7] = [
    ("envelope", records::envelope),
    ("event", records::event),
    ("control", records::control),
    ("checkpoint", records::checkpoint),
    ("mapping", texts::mapping),
    ("rows", rows::rows),
    ("draft", drafts::draft),
];
