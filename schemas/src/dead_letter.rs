//! Dead letters: a record that can never be applied, with its whole origin.
//!
//! Key, value and headers of the original stay as they are, byte for byte; everything else is in
//! additional headers, all of them texts. The `__connect.errors.*` names are those of Kafka
//! Connect's reporter (KIP-298), which existing tools read.

use std::collections::BTreeMap;

/// The prefix of our own headers.
pub const HEADER_PREFIX: &str = "leafcutter.";

/// Where in the pipeline a record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The producer could not send it (too large).
    Produce,
    /// The bytes are no envelope, or the document no BSON.
    Decode,
    /// A value does not fit its column.
    Transform,
    /// PostgreSQL refused a row.
    Apply,
    /// Its parent, or its unique value, never came.
    Settle,
}

impl Stage {
    /// The stage's name in headers and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Decode => "decode",
            Self::Transform => "transform",
            Self::Apply => "apply",
            Self::Settle => "settle",
        }
    }
}

/// Why a record cannot be applied, in the words of the person who has to repair it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// Where it was refused.
    pub stage: Stage,
    /// A short name to count by: `wrong-type`, `too-long`, `orphan`, …
    pub code: &'static str,
    /// What happened, without any content of the document.
    pub message: String,
    /// The table concerned.
    pub table: Option<String>,
    /// The column concerned.
    pub column: Option<String>,
    /// The path in the document.
    pub path: Option<String>,
    /// What PostgreSQL answered.
    pub sqlstate: Option<String>,
}

impl Reason {
    /// A reason that names no place. Whoever made the texts, they can be stored and sent.
    pub fn new(stage: Stage, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            stage,
            code,
            message: readable(message.into()),
            table: None,
            column: None,
            path: None,
            sqlstate: None,
        }
    }

    /// With the table and the column concerned, as far as they are known.
    #[must_use]
    pub fn at(
        mut self,
        table: impl Into<Option<String>>,
        column: impl Into<Option<String>>,
    ) -> Self {
        self.table = table.into().map(readable);
        self.column = column.into().map(readable);
        self
    }

    /// With the path in the document, where there is one.
    #[must_use]
    pub fn path(mut self, path: impl Into<Option<String>>) -> Self {
        self.path = path.into().map(readable);
        self
    }

    /// With what PostgreSQL answered.
    #[must_use]
    pub fn sqlstate(mut self, sqlstate: impl Into<String>) -> Self {
        self.sqlstate = Some(sqlstate.into());
        self
    }
}

/// Longest text of a reason, in characters. Some are made by others, and headers have to fit beside the
/// record.
const TEXT_MAX: usize = 1_000;

/// A text that PostgreSQL takes, and a terminal: without NUL and other control characters, and not endless.
fn readable(text: String) -> String {
    let control = |c: char| c.is_control() && c != '\n';
    if text.len() <= TEXT_MAX && !text.contains(control) {
        return text;
    }
    let clean = |c| if control(c) { '\u{fffd}' } else { c };
    let mut all = text.chars().map(clean);
    let mut cut: String = all.by_ref().take(TEXT_MAX).collect();
    if all.next().is_some() {
        cut.push('…');
    }
    cut
}

/// Where a record was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The broker's timestamp, milliseconds since 1970.
    pub timestamp: Option<i64>,
}

/// What a dead letter says beside the original record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the record was read.
    pub origin: Origin,
    /// Why it was refused.
    pub reason: Reason,
    /// Its version, where it could be decoded.
    pub version: Option<i64>,
    /// How often it was tried.
    pub attempts: u32,
    /// The hash of the mapping in force.
    pub mapping: String,
    /// The program and its version.
    pub program: String,
}

impl DeadLetter {
    /// The headers to add to the original's own.
    pub fn headers(&self) -> Vec<(String, String)> {
        let reason = &self.reason;
        let origin = &self.origin;
        let mut headers = Vec::with_capacity(24);
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                headers.push((format!("{HEADER_PREFIX}{name}"), value));
            }
        };
        add("topic", Some(origin.topic.clone()));
        add("partition", Some(origin.partition.to_string()));
        add("offset", Some(origin.offset.to_string()));
        add("timestamp", origin.timestamp.map(|t| t.to_string()));
        add("stage", Some(reason.stage.as_str().to_owned()));
        add("class", Some("definite".to_owned()));
        add("reason", Some(reason.code.to_owned()));
        add("message", Some(reason.message.clone()));
        add("table", reason.table.clone());
        add("column", reason.column.clone());
        add("path", reason.path.clone());
        add("sqlstate", reason.sqlstate.clone());
        add("version", self.version.map(|v| v.to_string()));
        add("attempts", Some(self.attempts.to_string()));
        add("mapping", Some(self.mapping.clone()));
        add("program", Some(self.program.clone()));
        for (name, value) in [
            ("topic", origin.topic.clone()),
            ("partition", origin.partition.to_string()),
            ("offset", origin.offset.to_string()),
            ("connector.name", "leafcutter".to_owned()),
            ("stage", reason.stage.as_str().to_owned()),
            ("exception.class.name", reason.code.to_owned()),
            ("exception.message", reason.message.clone()),
        ] {
            headers.push((format!("__connect.errors.{name}"), value));
        }
        headers
    }

    /// Our headers of a dead letter, by their name without the prefix.
    pub fn read_headers<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> BTreeMap<String, String> {
        headers
            .into_iter()
            .filter_map(|(name, value)| {
                let name = name.strip_prefix(HEADER_PREFIX)?;
                Some((name.to_owned(), String::from_utf8_lossy(value).into_owned()))
            })
            .collect()
    }
}

/// Whether a header was added by us, so that the original's own can be told apart.
pub fn is_added_header(name: &str) -> bool {
    name.starts_with(HEADER_PREFIX) || name.starts_with("__connect.errors.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_can_be_stored_and_sent() {
        let reason = Reason::new(Stage::Apply, "refused", "a\0b\u{1b}[31m")
            .at("t\0".to_owned(), None)
            .path("ä".repeat(5_000));
        assert_eq!(reason.message, "a\u{fffd}b\u{fffd}[31m");
        assert_eq!(reason.table.unwrap(), "t\u{fffd}");
        assert_eq!(reason.path.unwrap().chars().count(), TEXT_MAX + 1);
        let short = Reason::new(Stage::Apply, "refused", "line 1\nline 2");
        assert_eq!(short.message, "line 1\nline 2");
    }

    #[test]
    fn headers_carry_the_whole_origin() {
        let letter = DeadLetter {
            origin: Origin {
                topic: "t".into(),
                partition: 3,
                offset: 9,
                timestamp: Some(5),
            },
            reason: Reason::new(Stage::Transform, "too-long", "text of 300 characters")
                .at("learners".to_owned(), "email".to_owned())
                .path("email".to_owned()),
            version: Some(7),
            attempts: 1,
            mapping: "abc".into(),
            program: "leafcutter-consumer 0.1.0".into(),
        };
        let headers = letter.headers();
        assert!(headers.iter().all(|(name, _)| is_added_header(name)));
        let read = DeadLetter::read_headers(
            headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_bytes())),
        );
        assert_eq!(read["offset"], "9");
        assert_eq!(read["column"], "email");
        assert_eq!(read["reason"], "too-long");
        assert!(!read.contains_key("sqlstate"));
    }
}
