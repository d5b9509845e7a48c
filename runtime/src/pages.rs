//! What a program says of itself to others than the person at it: words for a shell to complete,
//! and man pages.
//!
//! Both come from the flags themselves, so they cannot say anything else than `--help` does. Every
//! program answers to `completions` and `man`, and has no settings then: neither a server nor a
//! mapping is needed.

use crate::{
    exit::Exit,
    report::{Failure, Fault, finish},
};
use clap::{Arg, ArgMatches, Command, Parser, value_parser};
use clap_complete::Shell;
use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

const COMPLETIONS_HELP: &str = "\
Examples:
  NAME completions bash > /etc/bash_completion.d/NAME
  NAME completions zsh > ~/.zfunc/_NAME
  NAME completions fish > ~/.config/fish/completions/NAME.fish

Exit codes: 0; 2.";

const MAN_HELP: &str = "\
Examples:
  NAME man ~/.local/share/man/man1
  NAME man | man -l -

Exit codes: 0; 2; 3 when a page cannot be written.";

/// Whether `--help` of a program names these verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// In the list of its verbs.
    Listed,
    /// Only in their own help.
    Unlisted,
}

/// The program's command line, unless pages were asked for: those are printed, or the fault is, and
/// the code is given with which the program ends.
///
/// # Errors
/// The exit code, where nothing is left to do.
pub fn parse<C: Parser>(shown: Shown) -> Result<C, ExitCode> {
    let command = with_pages(C::command(), shown);
    let matches = command.clone().get_matches();
    match matches.subcommand() {
        Some(("completions", asked)) => Err(finish(completions(command, asked))),
        Some(("man", asked)) => Err(finish(man(command, asked))),
        _ => Ok(C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())),
    }
}

/// The command with the two verbs.
#[must_use]
pub fn with_pages(command: Command, shown: Shown) -> Command {
    let name = command.get_name().to_owned();
    let hidden = shown == Shown::Unlisted;
    let shell = Arg::new("shell")
        .value_name("SHELL")
        .help("The shell")
        .required(true)
        .value_parser(value_parser!(Shell));
    let folder = Arg::new("folder")
        .value_name("FOLDER")
        .help("Write a page for each verb into this folder")
        .value_parser(value_parser!(PathBuf));
    let verb = |verb: &'static str, about: &'static str, help: &str| {
        Command::new(verb)
            .about(about)
            .after_help(help.replace("NAME", &name))
            .hide(hidden)
    };
    let completions = "Print what lets a shell complete this program's words";
    let man = "Print this program's man page, or write those of all verbs";
    command
        .subcommand(verb("completions", completions, COMPLETIONS_HELP).arg(shell))
        .subcommand(verb("man", man, MAN_HELP).arg(folder))
}

fn completions(mut command: Command, asked: &ArgMatches) -> Result<Exit, Failure> {
    let Some(&shell) = asked.get_one::<Shell>("shell") else {
        return Ok(Exit::Usage);
    };
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&script);
    Ok(Exit::Done)
}

fn man(command: Command, asked: &ArgMatches) -> Result<Exit, Failure> {
    if let Some(folder) = asked.get_one::<PathBuf>("folder") {
        let written = write(command, folder);
        written.map_err(|error| cannot_write(folder, &error))?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    // Into memory, which takes everything.
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.unwrap_or_default();
    print(&page);
    Ok(Exit::Done)
}

fn write(command: Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(command, folder)
}

fn cannot_write(folder: &Path, error: &io::Error) -> Failure {
    let fault = Fault::new(
        "could not write the man pages",
        format!("`{}`", folder.display()),
        error.to_string(),
        "Name a folder that this user may write to.",
    );
    Failure::one(Exit::Settings, fault)
}

/// A reader that went away wants no more.
fn print(text: &[u8]) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text).and_then(|()| out.flush());
    written.unwrap_or_default();
}
