//! What a mapping file may say, and that nothing in one can make the reader panic.

use super::load;

pub(super) const FINLIT: &str = include_str!("../../../examples/finlit/mapping.yaml");

#[test]
fn finlit_loads() {
    let mapping = load(FINLIT, "mapping.yaml").unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(mapping.collections.len(), 9);
}
