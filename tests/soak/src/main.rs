//! `leafcutter-soak`: arguments, a round, exit code.

use clap::Parser as _;
use leafcutter_soak::{args::Settings, round};
use std::{io::Write as _, process::ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    let settings = Settings::parse();
    match Box::pin(round::run(&settings)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Without a standard error nobody can be told.
            drop(writeln!(std::io::stderr(), "leafcutter-soak: {failure}"));
            ExitCode::FAILURE
        }
    }
}
