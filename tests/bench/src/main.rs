//! `leafcutter-bench`: arguments, run, exit code.

use clap::Parser as _;
use leafcutter_bench::{args::Settings, run};
use std::{io::Write as _, process::ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(&Settings::parse())).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            // Without a standard error nobody can be told.
            drop(writeln!(std::io::stderr(), "leafcutter-bench: {failure}"));
            ExitCode::FAILURE
        }
    }
}
