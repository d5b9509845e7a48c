//! What the last `leafcutter finish` found, so that `finish --drop`, days later, knows it.
//!
//! It is the comment on schema `leafcutter`: it needs no table, a person sees it with `\dn+`, and it goes
//! with the schema. What could not be found out again is in it, since by then the application writes to
//! the tables and the source stands still.

use crate::session::Session;
use serde::{Deserialize, Serialize};
use tokio_postgres::Error;

/// What stands before it, for whoever reads the comment.
const LEAD: &str = "leafcutter finish: ";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// When.
    pub at: String,
    /// The consumer group.
    pub group: String,
    /// The mapping's hash.
    pub mapping: String,
    /// The verdict, in a word.
    pub verdict: String,
    /// Why it is not clean, as it was told.
    pub because: Vec<String>,
}

/// Keeps it, in place of what was kept before.
///
/// # Errors
/// When PostgreSQL is lost, or this user does not own the schema.
pub async fn note(session: &mut Session, finished: &Finished) -> Result<(), Error> {
    // Only texts, which always have a JSON.
    let json = serde_json::to_string(finished).unwrap_or_default();
    // The server quotes, since a comment takes no parameter.
    let quoted = "select format('comment on schema leafcutter is %L', $1::text)";
    let statement = session
        .query_one(quoted, &[&format!("{LEAD}{json}")])
        .await?;
    session.batch(statement.get(0)).await
}

/// What is kept; nothing where no `finish` came to its end, or somebody wrote another comment.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn noted(session: &mut Session) -> Result<Option<Finished>, Error> {
    let comment = "select obj_description(to_regnamespace('leafcutter')::oid, 'pg_namespace')";
    let text: Option<String> = session.query_one(comment, &[]).await?.get(0);
    let json = text.as_deref().and_then(|text| text.strip_prefix(LEAD));
    Ok(json.and_then(|json| serde_json::from_str(json).ok()))
}
