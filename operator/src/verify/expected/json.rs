//! JSON: BSON as relaxed Extended JSON v2, and what PostgreSQL gives of `json` and `jsonb`.
//!
//! Fields keep their order and numbers their text, so that a `json` column is compared as it is written;
//! [`Json::settled`] is the one form that a `jsonb` has. Each side is made here on its own: one from
//! BSON, the other from PostgreSQL's text.

use super::{decimal::Decimal, moment};
use bson::{Bson, RawBsonRef, RawDocument, raw::RawArray};
use leafcutter_schemas::mapping::Policy;

/// As deep as values are gone into; MongoDB nests no deeper than 200.
pub const DEPTH_MAX: usize = 250;

/// A value of JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it is written.
    Number(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, its fields in their order.
    Object(Vec<(String, Json)>),
}

/// How BSON becomes JSON in a column.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// What becomes of NUL characters: taken out under `truncate`, otherwise refused.
    pub nul: Policy,
    /// No name may stand twice in an object.
    pub names_once: bool,
}

fn object(fields: &[(&str, Json)]) -> Json {
    let fields = fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    Json::Object(fields.collect())
}

fn text(value: impl Into<String>) -> Json {
    Json::Text(value.into())
}

impl Form {
    /// A value.
    ///
    /// # Errors
    /// The reason why it cannot be JSON in the column.
    pub fn value(self, value: RawBsonRef<'_>, depth: usize) -> Result<Json, &'static str> {
        Ok(match value {
            RawBsonRef::Null => Json::Null,
            RawBsonRef::Boolean(value) => Json::Bool(value),
            RawBsonRef::Int32(n) => Json::Number(n.to_string()),
            RawBsonRef::Int64(n) => Json::Number(n.to_string()),
            RawBsonRef::Double(n) if n.is_finite() => Json::Number(format!("{n:?}")),
            RawBsonRef::Double(n) => {
                let name = if n.is_nan() {
                    "NaN"
                } else if n > 0.0 {
                    "Infinity"
                } else {
                    "-Infinity"
                };
                object(&[("$numberDouble", text(name))])
            }
            RawBsonRef::String(value) => Json::Text(self.text(value)?),
            RawBsonRef::Symbol(value) => object(&[("$symbol", text(self.text(value)?))]),
            RawBsonRef::JavaScriptCode(code) => object(&[("$code", text(self.text(code)?))]),
            RawBsonRef::JavaScriptCodeWithScope(code) => object(&[
                ("$code", text(self.text(code.code)?)),
                ("$scope", self.document(code.scope, depth + 1)?),
            ]),
            RawBsonRef::RegularExpression(regex) => {
                let pattern = self.text(regex.pattern.as_str())?;
                let options = self.text(regex.options.as_str())?;
                let parts = object(&[("pattern", text(pattern)), ("options", text(options))]);
                object(&[("$regularExpression", parts)])
            }
            RawBsonRef::Decimal128(n) => object(&[("$numberDecimal", text(n.to_string()))]),
            RawBsonRef::Undefined => object(&[("$undefined", Json::Bool(true))]),
            RawBsonRef::MinKey => object(&[("$minKey", Json::Number("1".into()))]),
            RawBsonRef::MaxKey => object(&[("$maxKey", Json::Number("1".into()))]),
            RawBsonRef::ObjectId(id) => object(&[("$oid", text(id.to_hex()))]),
            RawBsonRef::DateTime(at) => object(&[("$date", date(at.timestamp_millis()))]),
            RawBsonRef::Timestamp(at) => {
                let (t, i) = (at.time.to_string(), at.increment.to_string());
                let parts = object(&[("t", Json::Number(t)), ("i", Json::Number(i))]);
                object(&[("$timestamp", parts)])
            }
            RawBsonRef::Binary(_) | RawBsonRef::DbPointer(_) => {
                // Types of which the library's own JSON is what the specification says.
                let owned = Bson::try_from(value).map_err(|_| "malformed")?;
                let written = owned.into_relaxed_extjson().to_string();
                Json::read(&written).ok_or("malformed")?
            }
            RawBsonRef::Document(document) => self.document(document, depth + 1)?,
            RawBsonRef::Array(array) => self.list(array, depth + 1)?,
        })
    }

    /// Text, without NUL characters or refused for them.
    pub fn text(self, value: &str) -> Result<String, &'static str> {
        match (value.contains('\0'), self.nul) {
            (false, _) => Ok(value.to_owned()),
            (true, Policy::Truncate) => Ok(value.replace('\0', "")),
            (true, Policy::Reject | Policy::Null) => Err("nul"),
        }
    }

    fn document(self, document: &RawDocument, depth: usize) -> Result<Json, &'static str> {
        if depth > DEPTH_MAX {
            return Err("too-deep");
        }
        let mut fields = Vec::new();
        for element in document {
            let (name, value) = element.map_err(|_| "malformed")?;
            fields.push((name.as_str(), self.value(value, depth)?));
        }
        self.object(fields)
    }

    fn list(self, array: &RawArray, depth: usize) -> Result<Json, &'static str> {
        if depth > DEPTH_MAX {
            return Err("too-deep");
        }
        let items = array
            .into_iter()
            .map(|item| self.value(item.map_err(|_| "malformed")?, depth));
        Ok(Json::List(items.collect::<Result<_, _>>()?))
    }

    /// An object of these fields.
    ///
    /// # Errors
    /// Where a name stands twice, or has a NUL character.
    pub fn object(self, fields: Vec<(&str, Json)>) -> Result<Json, &'static str> {
        if self.names_once {
            let mut names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err("duplicate-name");
            }
        }
        let fields = fields
            .into_iter()
            .map(|(name, value)| Ok((self.text(name)?, value)));
        Ok(Json::Object(fields.collect::<Result<_, &'static str>>()?))
    }
}

/// Years 1970 to 9999 as RFC 3339, others as milliseconds.
fn date(millis: i64) -> Json {
    if !(0..253_402_300_800_000).contains(&millis) {
        return object(&[("$numberLong", text(millis.to_string()))]);
    }
    let written = moment::rfc3339(millis);
    match written.strip_suffix(".000Z") {
        Some(whole) => text(format!("{whole}Z")),
        None => text(written),
    }
}

impl Json {
    /// Reads JSON as PostgreSQL gives it.
    pub fn read(source: &str) -> Option<Self> {
        let mut reader = Reader { rest: source };
        let value = reader.value(0)?;
        reader.blank();
        reader.rest.is_empty().then_some(value)
    }

    /// The one form of equal values: fields in the order of their names, the last of two with one name,
    /// numbers by their value.
    #[must_use]
    pub fn settled(self) -> Self {
        match self {
            Self::Number(number) => {
                let read = Decimal::read(&number).map(|read| read.canonical());
                Self::Number(read.unwrap_or(number))
            }
            Self::List(items) => Self::List(items.into_iter().map(Self::settled).collect()),
            Self::Object(fields) => {
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| (name, value.settled()));
                let by_name: std::collections::BTreeMap<String, Self> = fields.collect();
                Self::Object(by_name.into_iter().collect())
            }
            other => other,
        }
    }
}

/// Writes a text in quotes. Without short escapes, a control character is always `\u` and four digits.
fn quote(f: &mut std::fmt::Formatter<'_>, text: &str, short_escapes: bool) -> std::fmt::Result {
    if short_escapes {
        return write!(f, "{}", serde_json::Value::from(text));
    }
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\0'..' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

impl std::fmt::Display for Json {
    /// As PostgreSQL writes `jsonb`; `{:#}` as a text has it: no spaces, and no short escapes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (comma, colon) = if f.alternate() {
            (",", ":")
        } else {
            (", ", ": ")
        };
        let between = |index: usize| if index > 0 { comma } else { "" };
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => f.write_str(number),
            Self::Text(text) => quote(f, text, !f.alternate()),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(between(index))?;
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Self::Object(fields) => {
                f.write_str("{")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    f.write_str(between(index))?;
                    quote(f, name, !f.alternate())?;
                    f.write_str(colon)?;
                    value.fmt(f)?;
                }
                f.write_str("}")
            }
        }
    }
}

/// Goes through a text.
struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn takes(&mut self, word: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > 2 * DEPTH_MAX {
            return None;
        }
        self.blank();
        match self.rest.as_bytes().first()? {
            b'n' => self.takes("null").map(|()| Json::Null),
            b't' => self.takes("true").map(|()| Json::Bool(true)),
            b'f' => self.takes("false").map(|()| Json::Bool(false)),
            b'"' => self.text().map(Json::Text),
            b'[' => self.list(depth),
            b'{' => self.object(depth),
            _ => {
                let end = self
                    .rest
                    .find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c)));
                let (number, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                Decimal::read(number)?;
                self.rest = rest;
                Some(Json::Number(number.to_owned()))
            }
        }
    }

    fn list(&mut self, depth: usize) -> Option<Json> {
        self.takes("[")?;
        let mut items = Vec::new();
        self.blank();
        if self.takes("]").is_some() {
            return Some(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blank();
            if self.takes("]").is_some() {
                return Some(Json::List(items));
            }
            self.takes(",")?;
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.takes("{")?;
        let mut fields = Vec::new();
        self.blank();
        if self.takes("}").is_some() {
            return Some(Json::Object(fields));
        }
        loop {
            self.blank();
            let name = self.text()?;
            self.blank();
            self.takes(":")?;
            fields.push((name, self.value(depth + 1)?));
            self.blank();
            if self.takes("}").is_some() {
                return Some(Json::Object(fields));
            }
            self.takes(",")?;
        }
    }

    fn text(&mut self) -> Option<String> {
        let bytes = self.rest.as_bytes();
        if bytes.first() != Some(&b'"') {
            return None;
        }
        let mut end = 1;
        while *bytes.get(end)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let (quoted, rest) = self.rest.split_at_checked(end + 1)?;
        self.rest = rest;
        if quoted.contains('\\') {
            return serde_json::from_str(quoted).ok();
        }
        Some(quoted[1..end].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let written = r#"{"a": [1, 2.50, -3e2, null, true, {}], "b\"\u0001": "ü\n", "c": []}"#;
        assert_eq!(Json::read(written).unwrap().to_string(), written);
        for none in ["", "{", "[1,]", "{\"a\"}", "nul", "1 2", "\"a"] {
            assert_eq!(Json::read(none), None, "{none}");
        }
    }

    #[test]
    fn one_form_for_equal_values() {
        let settled = |text: &str| Json::read(text).unwrap().settled();
        assert_eq!(
            settled(r#"{"b":1.0,"a":100}"#),
            settled(r#"{"a":1e2,"b":1}"#)
        );
        assert_ne!(settled("0.1"), settled("0.10000000000000000001"));
        assert_ne!(settled("[1,2]"), settled("[2,1]"));
    }
}
