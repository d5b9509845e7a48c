//! The only place that waits: for a condition, never for a time.

use crate::failure::{Failure, Result};
use std::time::Duration;
use tokio::time::Instant;

/// The first pause between two looks; each is half as long again as the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Looks until there is something to see, and gives it.
///
/// # Errors
/// When the deadline passes first (the text ends with `what`), or a look fails.
pub async fn until<T>(
    deadline: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    let mut pause = PAUSE_FIRST;
    loop {
        if let Some(seen) = condition().await? {
            return Ok(seen);
        }
        if Instant::now() >= end {
            let seconds = deadline.as_secs();
            return Err(Failure::new(format!(
                "after {seconds} s still waiting for {what}"
            )));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}
