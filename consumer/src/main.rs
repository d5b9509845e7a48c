//! `leafcutter-consumer`: flags, telemetry, run, exit code.

use clap::Parser as _;
use leafcutter_consumer::{
    pipeline,
    settings::{Cli, Verb},
    sink::ddl,
};
use leafcutter_runtime::{exit::Exit, program, report::Failure, shutdown::Shutdown};
use std::{io::Write as _, process::ExitCode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    program::run(run(cli))
}

async fn run(cli: Cli) -> Result<Exit, Failure> {
    cli.log
        .init("leafcutter-consumer")
        .map_err(|fault| Failure::one(Exit::Settings, fault))?;
    match cli.verb {
        Verb::Run(settings) => {
            let shutdown =
                Shutdown::on_signals().map_err(|fault| Failure::one(Exit::Settings, fault))?;
            let drain = settings.drain;
            let work = Box::pin(pipeline::run(*settings, shutdown.clone()));
            shutdown.bound(drain, work).await
        }
        Verb::Ddl(settings) => {
            let model = pipeline::load_model(&settings.mapping, &settings.prefix)?;
            let mut out = std::io::stdout().lock();
            for statement in ddl::statements(&model) {
                // A reader that went away wants no more.
                if writeln!(out, "{statement};\n").is_err() {
                    break;
                }
            }
            Ok(Exit::Done)
        }
    }
}
