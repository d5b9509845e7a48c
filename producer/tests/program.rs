//! The program as a person starts it: what it says of itself, and the code it ends with.
//!
//! It needs no server. It is also why cargo builds the program together with the tests: the suites of
//! whole migrations start it, and belong to another package.

use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_leafcutter-producer"));
    program
        .args(words)
        .output()
        .expect("cargo has built the program")
}

#[test]
fn it_says_its_name_and_what_it_can_do() {
    let version = run(&["--version"]);
    assert!(version.status.success());
    assert!(
        version.stdout.starts_with(b"leafcutter-producer "),
        "{version:?}"
    );
    let help = run(&["run", "--help"]);
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("--kafka-brokers"));
}

#[test]
fn a_flag_that_is_unknown_is_wrong_usage() {
    let refused = run(&["run", "--no-such-flag"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}

/// Every program can be completed by a shell, and has man pages; neither needs a server.
#[test]
fn it_prints_completions_and_man_pages() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]);
        let text = String::from_utf8_lossy(&script.stdout);
        assert!(
            script.status.success() && text.contains("snapshot"),
            "{script:?}"
        );
    }
    assert_eq!(run(&["completions", "cmd.exe"]).status.code(), Some(2));
    let page = run(&["man"]);
    let text = String::from_utf8_lossy(&page.stdout);
    assert!(page.status.success() && text.starts_with(".ie"), "{page:?}");
    assert!(text.contains(".TH leafcutter-producer 1"), "{text}");
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("man1");
    let written = run(&["man", &folder.display().to_string()]);
    assert!(written.status.success(), "{written:?}");
    assert!(folder.join("leafcutter-producer-snapshot.1").exists());
    let file = folder.join("leafcutter-producer.1").display().to_string();
    let refused = run(&["man", &file]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let help = String::from_utf8_lossy(&run(&["--help"]).stdout).into_owned();
    assert!(!help.contains("completions"), "{help}");
}
