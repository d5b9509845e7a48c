//! Constants: text that has to mean the same to PostgreSQL, as a column's default, and to
//! Leafcutter, as a value. Where the two would read a text differently it is refused. Which texts a type
//! takes stands with the type ([`PgType::takes`]).

use crate::mapping::PgType;

/// Whether a text is a constant of that type.
///
/// # Errors
/// Why it is not.
pub(super) fn fits(text: &str, pg_type: PgType) -> Result<(), String> {
    let fits = if text.contains('\0') {
        Err("it contains a NUL character")
    } else {
        pg_type.takes(text)
    };
    fits.map_err(|why| format!("`{text}` is no `{pg_type}`: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Element;

    const NUMERIC_6_2: PgType = PgType::Numeric(Some((6, 2)));

    fn int4_array() -> PgType {
        PgType::Array(Element::of(PgType::Int4).unwrap())
    }

    #[test]
    fn constants_that_fit() {
        for (pg_type, texts) in [
            (PgType::Bool, &["true", "f", "0"][..]),
            (PgType::Int2, &["-32768", "32767", "+1", "007"]),
            (PgType::Int4, &["2147483647"]),
            (PgType::Int8, &["-9223372036854775808"]),
            (
                PgType::Float4,
                &["1", "-0.5", "1e38", "NaN", "-Infinity", "0e99"],
            ),
            (PgType::Float8, &["1e308", ".5"]),
            (PgType::Numeric(None), &["1", "1e6144", "NaN"]),
            (
                NUMERIC_6_2,
                &["9999.99", "-0.01", "0", "1e3", "1.2300", "NaN"],
            ),
            (PgType::Text, &["", "anything"]),
            (PgType::Varchar(2), &["", "äö"]),
            (PgType::Uuid, &["6ba7b812-9dad-11d1-80b4-00c04fd430c8"]),
            (PgType::Bytea, &["abc", ""]),
            (PgType::Date, &["2024-02-29", "0001-01-01"]),
            (PgType::Time, &["23:59", "00:00:00", "12:30:00.125"]),
            (
                PgType::Timestamp,
                &["2024-02-29", "2024-02-29T23:59:59.999Z"],
            ),
            (
                PgType::Timestamptz,
                &["2024-02-29T23:59:59+02:00", "2024-02-29"],
            ),
            (PgType::Json, &["{}", "[1, null]", "\"\\u0000\""]),
            (PgType::Jsonb, &["{\"a\": [true]}", "0"]),
            (int4_array(), &["{}"]),
        ] {
            for text in texts {
                assert_eq!(fits(text, pg_type), Ok(()));
            }
        }
    }

    #[test]
    fn constants_that_do_not() {
        for (pg_type, texts) in [
            (PgType::Bool, &["True", "2", ""][..]),
            (PgType::Int2, &["32768", "-32769"]),
            (PgType::Int4, &["2147483648", "1.0", "0x10", "", " 1"]),
            (PgType::Int8, &["9223372036854775808"]),
            (PgType::Float4, &["1e39", "1e-60", "one", "0e99999999999"]),
            (
                PgType::Float8,
                &[
                    "1e309",
                    "-1e309",
                    "1e-400",
                    "",
                    "0e2147483648",
                    "0.0e-2147483648",
                ],
            ),
            (
                PgType::Numeric(None),
                &["", "a", "1e6145", ".", "1e", "--1", "1.2.3", "1_0"],
            ),
            (NUMERIC_6_2, &["10000", "0.001", "1e4", "Infinity"]),
            (PgType::Text, &["a\0"]),
            (PgType::Varchar(2), &["äöü"]),
            (
                PgType::Uuid,
                &["6ba7b812", "urn:uuid:6ba7b812-9dad-11d1-80b4-00c04fd430c8"],
            ),
            (PgType::Bytea, &["\\x41"]),
            (
                PgType::Date,
                &["2024-02-30", "24-1-1", "0000-01-01", "2024-02-29T00:00:00Z"],
            ),
            (
                PgType::Time,
                &[
                    "",
                    "7:00",
                    "24:00",
                    "12:60",
                    "12:30Z",
                    "12:30+01:00",
                    "2024-02-29",
                ],
            ),
            (
                PgType::Timestamp,
                &[
                    "2024-02-29T23:59:59+02:00",
                    "2024-02-29 10:00",
                    "2016-12-31T23:59:60Z",
                    "now",
                ],
            ),
            (
                PgType::Timestamptz,
                &["2024-02-29T23:59:59.123456Z", "0000-01-01T00:00:00Z"],
            ),
            (PgType::Json, &["", "{a: 1}"]),
            (PgType::Jsonb, &["[\"\\u0000\"]", "{\"\\u0000\": 1}"]),
            (int4_array(), &["", "{1}", "[]", "1"]),
        ] {
            for text in texts {
                assert!(fits(text, pg_type).is_err(), "{text} as {pg_type}");
            }
        }
    }
}
