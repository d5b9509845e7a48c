//! Parts of a migration are killed while it runs, and come back.
//!
//! [`plan`] says who is killed when and for how long, from a seed; [`course`] does it while
//! somebody else watches; [`again`] counts what was done more than once for it.

pub mod plan;
pub mod course;
pub mod again;
