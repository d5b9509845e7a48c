//! The mappings under `schemas/examples` are sound, valid by the published schema, and say to an
//! editor where that is.

use super::{faults, schema};
use crate::mapping::parse;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
const HEAD: &str = "# yaml-language-server: $schema=../../mapping.schema.json\n";

#[test]
fn every_example_is_a_sound_mapping() {
    let folders = std::fs::read_dir(EXAMPLES).unwrap();
    let mut seen = 0;
    for folder in folders {
        let file = folder.unwrap().path().join("mapping.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.display();
        assert!(text.starts_with(HEAD), "{name}");
        assert_eq!(faults(&text), [""; 0], "{name}");
        let value = parse::value(&text).unwrap();
        assert_eq!(schema::invalid_by_schema(&value), None, "{name}");
        seen += 1;
    }
    assert!(seen >= 2, "only {seen} examples");
}
