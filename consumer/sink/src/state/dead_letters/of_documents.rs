//! Dead letters of some documents that are open or were discarded, for whoever compares the source with the rows.

use crate::{guard, session::Session};
use leafcutter_schemas::version::Version;
use tokio_postgres::Error;

/// A dead letter of a document, open or discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentLetter {
    /// The key of its document.
    pub document_key: String,
    /// The version of the record; none where the record could not be read.
    pub version: Option<Version>,
    /// Where it was refused.
    pub stage: String,
    /// Why, in a word.
    pub reason: String,
    /// The column concerned.
    pub column: Option<String>,
    /// The mapping under which it was refused.
    pub mapping: String,
    /// A person has given it up.
    pub discarded: bool,
}

/// The open and the discarded dead letters of these documents of a topic, by their documents' keys.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn of_documents(
    session: &mut Session,
    topic: &str,
    keys: &[String],
) -> Result<Vec<DocumentLetter>, Error> {
    const LETTERS: &str = "\
        select source_key, version, stage, reason, column_name, mapping, state = 'discarded' \
        from leafcutter.dead_letters where staged_in = '' and state in ('open', 'discarded') and topic = $1 \
        and source_key = any($2)";
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = session.query(LETTERS, &[&topic, &keys]).await?;
    let letters = rows.iter().map(|row| DocumentLetter {
        document_key: row.get(0),
        version: row.get::<_, Option<i64>>(1).and_then(guard::stored),
        stage: row.get(2),
        reason: row.get(3),
        column: row.get(4),
        mapping: row.get(5),
        discarded: row.get(6),
    });
    Ok(letters.collect())
}
