//! Documents as the MongoDB shell writes them, the way `docs/mapping.md` shows them:
//! `{ _id: ObjectId("…"), n: NumberDecimal("1.50"), at: ISODate("…") }`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a document that cannot be read is a failed test"
)]

use bson::{
    Binary, Bson, DateTime, Document, Regex, Timestamp, oid::ObjectId, spec::BinarySubtype,
};
use uuid::Uuid;

/// Reads a document.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn document(text: &str) -> Document {
    match value(text) {
        Bson::Document(document) => document,
        other => panic!("{other} is no document"),
    }
}

/// Reads a value.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn value(text: &str) -> Bson {
    let mut reader = Reader { rest: text.trim() };
    let value = reader.value();
    assert!(
        reader.rest.is_empty(),
        "`{}` is left of `{text}`",
        reader.rest
    );
    value
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest.trim_start();
        taken
    }

    fn next_is(&mut self, text: &str) -> bool {
        let is = self.rest.starts_with(text);
        if is {
            self.take(text.len());
        }
        is
    }

    fn expect(&mut self, text: &str) {
        assert!(
            self.next_is(text),
            "`{text}` should stand before `{}`",
            self.rest
        );
    }

    /// What follows up to a closing bracket, by commas.
    fn list<T>(&mut self, close: &str, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        while !self.next_is(close) {
            items.push(item(self));
            if !self.next_is(",") {
                self.expect(close);
                break;
            }
        }
        items
    }

    fn string(&mut self) -> String {
        let mut escaped = false;
        let end = self.rest[1..].find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        serde_json::from_str(self.take(end.unwrap() + 2)).unwrap()
    }

    fn name(&mut self) -> &'t str {
        let word = |c: char| c.is_alphanumeric() || "_$".contains(c);
        let end = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
        assert!(end > 0, "no word stands before `{}`", self.rest);
        self.take(end)
    }

    fn value(&mut self) -> Bson {
        if self.next_is("{") {
            let fields = self.list("}", |reader| {
                let name = if reader.rest.starts_with('"') {
                    reader.string()
                } else {
                    reader.name().to_owned()
                };
                reader.expect(":");
                (name, reader.value())
            });
            return Bson::Document(fields.into_iter().collect());
        }
        if self.next_is("[") {
            return Bson::Array(self.list("]", Self::value));
        }
        match self.rest.chars().next().unwrap() {
            '"' => Bson::String(self.string()),
            '/' => {
                self.expect("/");
                let end = self.rest.find('/').unwrap();
                let pattern = self.take(end);
                self.expect("/");
                let options = self.name();
                Bson::RegularExpression(Regex {
                    pattern: pattern.try_into().unwrap(),
                    options: options.try_into().unwrap(),
                })
            }
            '-' | '0'..='9' => {
                let number = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
                let end = self.rest.find(|c| !number(c)).unwrap_or(self.rest.len());
                number_of(self.take(end))
            }
            _ => {
                let name = self.name();
                if self.next_is("(") {
                    made(name, &self.list(")", Self::value))
                } else {
                    word(name)
                }
            }
        }
    }
}

fn number_of(text: &str) -> Bson {
    if let Ok(small) = text.parse::<i32>() {
        return Bson::Int32(small);
    }
    match text {
        "-Infinity" => Bson::Double(f64::NEG_INFINITY),
        text => Bson::Double(text.parse().unwrap()),
    }
}

fn word(name: &str) -> Bson {
    match name {
        "true" => Bson::Boolean(true),
        "false" => Bson::Boolean(false),
        "null" => Bson::Null,
        "undefined" => Bson::Undefined,
        "NaN" => Bson::Double(f64::NAN),
        "Infinity" => Bson::Double(f64::INFINITY),
        other => panic!("`{other}` is no value"),
    }
}

fn made(name: &str, arguments: &[Bson]) -> Bson {
    let text = |at: usize| arguments[at].as_str().unwrap();
    let small = |at: usize| u32::try_from(arguments[at].as_i32().unwrap()).unwrap();
    match name {
        "ObjectId" => Bson::ObjectId(ObjectId::parse_str(text(0)).unwrap()),
        "ISODate" => {
            let midnight = if text(0).contains('T') {
                ""
            } else {
                "T00:00:00Z"
            };
            let time = format!("{}{midnight}", text(0));
            Bson::DateTime(DateTime::parse_rfc3339_str(time).unwrap())
        }
        "Date" => Bson::DateTime(DateTime::from_millis(text(0).parse().unwrap())),
        "Long" => Bson::Int64(text(0).parse().unwrap()),
        "NumberDecimal" => Bson::Decimal128(text(0).parse().unwrap()),
        "UUID" => binary(4, Uuid::parse_str(text(0)).unwrap().as_bytes()),
        "HexData" => {
            let digits = text(1).as_bytes().chunks(2);
            let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
            binary(
                u8::try_from(small(0)).unwrap(),
                &digits.map(pair).collect::<Vec<_>>(),
            )
        }
        "Timestamp" => Bson::Timestamp(Timestamp {
            time: small(0),
            increment: small(1),
        }),
        "Symbol" => Bson::Symbol(text(0).to_owned()),
        "Code" => match arguments.get(1) {
            None => Bson::JavaScriptCode(text(0).to_owned()),
            Some(scope) => Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
                code: text(0).to_owned(),
                scope: scope.as_document().unwrap().clone(),
            }),
        },
        "DBPointer" => {
            let id = arguments[1].as_object_id().unwrap().to_hex();
            let json =
                serde_json::json!({ "$dbPointer": { "$ref": text(0), "$id": { "$oid": id } } });
            Bson::try_from(json).unwrap()
        }
        "MinKey" => Bson::MinKey,
        "MaxKey" => Bson::MaxKey,
        other => panic!("`{other}` makes nothing"),
    }
}

fn binary(subtype: u8, bytes: &[u8]) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::from(subtype),
        bytes: bytes.to_vec(),
    })
}
