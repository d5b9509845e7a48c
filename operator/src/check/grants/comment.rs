//! Comments of the scripts.

use crate::show::wrap;

/// A paragraph of comment, with a blank line before it.
pub(super) fn comment(mark: &str, text: &str) -> String {
    format!("\n{}", wrap(mark, text))
}
