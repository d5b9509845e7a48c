//! No text can make the reader panic, and what it refuses it explains.

use super::FINLIT;
use crate::mapping::{parse::load, tier};
use proptest::prelude::*;

/// Loads a text to the end: a sound mapping is ordered as well.
fn read(text: &str) {
    match load(text, "mapping.yaml") {
        Ok(mapping) => {
            let order = tier::tiers(&mapping).table_order();
            assert_eq!(order.len(), mapping.tables().count());
        }
        Err(faults) => {
            assert!(!faults.0.is_empty());
            for fault in faults.0 {
                assert!(fault.line > 0 && fault.column > 0, "{fault}");
                assert_eq!(fault.to_string().lines().count(), 1, "{fault}");
            }
        }
    }
}

/// Pieces that mean something in a mapping, to be put where they do not belong.
const PIECES: [&str; 34] = [
    "\n",
    "  ",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    ">\n",
    "\"",
    "'",
    "#",
    "? ",
    "<<: ",
    "---\n",
    "null",
    "~",
    "type",
    "table: learners",
    "key: []",
    "parent: item_id",
    "position: true",
    "constant: 1",
    "children:",
    "references: { table: learners }",
    "\0",
    "\u{feff}",
    "numeric(9,99)",
    "\t",
];

#[derive(Debug, Clone)]
enum Change {
    Insert(usize, String),
    Remove(usize, usize),
    Repeat(usize, usize),
    SwapLines(usize, usize),
    /// One word in the place of another: what remains is YAML, but says something else.
    Word(usize, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let place = || 0..FINLIT.len();
    let piece = prop_oneof![
        proptest::sample::select(&PIECES[..]).prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    let change = prop_oneof![
        1 => (place(), piece).prop_map(|(at, text)| Change::Insert(at, text)),
        1 => (place(), 0..200usize).prop_map(|(at, length)| Change::Remove(at, length)),
        1 => (place(), 0..400usize).prop_map(|(at, length)| Change::Repeat(at, length)),
        2 => (0..200usize, 0..200usize).prop_map(|(a, b)| Change::SwapLines(a, b)),
        10 => (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Change::Word(a, b)),
    ];
    prop::collection::vec(change, 1..12)
}

/// Where the words of a text are: names, types, numbers.
fn words(text: &[char]) -> Vec<std::ops::Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.iter().chain([&' ']).enumerate() {
        match (c.is_alphanumeric() || "_-".contains(*c), start) {
            (true, None) => start = Some(at),
            (false, Some(begin)) => {
                words.push(begin..at);
                start = None;
            }
            _ => {}
        }
    }
    words
}

fn changed(changes: &[Change]) -> String {
    let mut text: Vec<char> = FINLIT.chars().collect();
    for change in changes {
        let end = text.len();
        match change {
            Change::Insert(at, piece) => {
                let at = (*at).min(end);
                text.splice(at..at, piece.chars());
            }
            Change::Remove(at, length) => {
                let at = (*at).min(end);
                text.drain(at..(at + length).min(end));
            }
            Change::Repeat(at, length) => {
                let at = (*at).min(end);
                let copy = text[at..(at + length).min(end)].to_vec();
                text.splice(at..at, copy);
            }
            Change::Word(at, with) => {
                let words = words(&text);
                if let (Some(at), Some(with)) = (
                    words.get(at % words.len().max(1)),
                    words.get(with % words.len().max(1)),
                ) {
                    let copy = text[with.clone()].to_vec();
                    text.splice(at.clone(), copy);
                }
            }
            Change::SwapLines(a, b) => {
                let all: String = text.into_iter().collect();
                let mut lines: Vec<&str> = all.split('\n').collect();
                let (a, b) = (a % lines.len(), b % lines.len());
                lines.swap(a, b);
                text = lines.join("\n").chars().collect();
            }
        }
    }
    text.into_iter().collect()
}

proptest! {
    #[test]
    fn on_any_text(text in any::<String>()) {
        read(&text);
    }

    #[test]
    fn on_any_heap_of_pieces(pieces in prop::collection::vec(proptest::sample::select(&PIECES[..]), 0..60)) {
        read(&pieces.concat());
    }

    #[test]
    fn on_any_change_of_finlit(changes in changes()) {
        read(&changed(&changes));
    }
}
