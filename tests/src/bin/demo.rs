//! `leafcutter-demo`: arguments, run, exit code.

use clap::Parser as _;
use leafcutter_tests::demo::{
    self,
    args::{Cli, Command},
};
use std::{io::Write as _, process::ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Run(settings) = Cli::parse().command;
    match Box::pin(demo::run(&settings)).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            // Without a standard error nobody can be told.
            drop(writeln!(std::io::stderr(), "leafcutter-demo: {failure}"));
            ExitCode::FAILURE
        }
    }
}
