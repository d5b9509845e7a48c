//! How far something is: a bar on a terminal's stderr; elsewhere nothing, or a line now and then.
//!
//! Each verb has its words and its columns; where a bar is drawn, and where not, is decided here.

use crate::{
    figures::{count, percent},
    show::Show,
};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use leafcutter_runtime::report::Failure;
use std::time::{Duration, Instant};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often it is told where nobody watches a bar.
const TELL: Duration = Duration::from_secs(5);

/// A bar of these columns on stderr, which is drawn if that is a terminal, and not with `--quiet`. Beside
/// indicatif's own columns there is `{rate}`, in whole numbers.
#[must_use]
pub fn on_stderr(whole: Option<u64>, template: &str, show: &Show<'_>) -> ProgressBar {
    let target = if show.quiet {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(whole, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.with_key("rate", rate));
    }
    bar
}

/// `12,696/s`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is not below zero, and one above 64 bits is shown as the highest"
)]
fn rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let rate = HumanCount(state.per_sec() as u64);
    write!(out, "{rate}/s").unwrap_or_default();
}

/// The same, for a person who reads the answer on a terminal; for others it is hidden, and counts.
#[must_use]
pub fn drawn(whole: Option<u64>, template: &str, show: &Show<'_>) -> ProgressBar {
    let bar = on_stderr(whole, template, show);
    if show.json || !show.terminal {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

/// How far a collection is read; `whole` is about how many documents there are.
#[must_use]
pub fn bar(doing: &str, collection: &str, whole: u64, show: &Show<'_>) -> ProgressBar {
    let bar = drawn(
        Some(whole),
        "{msg:32!} {bar:16} {percent} %  {eta} to go",
        show,
    );
    bar.set_message(format!("{doing} {collection}"));
    bar
}

/// Waits for the work and shows how far it is.
///
/// # Errors
/// What the work says.
pub async fn watched<T>(
    work: impl Future<Output = Result<T, Failure>>,
    bar: &ProgressBar,
    show: &mut Show<'_>,
    done: impl Fn() -> u64,
) -> Result<T, Failure> {
    tokio::pin!(work);
    let mut told = Instant::now();
    loop {
        tokio::select! {
            result = &mut work => return result,
            () = tokio::time::sleep(LOOK) => {}
        }
        let done = done();
        bar.set_position(done);
        if bar.is_hidden() && told.elapsed() > TELL {
            told = Instant::now();
            let whole = bar.length().unwrap_or_default();
            let (done, whole) = (i64_of(done), i64_of(whole).max(i64_of(done)));
            let part = percent(done, whole);
            say(
                show,
                &format!(
                    "{}: {part} %, {} of {}\n",
                    bar.message(),
                    count(done),
                    count(whole)
                ),
            );
        }
    }
}

/// Says something on the way, where more than the answer is wanted.
pub fn say(show: &mut Show<'_>, text: &str) {
    if !show.json && !show.quiet {
        show.text(text);
    }
}

fn i64_of(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_is_the_answer_alone() {
        let said = |quiet| {
            let mut out = Vec::new();
            let mut show = Show::plain(&mut out, false);
            show.quiet = quiet;
            say(&mut show, "half of it\n");
            show.line("done");
            String::from_utf8(out)
        };
        assert_eq!(said(false).as_deref(), Ok("half of it\ndone\n"));
        assert_eq!(said(true).as_deref(), Ok("done\n"));
    }
}
