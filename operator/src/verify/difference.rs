//! What is found to differ, and what explains that it does.

use serde::Serialize;

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A document has no row.
    MissingRow,
    /// A row has no document.
    ExtraRow,
    /// A row's column has another value.
    Value,
    /// An element has no row.
    MissingChild,
    /// A child row has no element.
    ExtraChild,
    /// A document that can be no row has no dead letter.
    NotRefused,
    /// A document was refused though its rows can be made.
    Refused,
    /// A row is kept for references that there are not.
    Held,
    /// A reference points to no row.
    Orphan,
    /// Rows have a value twice that is unique.
    Twice,
    /// A required column is null.
    Null,
}

impl Kind {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::MissingRow => "missing row",
            Self::ExtraRow => "extra row",
            Self::Value => "value",
            Self::MissingChild => "missing child",
            Self::ExtraChild => "extra child",
            Self::NotRefused => "no dead letter",
            Self::Refused => "refused",
            Self::Held => "kept for nothing",
            Self::Orphan => "no parent",
            Self::Twice => "not unique",
            Self::Null => "null",
        }
    }
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Difference {
    /// The collection, with its database.
    pub collection: String,
    /// What differs.
    pub kind: Kind,
    /// The document's `_id` as relaxed Extended JSON, where there is one.
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The table.
    pub table: String,
    /// The row's key, its columns joined by commas.
    pub row: String,
    /// The column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What it should be; null is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What it is; null is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What became of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its rows are as they should be.
    Same,
    /// The mapping's conditions leave it out.
    Outside,
    /// It is not there as it is, and its dead letter says why; a person may have discarded that.
    Rejected(String),
    /// It waits, or child rows of it do.
    Waiting,
    /// Its row went with its parent.
    Cascaded,
    /// Another document is the row of its key.
    Shared,
    /// Its `_id` cannot be read here, so nothing is known of it.
    Unreadable,
    /// It differs, and nothing explains it.
    Differs(Vec<Difference>),
}
