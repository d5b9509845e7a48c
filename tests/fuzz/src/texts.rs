//! The mapping file.

use leafcutter_operator::verify::expected::plan::Plan;
use leafcutter_schemas::mapping::{changes, parse};
use leafcutter_sink::{model::Model, target::ddl};

/// A mapping: it is told what is wrong with it, or everything that is made of it can be made.
pub fn mapping(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(mapping) = parse::load(text, "mapping.yaml") else {
        return;
    };
    assert!(
        changes(&mapping, &mapping).is_empty(),
        "it differs from itself"
    );
    for collection in &mapping.collections {
        Plan::of(collection, mapping.uuid_namespace);
    }
    let Ok(model) = Model::compile(mapping, "p") else {
        return;
    };
    assert!(!ddl::statements(&model).is_empty());
}
