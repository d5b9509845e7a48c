//! `leafcutter`: flags, run, exit code.

use clap::Parser as _;
use leafcutter_operator::{run, settings::Cli, show::Show};
use leafcutter_runtime::program;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    program::run(async {
        let mut out = std::io::stdout().lock();
        let mut show = Show::on_stdout(&mut out, cli.json);
        run(cli, &mut show).await
    })
}
