//! How far a collection is read: a bar on a terminal's stderr, and nothing elsewhere.

use super::source::{Extent, Listed};
use crate::show::Show;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How far a collection is read, on a terminal.
#[must_use]
pub fn bar(listed: &Listed, extent: Extent, doing: &str, show: &Show<'_>) -> ProgressBar {
    if show.json || !show.terminal {
        return ProgressBar::hidden();
    }
    let whole = match extent {
        Extent::Whole => listed.documents,
        Extent::Sample(size) => u64::from(size),
    };
    let bar = ProgressBar::with_draw_target(Some(whole), ProgressDrawTarget::stderr());
    let template = "{msg:32!} {bar:16} {percent} %  {eta} to go";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(format!("{doing} {}", listed.name));
    bar
}
