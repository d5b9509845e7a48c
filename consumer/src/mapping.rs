//! The mapping file → the compiled model, or everything that is wrong with it.

use leafcutter_runtime::{
    exit::Exit,
    file,
    report::{Failure, Fault},
};
use leafcutter_schemas::mapping::{Mapping, parse};
use leafcutter_sink::model::Model;
use std::path::Path;

/// Loads and compiles the mapping.
///
/// # Errors
/// Every fault of the file.
pub fn load(path: &Path, prefix: &str) -> Result<Model, Failure> {
    let mapping = file::load("mapping", path, parse::load).map_err(|faults| Failure {
        exit: Exit::Settings,
        faults,
    })?;
    compile(mapping, path, prefix)
}

/// Compiles a mapping that was read from `path`.
///
/// # Errors
/// When it is sound by itself and cannot be used, with this prefix or at all.
pub fn compile(mapping: Mapping, path: &Path, prefix: &str) -> Result<Model, Failure> {
    Model::compile(mapping, prefix).map_err(|error| {
        let fault = Fault::new(
            "could not use the mapping",
            format!("`{}`", path.display()),
            error.to_string(),
            "Correct the mapping, or choose another --prefix.",
        );
        Failure::one(Exit::Settings, fault)
    })
}
