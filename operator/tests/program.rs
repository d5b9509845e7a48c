//! The program as a person starts it: what it says of itself, and the code it ends with.
//!
//! It needs no server. It is also why cargo builds the program together with the tests: the suites of
//! whole migrations start it, and belong to another package.

use leafcutter_harness::itself::Program;

const PROGRAM: Program<'_> = Program {
    path: env!("CARGO_BIN_EXE_leafcutter"),
    name: "leafcutter",
    verb: "status",
};

#[test]
fn it_says_its_name_and_what_it_can_do() {
    PROGRAM.tells_its_name_and_what_it_can_do();
}

/// Beside the calm text, whatever went wrong: nothing of a password in it.
#[test]
fn a_log_file_has_what_was_run_and_how_it_ended_without_secrets() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.log");
    let log = file.display().to_string();
    let words = [
        "status",
        "--log-file",
        &log,
        "--kafka-brokers",
        "127.0.0.1:1",
        "--kafka",
        "sasl.password=canary",
        "--postgres-uri",
        "postgres://someone:canary@127.0.0.1:1/none",
    ];
    let one = PROGRAM.run(&words);
    let two = PROGRAM.run(&words);
    for ended in [&one, &two] {
        assert_eq!(ended.status.code(), Some(4), "{ended:?}");
        let shown = String::from_utf8_lossy(&ended.stderr);
        assert!(!shown.contains("exit_code"), "{shown}");
    }
    let kept = std::fs::read_to_string(&file).expect("a log");
    for words in [
        "status --log-file",
        "--kafka *** --postgres-uri postgres://someone:***@127.0.0.1:1/none\"",
        "could not connect to PostgreSQL",
        "refused",
        "exit_code=4",
    ] {
        assert_eq!(kept.matches(words).count(), 2, "{words}: {kept}");
    }
    assert!(!kept.contains("canary"), "{kept}");
    let nowhere = folder.path().join("none/run.log").display().to_string();
    let refused = PROGRAM.run(&["list", "--mapping", "m", "--log-file", &nowhere]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
}

#[test]
fn it_prints_completions_and_man_pages() {
    PROGRAM.completes();
    PROGRAM.has_man_pages(tempfile::tempdir().expect("a folder").path());
    let help = PROGRAM.says(&["--help"]);
    assert!(
        help.contains("completions") && help.contains("  man "),
        "{help}"
    );
}
