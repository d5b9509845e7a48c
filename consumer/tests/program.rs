//! The program as a person starts it: what it says of itself, and the code it ends with.
//!
//! It needs no server. It is also why cargo builds the program together with the tests: the suites of
//! whole migrations start it, and belong to another package.

use leafcutter_harness::itself::Program;
use std::process::Output;

const PROGRAM: Program<'_> = Program {
    path: env!("CARGO_BIN_EXE_leafcutter-consumer"),
    name: "leafcutter-consumer",
    verb: "run",
};

#[test]
fn it_says_its_name_and_what_it_can_do() {
    PROGRAM.tells_its_name_and_what_it_can_do();
}

#[test]
fn it_prints_completions_and_man_pages() {
    PROGRAM.completes();
    PROGRAM.has_man_pages(tempfile::tempdir().expect("a folder").path());
    let help = PROGRAM.says(&["--help"]);
    assert!(!help.contains("completions"), "{help}");
}

#[test]
fn a_variable_of_an_earlier_version_is_told() {
    let run = |name| {
        let words = [
            "run",
            "--mapping=/no/such/file",
            "--kafka-brokers=127.0.0.1:1",
            "--postgres-uri=postgres://127.0.0.1:1/none",
        ];
        PROGRAM.run_with(&words, &[(name, "64")])
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
