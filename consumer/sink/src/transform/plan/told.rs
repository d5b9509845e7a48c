//! What the value of a column was, for whoever is told what it lost.

use super::{
    compiled::{Fill, Plan, TablePlan},
    reasons::Place,
    trie::Found,
};
use crate::transform::loss::Loss;
use bson::{RawBsonRef, RawDocumentBuf};

impl Plan {
    /// What the value of a column lost when it became `field`.
    pub(super) fn loss(
        &self,
        plan: &TablePlan,
        position: usize,
        found: &Found<'_>,
        element: Option<Place<'_>>,
        field: Option<&[u8]>,
    ) -> Option<Loss> {
        let target = &plan.targets[position];
        let value = match &plan.fills[position] {
            Fill::Own => found.slots[position]?,
            Fill::First(slots) => found.slots[found.first(slots)?]?,
            Fill::MapKey => RawBsonRef::String(element?.name?),
            Fill::Expression(program) => {
                let given = bson::doc! { "v": program.value(found.source).ok()? };
                let document = RawDocumentBuf::try_from(&given).ok()?;
                let value = document.get("v").ok()??;
                return target.loss(value, field, &self.namespace);
            }
            // What is no value of the document loses nothing.
            Fill::Parent(_)
            | Fill::Position
            | Fill::Constant
            | Fill::Set
            | Fill::Derived(_)
            | Fill::Null
            | Fill::Rest(_) => return None,
        };
        target.loss(value, field, &self.namespace)
    }
}
