//! `leafcutter-consumer`: flags, telemetry, run, exit code.

use leafcutter_consumer::{
    pipeline,
    settings::{Cli, Verb, replaced},
};
use leafcutter_runtime::{
    exit::Exit,
    pages::{self, Shown},
    program,
    report::Failure,
    shutdown::Shutdown,
};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli: Cli = match pages::parse(Shown::Unlisted) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    program::run(run(cli))
}

async fn run(cli: Cli) -> Result<Exit, Failure> {
    cli.log
        .init("leafcutter-consumer")
        .map_err(|fault| Failure::one(Exit::Settings, fault))?;
    let Verb::Run(settings) = cli.verb;
    if let Some(replaced) = replaced(|name| std::env::var_os(name).is_some()) {
        tracing::warn!("{replaced}");
    }
    let shutdown = Shutdown::on_signals().map_err(|fault| Failure::one(Exit::Settings, fault))?;
    let drain = settings.drain;
    let work = Box::pin(pipeline::run(*settings, shutdown.clone()));
    shutdown.bound(drain, work).await
}
