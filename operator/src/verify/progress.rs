//! How far a verification is: a bar on a terminal, a line now and then without one.

use super::job::Job;
use crate::{
    figures::count,
    progress::{on_stderr, say},
    show::Show,
};
use std::time::{Duration, Instant};

/// The columns of the bar.
const BAR: &str = "{wide_bar} {human_pos} of {human_len} · {msg} · {eta} left";
/// How often the bar is drawn.
const DRAW: Duration = Duration::from_millis(250);
/// How often a line is written where nobody watches a bar.
const TELL: Duration = Duration::from_secs(10);

/// Shows it until the work is done.
pub(super) async fn shown<T>(
    job: &Job,
    whole: u64,
    show: &mut Show<'_>,
    work: impl Future<Output = T>,
) -> T {
    let bar = on_stderr(Some(whole), BAR, show);
    bar.set_style(bar.style().progress_chars("█▒·"));
    let began = Instant::now();
    let mut told = Instant::now();
    let mut ticks = tokio::time::interval(DRAW);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                bar.finish_and_clear();
                return done;
            }
            _ = ticks.tick() => {
                let counts = job.board.counts();
                let documents: u64 = counts.iter().map(|counts| counts.documents).sum();
                let rate = documents / began.elapsed().as_secs().max(1);
                let differ: u64 = counts.iter().map(|counts| counts.differ).sum();
                let number = |n: u64| count(i64::try_from(n).unwrap_or(i64::MAX));
                let doubt = u64::try_from(job.suspects.len()).unwrap_or(0);
                let message = format!(
                    "{}/s · {} in doubt · {} differ", number(rate), number(doubt), number(differ)
                );
                bar.set_length(whole.max(documents));
                bar.set_position(documents);
                bar.set_message(message.clone());
                if bar.is_hidden() && told.elapsed() >= TELL {
                    told = Instant::now();
                    let (done, whole) = (number(documents), number(whole.max(documents)));
                    say(show, &format!("{done} of {whole} documents · {message}\n"));
                }
            }
        }
    }
}
