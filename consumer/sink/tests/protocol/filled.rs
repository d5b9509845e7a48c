//! Every order of records while their tables have no foreign keys yet.

use crate::{
    interleavings::{CHAIN, CYCLE, FILTERED, Keys, NESTED, PACK, PLAIN, Runs, run_with},
    oracle::Layout,
    script::Script,
};

/// Applies them, with the foreign keys added at the end and halfway: they hold all the time, or could not be added.
async fn while_filled(name: &str, runs: impl Fn() -> Runs) {
    for keys in [Keys::AtTheEnd, Keys::Halfway] {
        run_with(&format!("{name}, {keys:?}"), runs(), PACK, keys).await;
    }
}

#[tokio::test]
async fn parent_and_child_while_their_tables_are_filled() {
    let runs = || {
        let mut runs = Runs::default();
        for (length, copies) in [(4, 0), (3, 1)] {
            runs.add(Layout::Two, &Script::all(&PLAIN, length), copies, false);
        }
        runs.add(Layout::Two, &Script::all(&FILTERED, 2), 1, true);
        runs
    };
    while_filled("parent and child", runs).await;
}

#[tokio::test]
async fn chains_and_cycles_while_their_tables_are_filled() {
    let runs = || {
        let mut runs = Runs::default();
        runs.add(Layout::One, &Script::all(&CHAIN, 4), 0, false);
        runs.add(Layout::One, &Script::all(&CYCLE, 4), 0, false);
        runs.add(Layout::Boxes, &Script::all(&NESTED, 3), 0, false);
        runs
    };
    while_filled("chains and cycles", runs).await;
}

#[tokio::test]
async fn child_rows_and_cascades_while_their_tables_are_filled() {
    let runs = || {
        let mut runs = Runs::default();
        runs.add(Layout::Links, &Script::all(&PLAIN, 4), 0, false);
        runs.add(Layout::Cascade, &Script::all(&PLAIN, 4), 0, false);
        runs.add(Layout::SetNull, &Script::all(&PLAIN, 4), 0, false);
        runs
    };
    while_filled("links and cascades", runs).await;
}
