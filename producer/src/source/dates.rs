//! The dates by which a collection is polled, and the versions that follow from them.
//!
//! A polled document says itself when it was last written; the newest of its dates is its version,
//! so that a document that did not change has the same version however often it is read, and no row
//! is written for it again. No version is later than the read: a date in the future would otherwise
//! win against all that is written until then. A document without a date has the lowest version
//! there is, below everything that has one.
//!
//! What is found in a document is what the server's filter finds there, arrays among it.

use bson::{Bson, DateTime, Document, RawBsonRef, RawDocument, doc};
use leafcutter_schemas::{mapping::Path, version::Version};

/// Milliseconds in a second.
const SECOND: i64 = 1_000;
/// Version 0 is a row that is not ours.
const LOWEST: i64 = 1;

/// Where a collection's dates are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dates(pub Vec<Path>);

/// The version that a document has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    /// It.
    pub version: Version,
    /// The document has none of the dates.
    pub undated: bool,
}

impl Dates {
    /// The fields as the server's filters name them.
    pub fn fields(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|path| path.steps().join("."))
    }

    /// Finds documents of which a date is not older.
    pub fn not_before(&self, millis: i64) -> Document {
        let since = Bson::DateTime(DateTime::from_millis(millis));
        let newer = |field| doc! { field: { "$gte": since.clone() } };
        let mut each: Vec<Document> = self.fields().map(newer).collect();
        match each.pop() {
            Some(only) if each.is_empty() => only,
            Some(last) => {
                each.push(last);
                doc! { "$or": each }
            }
            None => doc! {},
        }
    }

    /// The version of a document that was read at `read` or before.
    pub fn version(&self, document: &RawDocument, read: Version) -> Dated {
        let newest = self
            .0
            .iter()
            .filter_map(|path| newest(RawBsonRef::Document(document), path.steps()));
        let newest = newest.max();
        let version = newest.map_or(LOWEST, |millis| {
            let second = millis.div_euclid(SECOND);
            if second > read.seconds() {
                return read.as_i64();
            }
            if second < 0 {
                return LOWEST;
            }
            let number = (second << 31) | millis.rem_euclid(SECOND);
            number.clamp(LOWEST, read.as_i64().max(LOWEST))
        });
        Dated {
            version: Version::from_i64(version).unwrap_or(read),
            undated: newest.is_none(),
        }
    }
}

/// The newest date at a path, in milliseconds.
fn newest(value: RawBsonRef<'_>, steps: &[String]) -> Option<i64> {
    match (value, steps) {
        (RawBsonRef::DateTime(date), []) => Some(date.timestamp_millis()),
        (RawBsonRef::Array(array), []) => {
            let dates = array.into_iter().filter_map(|element| match element {
                Ok(RawBsonRef::DateTime(date)) => Some(date.timestamp_millis()),
                _ => None,
            });
            dates.max()
        }
        (RawBsonRef::Document(document), [step, rest @ ..]) => {
            newest(document.get(step).ok()??, rest)
        }
        (RawBsonRef::Array(array), [step, rest @ ..]) => {
            let number = step.parse().ok();
            let at = number.and_then(|index: usize| newest(array.get(index).ok()??, rest));
            let inside = array.into_iter().filter_map(|element| match element {
                Ok(element @ RawBsonRef::Document(_)) => newest(element, steps),
                _ => None,
            });
            inside.chain(at).max()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::rawdoc;

    fn dates(paths: &[&str]) -> Dates {
        Dates(
            paths
                .iter()
                .map(|path| Path::parse(path).unwrap())
                .collect(),
        )
    }

    fn at(millis: i64) -> DateTime {
        DateTime::from_millis(millis)
    }

    fn version(second: i64, millis: i64) -> Version {
        Version::from_i64((second << 31) | millis).unwrap()
    }

    const READ: i64 = 1_000;

    fn dated(paths: &[&str], document: &RawDocument) -> (Version, bool) {
        let dated = dates(paths).version(document, version(READ, 0));
        (dated.version, dated.undated)
    }

    #[test]
    fn the_newest_date_is_the_version_and_never_later_than_the_read() {
        let both = ["made", "sub.changed"];
        let document = rawdoc! { "made": at(5_007), "sub": { "changed": at(9_250) } };
        assert_eq!(dated(&both, &document), (version(9, 250), false));
        let document = rawdoc! { "made": at(5_007), "sub": { "changed": null } };
        assert_eq!(dated(&both, &document), (version(5, 7), false));
        for future in [1_000_001, 5_000_000_000, i64::MAX] {
            let document = rawdoc! { "made": at(future) };
            assert_eq!(
                dated(&both, &document),
                (version(READ, 0), false),
                "{future}"
            );
        }
        let document = rawdoc! { "made": at(999_999) };
        assert_eq!(dated(&both, &document), (version(999, 999), false));
    }

    #[test]
    fn before_1970_and_without_a_date_there_is_still_a_version_of_ours() {
        let lowest = Version::from_i64(1).unwrap();
        for old in [i64::MIN, -1, 0] {
            let document = rawdoc! { "d": at(old) };
            assert_eq!(dated(&["d"], &document), (lowest, false), "{old}");
        }
        for none in [
            rawdoc! {},
            rawdoc! { "d": "2024-01-01" },
            rawdoc! { "d": { "e": at(5) } },
        ] {
            assert_eq!(dated(&["d"], &none), (lowest, true), "{none:?}");
        }
    }

    #[test]
    fn dates_are_found_where_the_servers_filter_finds_them() {
        let document = rawdoc! { "list": [at(1_000), "x", at(3_000)], "docs": [{ "d": at(7_000) }, 1, { "d": at(4_000) }] };
        assert_eq!(dated(&["list"], &document).0, version(3, 0));
        assert_eq!(dated(&["list.0"], &document).0, version(1, 0));
        assert_eq!(dated(&["docs.d"], &document).0, version(7, 0));
        assert_eq!(dated(&["docs.2.d"], &document).0, version(4, 0));
        assert!(dated(&["docs.1.d"], &document).1);
    }

    #[test]
    fn one_field_is_asked_for_plainly_and_several_by_or() {
        let since = doc! { "$gte": at(5) };
        assert_eq!(dates(&["a.b"]).not_before(5), doc! { "a.b": since.clone() });
        assert_eq!(
            dates(&["a", "b"]).not_before(5),
            doc! { "$or": [{ "a": since.clone() }, { "b": since }] }
        );
    }
}
