//! What follows from what is said of a type, of arrays too: their elements' type has the facts and the
//! parameters.

use super::{
    PgType,
    facts::{Kind, Parameters},
};

impl PgType {
    /// It is an array.
    pub fn is_array(self) -> bool {
        matches!(self, Self::Array(_))
    }

    /// The type that one value has: an array's element, otherwise the type itself.
    pub fn scalar(self) -> Self {
        match self {
            Self::Array(element) => element.pg_type(),
            other => other,
        }
    }

    /// What its values are.
    pub fn kind(self) -> Kind {
        if self.is_array() {
            Kind::Array
        } else {
            self.facts().kind
        }
    }

    /// It holds whole numbers.
    pub fn is_whole(self) -> bool {
        matches!(self.kind(), Kind::Whole { .. })
    }

    /// The most characters of one value.
    pub fn length(self) -> Option<u32> {
        match self.parameters() {
            Parameters::Length(length) => Some(length),
            Parameters::None | Parameters::Limits(_) => None,
        }
    }

    /// Precision and scale of one value.
    pub fn limits(self) -> Option<(u16, u16)> {
        match self.parameters() {
            Parameters::Limits(limits) => limits,
            Parameters::None | Parameters::Length(_) => None,
        }
    }

    /// It is written with parameters, or can be.
    pub fn has_parameters(self) -> bool {
        self.parameters() != Parameters::None
    }
}
