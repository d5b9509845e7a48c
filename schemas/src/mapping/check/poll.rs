//! The fields a polled collection is read by.

use crate::mapping::{Path, fault::Faults, raw::RawCollection};

/// The paths of a collection's dates: each a field of the document, each named once.
pub(super) fn dates(collection: &RawCollection, faults: &mut Faults) -> Vec<Path> {
    let mut dates: Vec<Path> = Vec::new();
    for path in collection.poll_by.value().into_iter().flatten() {
        if path.value.is_self() {
            faults.add(&path.at, "`.` is the document itself, which is no date");
        } else if path
            .value
            .steps()
            .iter()
            .any(|step| step.contains('.') || step.starts_with('$'))
        {
            // The server's filters cannot name it.
            let message = format!(
                "a source cannot be asked by `{}`: a step with a dot or a dollar in its name",
                path.value
            );
            faults.add(&path.at, message);
        } else if dates.contains(&path.value) {
            faults.add(&path.at, format!("`{}` is named twice", path.value));
        } else {
            dates.push(path.value.clone());
        }
    }
    dates
}
