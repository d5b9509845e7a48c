//! x
use crate::{settings::ReplaySettings, show::Show};
use leafcutter_runtime::{exit::Exit, report::Failure};
/// x
pub async fn run(_settings: ReplaySettings, _show: &mut Show<'_>) -> Result<Exit, Failure> {
    Ok(Exit::Bug)
}
