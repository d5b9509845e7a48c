//! The rest of a document: one column for it, and something left for it.

use super::built::Built;
use crate::mapping::{ColumnSource, fault::Faults, raw::RawTable};

/// Judges the columns of a table beside its rest.
pub(super) fn judge(raw: &RawTable, built: &Built, faults: &mut Faults) {
    let flags = raw.columns.iter().filter_map(|column| {
        let flag = column.rest.get().filter(|flag| flag.value)?;
        Some((flag, &column.name.value))
    });
    let flags: Vec<_> = flags.collect();
    let Some((_, first)) = flags.first() else {
        return;
    };
    for (flag, _) in &flags[1..] {
        faults.add(&flag.at, format!("`{first}` takes the rest already"));
    }
    let whole =
        |source: &ColumnSource| matches!(source, ColumnSource::Path(path) if path.is_self());
    for (column, raw) in built.table.columns.iter().zip(&raw.columns) {
        if !raw.path.is_absent() && whole(&column.source) {
            let message = format!("`{}` takes everything, so there is no rest", column.name);
            faults.add(&flags[0].0.at, message);
        }
    }
}
