//! What is kept of values: extremes, and whether all of them are of a form that a column asks for.

use bson::{Bson, RawBsonRef, spec::BinarySubtype};
use serde_json::Value;
use std::collections::BTreeMap;

/// From here on a double does not hold every integer.
const EXACT: u64 = 1 << 53;
/// The first and last millisecond that a `timestamptz` holds: 4714-11-24 BC and 294276-12-31.
const DATE_MIN: i64 = -210_866_803_200_000;
const DATE_MAX: i64 = 9_224_318_015_999_999;
/// Different values that are told apart.
const SAMPLES_MAX: usize = 48;
/// Longer ones are neither ids nor words of a list.
const SAMPLE_CHARACTERS_MAX: usize = 64;

/// Of numbers.
#[derive(Debug, Default)]
pub struct Numbers {
    /// The smallest and the largest.
    pub range: Option<(f64, f64)>,
    /// Doubles and decimals that are not whole, or too large for 64 bits.
    pub fractions: u64,
    /// Integers that a double does not hold exactly.
    pub inexact: u64,
    /// NaN and the infinities.
    pub not_finite: u64,
}

impl Numbers {
    /// Takes a number in.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the range is shown to a person; what is exact is counted beside it"
    )]
    pub fn see(&mut self, value: RawBsonRef<'_>) {
        let number = match value {
            RawBsonRef::Int32(number) => f64::from(number),
            RawBsonRef::Int64(number) => {
                self.inexact += u64::from(number.unsigned_abs() > EXACT);
                number as f64
            }
            RawBsonRef::Double(number) => {
                let whole = number.fract() == 0.0 && number.abs() < 9.2e18;
                self.fractions += u64::from(!whole);
                number
            }
            RawBsonRef::Decimal128(number) => {
                self.fractions += 1;
                number.to_string().parse().unwrap_or(f64::NAN)
            }
            _ => return,
        };
        if number.is_finite() {
            let (low, high) = self.range.unwrap_or((number, number));
            self.range = Some((low.min(number), high.max(number)));
        } else {
            self.not_finite += 1;
        }
    }
}

/// Of texts.
#[derive(Debug, Default)]
pub struct Texts {
    /// Characters of the longest.
    pub longest: usize,
    /// Bytes of the longest.
    pub longest_bytes: usize,
    /// With a NUL character.
    pub nul: u64,
    /// That read as 24 hex digits.
    pub object_ids: u64,
    /// That read as a UUID.
    pub uuids: u64,
    /// That read as a number.
    pub numbers: u64,
    /// That read as a day or a time with its zone.
    pub dates: u64,
}

impl Texts {
    /// Takes a text in.
    pub fn see(&mut self, text: &str) {
        self.longest = self.longest.max(text.chars().count());
        self.longest_bytes = self.longest_bytes.max(text.len());
        self.nul += u64::from(text.contains('\0'));
        if text.len() > 40 {
            return;
        }
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        self.object_ids += u64::from(text.len() == 24 && hex(text));
        self.uuids += u64::from(is_uuid(text));
        self.numbers += u64::from(is_number(text));
        self.dates += u64::from(is_date(text));
    }
}

fn is_uuid(text: &str) -> bool {
    let dash = |index| matches!(index, 8 | 13 | 18 | 23);
    let fits = |(index, byte): (usize, u8)| match dash(index) {
        true => byte == b'-',
        false => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(fits)
}

fn is_number(text: &str) -> bool {
    let digit = text.bytes().any(|byte| byte.is_ascii_digit());
    digit && text.trim().parse::<f64>().is_ok()
}

/// `2026-12-31`, alone or with what makes it RFC 3339.
fn is_date(text: &str) -> bool {
    let text = text.trim();
    let digits = |text: Option<&str>| {
        text.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let day = digits(text.get(0..4))
        && text.get(4..5) == Some("-")
        && digits(text.get(5..7))
        && text.get(7..8) == Some("-")
        && digits(text.get(8..10));
    match text.get(10..) {
        Some("") => day,
        Some(time) if time.starts_with(['T', 't']) => {
            let zone = time.ends_with(['Z', 'z']) || time.rfind(['+', '-']).is_some_and(|p| p >= 6);
            day && zone && time.len() >= 7
        }
        _ => false,
    }
}

/// Of dates, in milliseconds since 1970.
#[derive(Debug, Default)]
pub struct Dates {
    /// The first and the last that PostgreSQL holds.
    pub range: Option<(i64, i64)>,
    /// Outside the range of PostgreSQL.
    pub outside: u64,
}

impl Dates {
    /// Takes a date in.
    pub fn see(&mut self, millis: i64) {
        if !(DATE_MIN..=DATE_MAX).contains(&millis) {
            self.outside += 1;
            return;
        }
        let (first, last) = self.range.unwrap_or((millis, millis));
        self.range = Some((first.min(millis), last.max(millis)));
    }
}

/// Of bytes.
#[derive(Debug, Default)]
pub struct Binaries {
    /// UUIDs of subtype 4.
    pub uuids: u64,
    /// UUIDs of subtype 3.
    pub old_uuids: u64,
    /// Bytes of the longest.
    pub longest: usize,
}

impl Binaries {
    /// Takes bytes in.
    pub fn see(&mut self, subtype: BinarySubtype, bytes: &[u8]) {
        self.longest = self.longest.max(bytes.len());
        let sized = bytes.len() == 16;
        self.uuids += u64::from(sized && subtype == BinarySubtype::Uuid);
        self.old_uuids += u64::from(sized && subtype == BinarySubtype::UuidOld);
    }
}

/// Some different values, by which references, lists of words and unique fields are found.
#[derive(Debug, Default)]
pub struct Samples {
    /// By their JSON, how often each came.
    counts: BTreeMap<String, (Bson, u64)>,
    /// Values that found no place among them.
    pub more: u64,
    /// One was too long, or of a type that is neither an id nor a word.
    pub other: u64,
}

impl Samples {
    /// Takes a value in.
    pub fn see(&mut self, value: RawBsonRef<'_>) {
        let value = match value {
            RawBsonRef::String(text) if text.len() <= SAMPLE_CHARACTERS_MAX => {
                Bson::String(text.to_owned())
            }
            RawBsonRef::Int32(number) => Bson::Int64(i64::from(number)),
            RawBsonRef::Int64(number) => Bson::Int64(number),
            RawBsonRef::Double(number) => Bson::Double(number),
            RawBsonRef::ObjectId(id) => Bson::ObjectId(id),
            RawBsonRef::Binary(binary) if binary.bytes.len() == 16 => {
                Bson::Binary(binary.to_binary())
            }
            RawBsonRef::Null | RawBsonRef::Undefined => return,
            _ => {
                self.other += 1;
                return;
            }
        };
        let key = value.to_string();
        if let Some((_, count)) = self.counts.get_mut(&key) {
            *count += 1;
        } else if self.counts.len() < SAMPLES_MAX {
            self.counts.insert(key, (value, 1));
        } else {
            self.more += 1;
        }
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &Bson> {
        self.counts.values().map(|(value, _)| value)
    }

    /// Whether each value that was kept came once only.
    pub fn all_different(&self) -> bool {
        self.other == 0 && self.counts.values().all(|(_, count)| *count == 1)
    }

    /// The words of a list, if there are few, and each came often.
    pub fn words(&self) -> Option<Vec<&str>> {
        const WORDS_MAX: usize = 12;
        let few = self.more == 0 && self.other == 0 && self.counts.len() <= WORDS_MAX;
        let total: u64 = self.counts.values().map(|(_, count)| count).sum();
        let often = total >= 4 * u64::try_from(self.counts.len()).unwrap_or(u64::MAX);
        let text = |(value, _): &'_ (Bson, u64)| matches!(value, Bson::String(t) if t.len() <= 24);
        if !few || !often || self.counts.is_empty() || !self.counts.values().all(text) {
            return None;
        }
        Some(self.values().filter_map(Bson::as_str).collect())
    }

    /// The values and how often each came, for JSON.
    pub fn json(&self) -> Value {
        let counts = self.counts.values();
        let pairs = counts.map(|(value, count)| {
            let value = value.clone().into_relaxed_extjson();
            serde_json::json!({ "value": value, "count": count })
        });
        pairs.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_for_what_they_may_be() {
        assert!(is_uuid("00010203-0405-0607-0809-0a0b0c0d0e0f"));
        assert!(!is_uuid("00010203-0405-0607-0809-0a0b0c0d0e0"));
        assert!(is_number("12.5") && is_number(" -3e4 "));
        assert!(!is_number("inf") && !is_number("") && !is_number("12 kg"));
        assert!(is_date("2026-12-31") && is_date("2026-12-31T23:59:59+02:00"));
        assert!(is_date("2026-12-31T23:59:59.5Z"));
        assert!(
            !is_date("2026-12-31T23:59:59") && !is_date("31-12-2026") && !is_date("2026-12-3é")
        );
    }

    #[test]
    fn integers_beyond_a_double_and_dates_beyond_postgresql_are_counted() {
        let mut numbers = Numbers::default();
        numbers.see(RawBsonRef::Int64(9_007_199_254_740_993));
        numbers.see(RawBsonRef::Double(2.0));
        numbers.see(RawBsonRef::Double(0.5));
        numbers.see(RawBsonRef::Double(f64::NAN));
        assert_eq!(numbers.inexact, 1);
        assert_eq!((numbers.fractions, numbers.not_finite), (2, 1));
        let mut dates = Dates::default();
        for millis in [0, DATE_MIN, DATE_MAX, DATE_MIN - 1, i64::MAX] {
            dates.see(millis);
        }
        assert_eq!(dates.outside, 2);
    }
}
