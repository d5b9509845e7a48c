//! Systems that teams have moved by hand, each of them one mapping file under `schemas/examples`.
//!
//! A [`System`] is that file, awkward documents that follow from nothing but their numbers, and the
//! rows that they must become ([`expected`]), worked out by code that shares nothing with the
//! consumer's. A [`migration`] moves them while a test goes on writing; in the end [`differences`]
//! holds every row of every table against the documents that are there then.

pub mod source;
pub mod expected;
pub mod target;
pub mod numbers;
pub mod differences;
pub mod migration;
pub mod autores;
pub mod olorin;
pub mod smartdiet;
pub mod missland;

use bson::Document;
use expected::Expected;
use mongodb::IndexModel;
use source::Source;

/// A time series.
#[derive(Debug, Clone, Copy)]
pub struct Series {
    /// Its collection.
    pub collection: &'static str,
    /// Its field of time.
    pub time: &'static str,
    /// Its field of what is measured.
    pub meta: &'static str,
}

/// One system.
#[derive(Debug, Clone, Copy)]
pub struct System {
    /// Its name, of which databases and topics are made.
    pub name: &'static str,
    /// Its mapping file.
    pub mapping: &'static str,
    /// What its application has made in MongoDB, by collection.
    pub indexes: fn() -> Vec<(&'static str, IndexModel)>,
    /// Its time series, which a second producer polls.
    pub series: &'static [Series],
    /// Its documents before anything changes, by collection.
    pub documents: fn() -> Vec<(&'static str, Document)>,
    /// What has to be in PostgreSQL.
    pub expected: fn(&Source) -> Expected,
}
