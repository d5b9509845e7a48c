//! `leafcutter`: flags, run, exit code.

use leafcutter_operator::{run, settings::Cli, show::Show};
use leafcutter_runtime::{
    pages::{self, Shown},
    program,
};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli: Cli = match pages::parse(Shown::Listed) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    program::run(async {
        let mut out = std::io::stdout().lock();
        let mut show = Show::on_stdout(&mut out, cli.json);
        show.quiet = cli.quiet;
        run(cli, &mut show).await
    })
}
