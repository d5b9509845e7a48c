//! `leafcutter finish`: the end of a migration, in two commands.
//!
//! The first, at the cut-over, proves that everything has arrived and makes the tables ready for the
//! application ([`steps`]). All that it changes are sequences, which it moves forward only, and whether a
//! constraint is known to hold; both are no loss if the cut-over does not come. So it may be run as often as
//! one likes. What it found is noted in PostgreSQL for the second command ([`drop`]), which takes Leafcutter's
//! traces away days later: by then the source stands still and the application writes, and nobody could
//! compare both any more.

mod counted;
pub(crate) mod drop;
mod files;
mod markdown;
pub(crate) mod refusal;
pub mod report;
mod session;
pub(crate) mod settings;
mod steps;
mod tell;
mod wait;

pub use settings::FinishSettings;

use crate::show::Show;
use leafcutter_runtime::{exit::Exit, report::Failure, shutdown::Shutdown};

/// Ends a migration, or takes Leafcutter's traces away.
///
/// # Errors
/// When a server cannot be asked, there is no mapping, a file cannot be written, or nobody can confirm.
pub async fn run(settings: FinishSettings, show: &mut Show<'_>) -> Result<Exit, Failure> {
    let shutdown = Shutdown::on_signals().map_err(|fault| Failure::one(Exit::Bug, fault))?;
    if settings.drop {
        Box::pin(drop::run(&settings, show, &shutdown)).await
    } else {
        Box::pin(steps::run(&settings, show, &shutdown)).await
    }
}
