//! What a person tells `draft`.

use clap::Args;
use leafcutter_runtime::{
    report::Fault,
    secret::{self, Secret},
};
use std::path::PathBuf;

/// What stands below the help of `draft`.
pub const HELP: &str = "\
Reads the database, and writes nothing to it. The mapping runs as it is: each
type covers all values that were read, what has no column goes to `rest`, and
the transform is tried on the documents before the mapping is shown. What is
rejected all the same is said with its count. Read it, edit it, check it:

Examples:
  leafcutter draft --database shop --out mapping.yaml
  leafcutter draft --database shop --all --collection orders
  leafcutter draft --database shop --into mapping.yaml
  leafcutter draft --database shop --json | jq .collections[0].profile

Then:
  leafcutter check --mapping mapping.yaml

Exit codes: 0; 1 when documents will be rejected or collections are left out;
2 when there is no such collection; 3 when a file cannot be read or written;
4 when MongoDB cannot be asked; 70 when the draft is no sound mapping: a bug.";

/// The settings of `draft`.
#[derive(Debug, Clone, Args)]
pub struct DraftSettings {
    /// The database; may be left out when the connection string names it
    #[arg(long, env = "LEAFCUTTER_DATABASE", value_name = "NAME")]
    pub database: Option<String>,
    /// Only this collection; may be given several times
    #[arg(long, value_name = "NAME")]
    pub collection: Vec<String>,
    /// Documents read of each collection; smaller ones are read whole
    #[arg(long, default_value_t = 10_000, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: u32,
    /// Read every document
    #[arg(long, conflicts_with = "sample")]
    pub all: bool,
    /// Write the mapping into this file, which must not exist yet
    #[arg(long, value_name = "FILE", conflicts_with = "into")]
    pub out: Option<PathBuf>,
    /// Add to this mapping the collections that it does not have, and change nothing else
    #[arg(long, value_name = "FILE")]
    pub into: Option<PathBuf>,
    /// What every topic's name begins with
    #[arg(long, env = "LEAFCUTTER_PREFIX", default_value = "leafcutter")]
    pub prefix: String,
    /// MongoDB connection string; it holds a password, so prefer the environment or the file
    #[arg(
        long,
        env = "LEAFCUTTER_MONGODB_URI",
        value_name = "URI",
        hide_env_values = true,
        help_heading = "Servers"
    )]
    pub mongodb_uri: Option<Secret>,
    /// A file that holds the connection string
    #[arg(
        long,
        env = "LEAFCUTTER_MONGODB_URI_FILE",
        value_name = "FILE",
        help_heading = "Servers"
    )]
    pub mongodb_uri_file: Option<PathBuf>,
}

impl DraftSettings {
    /// The connection string, from the flag or from the file.
    ///
    /// # Errors
    /// When neither is given, or the file cannot be read.
    pub fn uri(&self) -> Result<Secret, Fault> {
        let (value, file) = (self.mongodb_uri.clone(), self.mongodb_uri_file.clone());
        secret::resolve(value, file, "the MongoDB connection string").map_err(|why| {
            Fault::new(
                "could not find the source",
                "`--mongodb-uri` or `LEAFCUTTER_MONGODB_URI`, or either with `_FILE`",
                why,
                "Give a connection string such as mongodb://user:password@host/?replicaSet=rs0.",
            )
        })
    }
}
