//! `leafcutter-producer`: see the library for all it does.

use leafcutter_producer::settings::{Cli, Settings};
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
    program::run(async move {
        let failed = |fault| Failure::one(Exit::Settings, fault);
        cli.log().init("leafcutter-producer").map_err(failed)?;
        let settings = Settings::check(cli)?;
        let shutdown = Shutdown::on_signals().map_err(failed)?;
        leafcutter_producer::run(settings, shutdown).await
    })
}
