//! What is asked of a PostgreSQL type. The answers stand in [`PgType::facts`](super::PgType::facts).

/// What is true of a type.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Its names in a mapping. DDL has the first.
    pub names: &'static [&'static str],
    /// Its name in PostgreSQL's catalogue `pg_type`.
    pub catalogue: &'static str,
    /// Its OID (`pg_type.dat`).
    pub oid: u32,
    /// The function whose result is a value's bytes in binary COPY.
    pub send: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// What it keeps of the values that it takes.
    pub keeps: Keeps,
    /// `convert: parse` reads its values from text.
    pub parsed: bool,
    /// PostgreSQL compares its values: they can be in a key and in an index.
    pub compared: bool,
    /// Equal values have equal bytes.
    pub one_form: bool,
    /// A value has one text, which PostgreSQL writes in the same way.
    pub one_text: bool,
    /// Of two `_id`s that MongoDB tells apart (manual, "Comparison/Sort Order"), the values are never equal:
    /// numbers of one value are one `_id`, and so are a string and a symbol.
    pub ids_apart: bool,
    /// A value that no document wants, as an expression of SQL. Where none is, rows that exchange unique
    /// values of this type wait for each other.
    pub placeholder: Option<&'static str>,
    /// Other types that take every value as it is, by their names in `pg_type`. There has to be an
    /// assignment, and a comparison of both.
    pub wider: &'static [&'static str],
    /// Other types that refuse some values.
    pub refusing: &'static [&'static str],
    /// Other types that keep some values as others.
    pub changing: &'static [&'static str],
}

/// What the values of a type are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers.
    Whole {
        /// The largest.
        most: i64,
    },
    /// Other numbers.
    Number,
    /// Text.
    Text,
    /// Days and points in time.
    Time,
    /// JSON.
    Json,
    /// Values of none of these, within no limits.
    Other,
    /// Arrays.
    Array,
}

/// What is kept of a value that is taken. Text is kept up to its length and without NUL characters, JSON
/// without NUL characters: that is said by their kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// All of it.
    All,
    /// Of a number, so many digits behind the point.
    Digits(u16),
    /// Of a number, the nearest `real`.
    Real,
    /// Of a number, the nearest `double precision`.
    Double,
    /// Of a point in time, its day.
    Day,
    /// Of a point in time, its time of day.
    TimeOfDay,
    /// Of a point in time, its microseconds.
    Micros,
}

/// What stands in brackets behind a type's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parameters {
    /// Nothing can stand there.
    None,
    /// The most characters.
    Length(u32),
    /// Precision and scale, or nothing.
    Limits(Option<(u16, u16)>),
}

/// What many types have in common; names and numbers are for each to fill in.
pub(super) const PLAIN: Facts = Facts {
    names: &[],
    catalogue: "",
    oid: 0,
    send: "",
    kind: Kind::Other,
    keeps: Keeps::All,
    parsed: false,
    compared: true,
    one_form: true,
    one_text: false,
    ids_apart: false,
    placeholder: None,
    wider: &[],
    refusing: &[],
    changing: &[],
};

/// Numbers with fractions, which may be written in several ways.
pub(super) const NUMBER: Facts = Facts {
    kind: Kind::Number,
    parsed: true,
    one_form: false,
    ..PLAIN
};

/// Text.
pub(super) const TEXT: Facts = Facts {
    kind: Kind::Text,
    one_text: true,
    ids_apart: true,
    placeholder: Some("md5(random()::text)"),
    ..PLAIN
};

/// Points in time.
pub(super) const TIME: Facts = Facts {
    kind: Kind::Time,
    keeps: Keeps::Micros,
    parsed: true,
    ..PLAIN
};

/// Whole numbers up to this one.
pub(super) const fn whole(most: i64) -> Facts {
    Facts {
        kind: Kind::Whole { most },
        one_form: true,
        one_text: true,
        ids_apart: true,
        ..NUMBER
    }
}
