//! What a side of the preflight found wrong.

use leafcutter_runtime::report::{Fault, Faults};

/// What is wrong on one side. A state that does not fit ends with a code of its own.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) faults: Faults,
    pub(super) mismatch: bool,
    pub(super) other: bool,
}

impl Findings {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.other = true;
        self.faults.push(fault);
    }

    pub(super) fn mismatch(&mut self, fault: Fault) {
        self.mismatch = true;
        self.faults.push(fault);
    }
}
