//! The program as a person starts it: what it says of itself, and the code it ends with.
//!
//! It needs no server. It is also why cargo builds the program together with the tests: the suites of
//! whole migrations start it, and belong to another package.

use leafcutter_harness::itself::Program;

const PROGRAM: Program<'_> = Program {
    path: env!("CARGO_BIN_EXE_leafcutter-producer"),
    name: "leafcutter-producer",
    verb: "snapshot",
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
