//! x
use crate::{settings::RetrySettings, show::Show};
use leafcutter_runtime::{exit::Exit, report::Failure};
/// x
pub async fn run(_settings: RetrySettings, _show: &mut Show<'_>) -> Result<Exit, Failure> {
    Ok(Exit::Bug)
}
