//! `leafcutter-demo`: arguments, run, exit code.

use clap::Parser as _;
use leafcutter_demo::{args::Cli, command};
use std::{io::Write as _, process::ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match Box::pin(command(&cli.command)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            // Without a standard error nobody can be told.
            drop(writeln!(std::io::stderr(), "leafcutter-demo: {failure}"));
            ExitCode::FAILURE
        }
    }
}
