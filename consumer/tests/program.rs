//! The program as a person starts it: what it says of itself, and the code it ends with.
//!
//! It needs no server. It is also why cargo builds the program together with the tests: the suites of
//! whole migrations start it, and belong to another package.

use std::process::{Command, Output};

fn run(words: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_leafcutter-consumer"));
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
        version.stdout.starts_with(b"leafcutter-consumer "),
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

#[test]
fn a_variable_of_an_earlier_version_is_told() {
    let run = |name| {
        Command::new(env!("CARGO_BIN_EXE_leafcutter-consumer"))
            .args(["run", "--mapping", "/no/such/file"])
            .args(["--kafka-brokers", "127.0.0.1:1"])
            .args(["--postgres-uri", "postgres://127.0.0.1:1/none"])
            .env(name, "64")
            .output()
            .expect("cargo has built the program")
    };
    let told = |output: &Output, name| {
        let [out, err] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
        out.matches(name).count() + err.matches(name).count()
    };
    for (old, new) in [
        ("LEAFCUTTER_MEMORY_MIB", "LEAFCUTTER_MEMORY_BUDGET"),
        ("LEAFCUTTER_BATCH_MIB", "LEAFCUTTER_BATCH_BYTES"),
    ] {
        let output = run(old);
        assert_eq!(
            (told(&output, old), told(&output, new)),
            (1, 1),
            "{output:?}"
        );
    }
    let output = run("LEAFCUTTER_NO_SUCH_VARIABLE");
    assert_eq!(told(&output, "not read any more"), 0, "{output:?}");
}

/// Every program can be completed by a shell, and has man pages; neither needs a server.
#[test]
fn it_prints_completions_and_man_pages() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]);
        let text = String::from_utf8_lossy(&script.stdout);
        assert!(
            script.status.success() && text.contains("run"),
            "{script:?}"
        );
    }
    assert_eq!(run(&["completions", "cmd.exe"]).status.code(), Some(2));
    let page = run(&["man"]);
    let text = String::from_utf8_lossy(&page.stdout);
    assert!(page.status.success() && text.starts_with(".ie"), "{page:?}");
    assert!(text.contains(".TH leafcutter-consumer 1"), "{text}");
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("man1");
    let written = run(&["man", &folder.display().to_string()]);
    assert!(written.status.success(), "{written:?}");
    assert!(folder.join("leafcutter-consumer-run.1").exists());
    let file = folder.join("leafcutter-consumer.1").display().to_string();
    let refused = run(&["man", &file]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let help = String::from_utf8_lossy(&run(&["--help"]).stdout).into_owned();
    assert!(!help.contains("completions"), "{help}");
}
