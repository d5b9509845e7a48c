//! `rollback`: afterwards the database is as it was before the first run; what it refuses; what stays.

mod before;
mod refused;

use std::{collections::BTreeMap, process::Command};

/// All of a database as `pg_dump` writes it, but for the order of rows: that is how they lie in the file, which
/// nobody promises.
fn dump(uri: &str) -> String {
    let mut command = Command::new("pg_dump");
    command.args(["--no-owner", uri]);
    let dumped = command.output().unwrap();
    assert!(dumped.status.success(), "{dumped:?}");
    let text = String::from_utf8(dumped.stdout).unwrap();
    let mut out = Vec::new();
    let mut rows: Option<Vec<&str>> = None;
    for line in text.lines() {
        match &mut rows {
            Some(all) if line == "\\." => {
                all.sort_unstable();
                out.append(all);
                rows = None;
            }
            Some(all) => all.push(line),
            None => {
                // Each dump has a key of its own there.
                if !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict") {
                    out.push(line);
                }
                if line.starts_with("COPY ") {
                    rows = Some(Vec::new());
                }
            }
        }
    }
    out.join("\n")
}

/// Lines that are in one text and not in the other.
fn differences(before: &str, after: &str) -> Vec<String> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for line in before.lines() {
        *counts.entry(line).or_default() -= 1;
    }
    for line in after.lines() {
        *counts.entry(line).or_default() += 1;
    }
    let differs = counts.into_iter().filter(|(_, count)| *count != 0);
    differs
        .map(|(line, count)| format!("{}{line}", if count < 0 { "-" } else { "+" }))
        .take(20)
        .collect()
}

#[track_caller]
fn assert_same(before: &str, after: &str) {
    assert!(
        before == after,
        "before and after: {:#?}",
        differences(before, after)
    );
}
