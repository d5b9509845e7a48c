//! A column: where its value comes from, and what it becomes.

use super::{
    Path, PgType,
    reference::{Reference, ReferenceBy},
};

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub pg_type: PgType,
    /// Where its value comes from.
    pub source: ColumnSource,
    /// How a BSON value becomes a value of the column's type.
    pub conversion: Conversion,
    /// `not null`: a missing or null value sends the document to the dead letters.
    pub required: bool,
    /// The text of a constant in the column's type, used where the path is missing in the
    /// document (an explicit null stays null), and as the column's default in DDL.
    pub default: Option<String>,
    /// The values it may have, where the mapping says so.
    pub values: Option<Values>,
    /// What becomes of values that the column cannot hold.
    pub invalid: Policies,
    /// The table it points to.
    pub reference: Option<Reference>,
    /// A key of which documents without a value get a number, from this one on.
    pub generated: Option<i64>,
}

impl Column {
    /// Its reference, if the parent's key is looked up by the `_id` of its document.
    pub fn looked_up(&self) -> Option<&Reference> {
        let reference = self.reference.as_ref();
        reference.filter(|reference| reference.by == ReferenceBy::Id)
    }
}

/// Where a column's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnSource {
    /// A path in the document, or in the element for a child table; [`Path::is_self`] is the
    /// element itself.
    Path(Path),
    /// The same value as a column of the parent table (its position there).
    Parent(usize),
    /// The element's position in its array, from 0.
    Position,
    /// The name of the element's field in its map.
    MapKey,
    /// The constant that the element's source sets.
    Set,
    /// The deterministic UUID of these columns' values (see [`crate::key::uuid_of_texts`]). They
    /// stand before this one and are never null.
    Derived(Vec<usize>),
    /// When the row's document was deleted; null while it exists.
    Deleted,
    /// Always the same: the text of a constant in the column's type.
    Constant(String),
    /// The first of several paths at which there is a value; with no value, a null at any of them
    /// is one.
    FirstOf(Vec<Path>),
    /// Everything of the document or element that no other column and no child table takes.
    Rest,
    /// What a CEL expression gives (see [`crate::expression`]).
    Expression {
        /// The expression.
        text: String,
        /// It names nothing but the `_id`.
        of_id: bool,
    },
}

impl ColumnSource {
    /// Whether the value is BSON of the document, or made of it, so that it is converted, may be
    /// missing, and may be wrong.
    pub fn is_converted(&self) -> bool {
        matches!(
            self,
            Self::Path(_) | Self::FirstOf(_) | Self::Expression { .. }
        )
    }
}

/// How a BSON value becomes a value of the column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// What the column's type accepts without loss of meaning; anything else is of the wrong type.
    /// Text: strings and symbols. Integers: int, long, and doubles and decimals without a fraction.
    /// Floats and numeric: all numbers. Boolean, bytea (binary, and the 12 bytes of an ObjectId),
    /// uuid (BSON UUID, subtype 4, and text that is one), dates and timestamps (BSON dates); json
    /// and jsonb: everything, as relaxed Extended JSON v2.
    Auto,
    /// `text`: ObjectIds as 24 hex digits, numbers, booleans, dates (RFC 3339) and UUIDs too.
    Text,
    /// `uuid-v5`: the deterministic UUID of [`crate::key::uuid_v5`], of a value of any type.
    UuidV5,
    /// `object-id-time`: the time within an ObjectId.
    ObjectIdTime,
    /// `epoch-seconds`: a number of seconds since 1970.
    EpochSeconds,
    /// `epoch-millis`: a number of milliseconds since 1970.
    EpochMillis,
    /// `parse`: text that is a number, a boolean or a point in time; anything else as `auto`.
    Parse,
    /// `object-id`, of a reference by `_id`: an ObjectId, or its 24 hex digits as text.
    ObjectId,
}

impl Conversion {
    /// Whether it makes different values of a column of this type of all values that MongoDB tells apart
    /// as `_id`s (manual, "Comparison/Sort Order"): numbers of one value are one `_id`, and so are a string
    /// and a symbol. A value that it refuses makes no row.
    pub fn tells_apart(self, pg_type: PgType) -> bool {
        match self {
            Self::UuidV5 => true,
            // Subtypes and spellings of a UUID, subtypes of binary, days, what is rounded, and the order of
            // fields are lost in others.
            Self::Auto => !pg_type.is_array() && pg_type.facts().ids_apart,
            Self::Text
            | Self::ObjectIdTime
            | Self::EpochSeconds
            | Self::EpochMillis
            | Self::Parse
            | Self::ObjectId => false,
        }
    }
}

/// The values that a column may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// Constants of the column's type: a value is converted as usual and has to be one of them.
    Listed(Vec<String>),
    /// For the text, the number or the boolean in the document, the constant of the column's type,
    /// or null, that stands for it.
    Mapped(Vec<(String, Option<String>)>),
}

/// What becomes of a value that the column cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The document goes to the dead letters.
    #[default]
    Reject,
    /// The column becomes null.
    Null,
    /// The value is cut to what fits: text to its length, NUL characters out of text.
    Truncate,
}

/// One policy for each thing that can be wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policies {
    /// A BSON type that the column does not accept.
    pub wrong_type: Policy,
    /// Text over the column's length.
    pub too_long: Policy,
    /// A NUL character in text or JSON, which PostgreSQL cannot store.
    pub nul: Policy,
    /// A number or date outside the type's range; NaN and infinities where it has no place for them.
    pub out_of_range: Policy,
    /// A value that is none of the column's `values`.
    pub unlisted: Policy,
}
