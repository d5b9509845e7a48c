//! Each target with what was a finding once, and with some thousand random inputs.

use leafcutter_fuzz::TARGETS;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use std::path::Path;

/// What is looked for, unless `INPUTS` and `SEED` say otherwise: a second's worth, always the same.
const INPUTS: u64 = 4_000;
const SEED: u64 = 2026;

#[test]
fn random_bytes_are_no_finding() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let mut random = StdRng::seed_from_u64(number("SEED").unwrap_or(SEED));
    for (name, target) in TARGETS {
        println!("{name}");
        for _ in 0..number("INPUTS").unwrap_or(INPUTS) {
            let mut bytes = vec![0; random.random_range(0..600)];
            random.fill_bytes(&mut bytes);
            target(&bytes);
        }
    }
}

#[test]
fn what_was_a_finding_is_none_any_more() {
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("found")
            .join(name);
        let Ok(found) = std::fs::read_dir(folder) else {
            continue;
        };
        for input in found {
            let input = input.unwrap().path();
            println!("{}", input.display());
            target(&std::fs::read(input).unwrap());
        }
    }
}
