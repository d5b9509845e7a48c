//! Mapping files, right and wrong.
//!
//! Every fault has a case that shows its message and its place, and that nothing else is reported
//! beside it: a person who mends what is said has mended all of it.

mod accepted;
mod child_faults;
mod column_faults;
mod documented;
mod examples;
mod file_faults;
mod generated;
mod looked_up;
mod name_faults;
mod never_panics;
mod same_key;
mod schema;
mod table_faults;
mod together;
mod value_faults;

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

/// Asserts what is said about collections, each case behind [`HEAD`].
fn assert_faults(cases: &[(&str, &[&str])]) {
    for (collections, expected) in cases {
        assert_eq!(
            faults(&format!("{HEAD}{collections}")),
            *expected,
            "{collections}"
        );
    }
}
