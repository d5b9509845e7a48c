//! The type that the elements of an array have.

use super::{
    PgType, SCALARS,
    facts::{Kind, Parameters},
};

/// The type of an array's elements: every scalar type but those that hold arrays themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Element {
    scalar: &'static PgType,
    parameters: Parameters,
}

impl Element {
    /// The element of an array of this type; `None` for `json`, `jsonb` and arrays.
    pub fn of(pg_type: PgType) -> Option<Self> {
        if matches!(pg_type.kind(), Kind::Json | Kind::Array) {
            return None;
        }
        let parameters = pg_type.parameters();
        let scalar = SCALARS
            .iter()
            .find(|scalar| scalar.with(parameters) == pg_type)?;
        Some(Self { scalar, parameters })
    }

    /// The type of a column that holds one element.
    pub fn pg_type(self) -> PgType {
        self.scalar.with(self.parameters)
    }
}
