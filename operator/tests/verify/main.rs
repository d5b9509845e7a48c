//! `leafcutter verify`: what it expects, and what it finds on real servers. The comparison on servers
//! needs the `LEAFCUTTER_*` variables of a stack; it fails without them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here is a failed test"
)]

mod differences;
mod documented;
mod place;
