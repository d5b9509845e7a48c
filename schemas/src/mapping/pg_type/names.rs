//! How PostgreSQL names a type: in DDL, in its catalogue, in temporary tables, in functions.

use super::{PgType, SCALARS, facts::Parameters};

impl PgType {
    /// Its name in `pg_type`; an array's is that of its element behind a `_`.
    pub fn catalogue_name(self) -> String {
        let array = if self.is_array() { "_" } else { "" };
        format!("{array}{}", self.facts().catalogue)
    }

    /// The scalar type that has this name in `pg_type`, with the parameters that
    /// `pg_attribute.atttypmod` tells. Without a length, `varchar` is `text`.
    pub fn of_catalogue(name: &str, modifier: i32) -> Option<Self> {
        let found = SCALARS.into_iter().find(|s| s.facts().catalogue == name)?;
        // Lengths, precisions and scales have the bytes of a header added to them.
        let below = u32::try_from(modifier.saturating_sub(4)).ok();
        let half = |bits: u32| u16::try_from(bits & 0x7ff).unwrap_or(0);
        Some(match found.parameters() {
            Parameters::None => found,
            Parameters::Length(_) => {
                below.map_or(Self::Text, |length| found.with(Parameters::Length(length)))
            }
            Parameters::Limits(_) => {
                let limits = below.map(|limits| (half(limits >> 16), half(limits)));
                found.with(Parameters::Limits(limits))
            }
        })
    }

    /// The function whose result is a value's bytes in binary COPY; row keys are made of these.
    pub fn send_function(self) -> &'static str {
        if self.is_array() {
            "array_send"
        } else {
            self.facts().send
        }
    }

    /// A column's type in a temporary table: the length and the scale were checked when the row was
    /// made. An array keeps its element's type, which its binary form names.
    pub fn staging_type(self) -> String {
        let name = self.facts().names[0];
        match self.parameters() {
            _ if self.is_array() => format!("{name}[]"),
            Parameters::Length(_) => Self::Text.to_string(),
            Parameters::None | Parameters::Limits(_) => name.to_owned(),
        }
    }
}

impl std::fmt::Display for PgType {
    /// As DDL has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.facts().names[0];
        f.write_str(name)?;
        match self.parameters() {
            Parameters::None | Parameters::Limits(None) => {}
            Parameters::Length(length) => write!(f, "({length})")?,
            Parameters::Limits(Some((precision, scale))) => write!(f, "({precision},{scale})")?,
        }
        f.write_str(if self.is_array() { "[]" } else { "" })
    }
}
