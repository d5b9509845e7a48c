//! Why a document cannot be rows, and what its dead letter says of it.

use super::bson_type;
use bson::RawBsonRef;
use leafcutter_schemas::{
    dead_letter::{Reason, Stage},
    mapping::{Column, TableName},
};

/// Why a value cannot go into its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bad {
    /// Its BSON type is none that the column accepts.
    WrongType(&'static str),
    /// Text of this many characters or more is too long.
    TooLong(usize),
    /// Text with a NUL character.
    Nul,
    /// A number or date that the type has no place for.
    OutOfRange,
    /// It is none of the column's values.
    Unlisted,
    /// A field name stands twice, which `jsonb` cannot hold.
    DuplicateName,
    /// It is nested deeper than MongoDB nests anything.
    TooDeep,
    /// The expression fails, and why.
    Expression(String),
    /// The column is required and there is no value.
    Missing,
    /// The BSON cannot be read.
    Malformed,
}

impl Bad {
    /// The value is of a type that its column does not take.
    pub(super) fn of_type(value: &RawBsonRef<'_>) -> Self {
        Self::WrongType(bson_type::type_name(value))
    }

    /// The reason's short name, to count by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::WrongType(_) => "wrong-type",
            Self::TooLong(_) => "too-long",
            Self::Nul => "nul",
            Self::OutOfRange => "out-of-range",
            Self::Unlisted => "unlisted",
            Self::DuplicateName => "duplicate-name",
            Self::TooDeep => "too-deep",
            Self::Expression(_) => "expression",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
        }
    }

    fn message(&self, column: &Column) -> String {
        let wants = column.pg_type;
        match self {
            Self::WrongType(found) => {
                format!("a value of type {found} in a column of type {wants}")
            }
            Self::TooLong(length) => {
                format!("text of {length} characters in a column of type {wants}")
            }
            Self::Nul => format!("text with a NUL character, which {wants} cannot hold"),
            Self::OutOfRange => format!("a value outside the range of {wants}"),
            Self::Unlisted => "a value that is none of the column's".to_owned(),
            Self::DuplicateName => {
                format!("a field name stands twice, of which {wants} would keep the last")
            }
            Self::TooDeep => "a value is nested too deeply".to_owned(),
            Self::Expression(why) => format!("the expression fails: {why}"),
            Self::Missing => "no value in a required column".to_owned(),
            Self::Malformed => "the document's BSON cannot be read".to_owned(),
        }
    }

    /// The reason for the dead letter where a table's condition cannot be judged.
    pub(super) fn of_condition(&self, table: &TableName, path: Option<String>) -> Reason {
        let why = match self {
            Self::Expression(why) => why,
            Self::OutOfRange => "it looks at a date outside the range of CEL",
            Self::TooDeep => "it looks at a value that is nested too deeply",
            Self::Malformed => "the BSON cannot be read",
            // These come of putting a value into a column.
            Self::WrongType(_)
            | Self::TooLong(_)
            | Self::Nul
            | Self::Unlisted
            | Self::DuplicateName
            | Self::Missing => "it looks at a value that it cannot take",
        };
        let message = format!("the condition of `{table}` fails: {why}");
        Reason::new(Stage::Transform, self.code(), message)
            .at(table.to_string(), "where".to_owned())
            .path(path)
    }

    /// The reason for the dead letter.
    pub fn reason(&self, table: &TableName, column: &Column, path: Option<String>) -> Reason {
        Reason::new(Stage::Transform, self.code(), self.message(column))
            .at(table.to_string(), column.name.clone())
            .path(path)
    }
}

/// The value is of a type that its column does not take.
pub(super) fn wrong<T>(value: &RawBsonRef<'_>) -> Result<T, Bad> {
    Err(Bad::of_type(value))
}

/// A number that a smaller type has no place for.
pub(super) fn out_of_range(_: std::num::TryFromIntError) -> Bad {
    Bad::OutOfRange
}
