//! CEL expressions of a mapping: read where they stand, and what is wrong with them said there.

use crate::{
    expression::{self, Expression},
    mapping::fault::{Faults, Spotted, nearest},
};

/// Reads the expression of a column or a condition, or notes why it is none.
pub(super) fn read(text: &Spotted<String>, faults: &mut Faults) -> Option<Expression> {
    let refused = match expression::read(&text.value) {
        Ok(read) => return Some(read),
        Err(refused) => refused,
    };
    let names = ["doc", "id"].into_iter().chain(expression::FUNCTIONS);
    let near = refused.word.and_then(|word| nearest(&word, names));
    faults.suggest(&text.at, refused.message, near);
    None
}
