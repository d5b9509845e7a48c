//! How far something that is read is: a bar on a terminal's stderr, and nothing elsewhere.

use crate::show::Show;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far a collection is read, on a terminal; `whole` is about how many documents there are.
#[must_use]
pub fn bar(doing: &str, collection: &str, whole: u64, show: &Show<'_>) -> ProgressBar {
    if show.json || !show.terminal {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(whole), ProgressDrawTarget::stderr());
    let template = "{msg:32!} {bar:16} {percent} %  {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(format!("{doing} {collection}"));
    bar
}
