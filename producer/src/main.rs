//! `leafcutter-producer`: see the library for all it does.

use std::process::ExitCode;

use clap::Parser;
use leafcutter_producer::settings::{Cli, Settings};
use leafcutter_runtime::exit::Exit;
use leafcutter_runtime::report::Failure;
use leafcutter_runtime::shutdown::Shutdown;
use leafcutter_runtime::{program, telemetry};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    program::run(async move {
        let settings = Settings::check(cli)?;
        let failed = |fault| Failure::one(Exit::Settings, fault);
        let log = &settings.log;
        telemetry::init("leafcutter-producer", log.format, &log.level).map_err(failed)?;
        let shutdown = Shutdown::on_signals().map_err(failed)?;
        leafcutter_producer::run(settings, shutdown).await
    })
}
