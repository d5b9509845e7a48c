//! What becomes of a right mapping file, and what holds for every file.
//!
//! Which files are refused, and with which words, is shown by files: `schemas/tests`.

mod accepted;
mod changed;
mod documented;
mod examples;
mod fault;
mod generated;
mod looked_up;
mod never_panics;
mod same_key;
mod schema;

use super::{Mapping, parse::load};

/// FinLit's mapping, the one example that is used in earnest.
const FINLIT: &str = include_str!("../../examples/finlit/mapping.yaml");

/// The mapping of a file that is right.
fn mapping(text: &str) -> Mapping {
    load(text, "mapping.yaml").unwrap_or_else(|faults| panic!("{faults}\nin\n{text}"))
}

/// What is said about a file, line by line; nothing if it is right.
fn faults(text: &str) -> Vec<String> {
    match load(text, "mapping.yaml") {
        Ok(_) => Vec::new(),
        Err(faults) => faults.0.iter().map(ToString::to_string).collect(),
    }
}

/// What a file begins with when only its collections matter; three lines.
const HEAD: &str = "version: 1
database: shop
collections:
";
