//! What a person answers to a question on the terminal.

use crate::{
    catalog::usage,
    connect::State,
    show::{Show, wrap},
};
use leafcutter_runtime::{report::Failure, shutdown::Shutdown};
use std::io::IsTerminal as _;

/// How a person answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is to be done.
    Yes,
    /// It is not.
    No,
    /// The program is to stop.
    Interrupted,
}

/// What there is in place of an answer, where a verb has `--dry-run`.
pub const SAY: &str = "Say --yes, or --dry-run.";

/// Sees to it that somebody is there who can answer; tells of `what` could not be done otherwise, and what to
/// `say` in place of an answer.
///
/// # Errors
/// When nobody is.
pub fn somebody(show: &Show<'_>, what: &str, say: &str) -> Result<(), Failure> {
    if show.json || !show.terminal || !std::io::stdin().is_terminal() {
        let why = "nobody is there to confirm";
        return Err(usage(what, "this terminal", why, say));
    }
    Ok(())
}

/// Has the person agree to a question that ends with `[y/N]`.
pub async fn agreed(show: &mut Show<'_>, question: &str, shutdown: &Shutdown) -> Answer {
    let answer = asked(show, question, shutdown).await;
    if shutdown.is_triggered() {
        return Answer::Interrupted;
    }
    match answer.to_lowercase().as_str() {
        "y" | "yes" => Answer::Yes,
        _ => Answer::No,
    }
}

/// Has the person type the database's name.
///
/// # Errors
/// When nobody is there, which is told as `what`, or PostgreSQL is lost.
pub async fn named_database(
    state: &State,
    show: &mut Show<'_>,
    shutdown: &Shutdown,
    what: &str,
) -> Result<Answer, Failure> {
    somebody(show, what, SAY)?;
    let row = state
        .session
        .client()
        .query_one("select current_database()::text", &[])
        .await;
    let name: String = row.map_err(|error| state.lost(&error))?.get(0);
    let text = "This cannot be undone. To go on, type the name of the database.";
    show.text(&format!("\n{}", wrap("", text)));
    let answer = asked(show, "> ", shutdown).await;
    Ok(if shutdown.is_triggered() {
        Answer::Interrupted
    } else if answer == name {
        Answer::Yes
    } else {
        Answer::No
    })
}

/// The answer; nothing when the program is to stop.
pub async fn asked(show: &mut Show<'_>, question: &str, shutdown: &Shutdown) -> String {
    show.text(question);
    let (send, receive) = tokio::sync::oneshot::channel();
    // A thread that nothing waits for: it may read until the program has ended.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        send.send(read.map(|_| line).unwrap_or_default())
            .unwrap_or_default();
    });
    let answer = tokio::select! {
        biased;
        () = shutdown.wait() => String::new(),
        answer = receive => answer.unwrap_or_default(),
    };
    answer.trim().to_owned()
}
