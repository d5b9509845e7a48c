//! Rounds of a soak on systems that are not FinLit, which `leafcutter-demo` moves.
//!
//! A round is a migration of one [`workload`], on servers that run already, while an application
//! writes at random ([`traffic`]) and faults are made at random ([`round`]). Both follow from a
//! seed; how they meet does not. What the application wrote is in a [`model`], so that it never
//! makes a document point to one that is not there: every document has its rows in the end.

pub mod args;
pub mod model;
pub mod workload;
pub mod accounts;
pub mod smartdiet;
pub mod traffic;
pub mod round;
