//! CEL expressions (`expression:`, `where:`), evaluated on a document or an element.
//!
//! Only the fields that an expression names are turned into CEL's values. CEL always ends, but
//! macros within macros multiply, so what goes in is limited by how deep they stand: what would
//! take too long is refused beforehand, and so is what is too large. Whatever goes wrong is the
//! data's own: it would go wrong again.

use super::{bad::Bad, bson_type, extjson};
use bson::{Bson, RawBsonRef, RawDocument};
use cel::{Context, Env, ExecutionError, Value, objects::Key};
use leafcutter_schemas::{
    expression::{self, Expression},
    mapping::{PgType, Policy},
};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

/// The steps that one evaluation may take, each a comparison at least: about a second.
const STEPS_MAX: u64 = 100_000_000;
/// The values that one evaluation takes in or gives, whatever it does with them.
const VALUES_MAX: u64 = 100_000;
/// The bytes of text and binary that one evaluation takes in.
const BYTES_MAX: usize = 1 << 20;
/// As deep as MongoDB nests.
const DEPTH_MAX: usize = 250;

/// CEL's own functions and no others.
static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// An expression, compiled.
#[derive(Debug)]
pub struct Program {
    expression: Expression,
    text: String,
    values_max: u64,
}

/// Compiles an expression.
///
/// # Errors
/// Why it is none, which a checked mapping rules out.
pub fn compile(text: &str) -> Result<Program, String> {
    let expression = expression::read(text).map_err(|refused| refused.message)?;
    // A loop over n values takes n steps, and each may look a value up in a list of n.
    let values_max = match expression.loops {
        0 => VALUES_MAX,
        loops => root(STEPS_MAX, loops + 1).min(VALUES_MAX),
    };
    Ok(Program {
        expression,
        text: text.to_owned(),
        values_max,
    })
}

/// The largest number whose power is not over `most`.
fn root(most: u64, power: u32) -> u64 {
    let fits = |n: u64| n.checked_pow(power).is_some_and(|steps| steps <= most);
    (1..).take_while(|&n| fits(n)).last().unwrap_or(1)
}

impl Program {
    /// Whether the condition holds for a document or an element.
    pub(super) fn condition(&self, source: RawBsonRef<'_>) -> Result<bool, Bad> {
        match self.run(source)? {
            Value::Bool(holds) => Ok(holds),
            other => fail(format!("it gives {}, not a boolean", other.type_of())),
        }
    }

    /// The value for a document or an element.
    pub(super) fn value(&self, source: RawBsonRef<'_>) -> Result<Bson, Bad> {
        let mut left = VALUES_MAX;
        to_bson(self.run(source)?, &mut left, 0)
    }

    fn run(&self, source: RawBsonRef<'_>) -> Result<Value, Bad> {
        let mut intake = Intake {
            values: self.values_max,
            bytes: BYTES_MAX,
        };
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        if self.expression.id {
            let id = match source {
                RawBsonRef::Document(document) => {
                    document.get("_id").map_err(|_| Bad::Malformed)?
                }
                _ => None,
            };
            let id = id.map_or(Ok(Value::Null), |id| intake.value(id, 0))?;
            context.add_variable_from_value("id", id);
        }
        let doc = match (&self.expression.fields, source) {
            (Some(names), RawBsonRef::Document(document)) => {
                intake.object(document, &|name| names.contains(name), 0)?
            }
            (_, source) => intake.value(source, 0)?,
        };
        context.add_variable_from_value("doc", doc);
        let result = self.expression.program.execute(&context);
        result.or_else(|error| fail(said(&error, &self.text)))
    }
}

fn fail<T>(message: String) -> Result<T, Bad> {
    Err(Bad::Expression(message))
}

/// What went wrong in the expression `text`, without the document's contents: a key that is looked up may
/// be one of its values.
fn said(error: &ExecutionError, text: &str) -> String {
    match error {
        ExecutionError::NoSuchKey(name) if text.contains(name.as_str()) => {
            format!("there is no field `{name}`")
        }
        ExecutionError::NoSuchKey(_) => "there is no field of that name".to_owned(),
        ExecutionError::NoSuchOverload(overload) => overload.to_string(),
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}`"),
        ExecutionError::UnexpectedType { got, want } => format!("{got} where {want} should be"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(operator, ..) => format!("`{operator}` is out of range"),
        ExecutionError::IndexOutOfBounds(_) => "a position outside a list".to_owned(),
        ExecutionError::FunctionError { function, .. } => format!("`{function}` cannot take it"),
        ExecutionError::InvalidArgumentCount { expected, actual } => {
            format!("{actual} arguments where there should be {expected}")
        }
        _ => "an operation on values that it does not take".to_owned(),
    }
}

/// How much more an evaluation takes in.
struct Intake {
    values: u64,
    bytes: usize,
}

impl Intake {
    fn count(&mut self, bytes: usize) -> Result<(), Bad> {
        match (self.values.checked_sub(1), self.bytes.checked_sub(bytes)) {
            (Some(values), Some(left)) => {
                (self.values, self.bytes) = (values, left);
                Ok(())
            }
            _ => fail("the document is too large for it".to_owned()),
        }
    }

    /// Of two fields of one name the first counts, as everywhere.
    fn object(
        &mut self,
        document: &RawDocument,
        wanted: &dyn Fn(&str) -> bool,
        depth: usize,
    ) -> Result<Value, Bad> {
        let mut map: HashMap<Key, Value> = HashMap::new();
        for element in document.iter_elements() {
            let element = element.map_err(|_| Bad::Malformed)?;
            let name = element.key().as_str();
            if !wanted(name) {
                continue;
            }
            self.count(name.len())?;
            let value = element.value().map_err(|_| Bad::Malformed)?;
            let value = self.value(value, depth + 1)?;
            map.entry(Key::from(name)).or_insert(value);
        }
        Ok(Value::from(map))
    }

    fn value(&mut self, value: RawBsonRef<'_>, depth: usize) -> Result<Value, Bad> {
        if depth > DEPTH_MAX {
            return Err(Bad::TooDeep);
        }
        let bytes = match value {
            RawBsonRef::String(text) | RawBsonRef::Symbol(text) => text.len(),
            RawBsonRef::Binary(binary) => binary.bytes.len(),
            _ => 0,
        };
        self.count(bytes)?;
        Ok(match value {
            RawBsonRef::Double(n) => Value::Float(n),
            RawBsonRef::String(text) | RawBsonRef::Symbol(text) => Value::from(text),
            RawBsonRef::Array(array) => {
                let items = array
                    .into_iter()
                    .map(|item| self.value(item.map_err(|_| Bad::Malformed)?, depth + 1));
                Value::List(Arc::new(items.collect::<Result<_, Bad>>()?))
            }
            RawBsonRef::Document(document) => self.object(document, &|_| true, depth)?,
            RawBsonRef::Boolean(b) => Value::Bool(b),
            RawBsonRef::Null | RawBsonRef::Undefined => Value::Null,
            RawBsonRef::Int32(n) => Value::Int(n.into()),
            RawBsonRef::Int64(n) => Value::Int(n),
            RawBsonRef::Binary(binary) if bson_type::is_uuid(binary.subtype) => {
                match uuid::Uuid::from_slice(binary.bytes) {
                    Ok(uuid) => Value::from(uuid.to_string()),
                    Err(_) => Value::from(binary.bytes.to_vec()),
                }
            }
            RawBsonRef::Binary(binary) => Value::from(binary.bytes.to_vec()),
            RawBsonRef::ObjectId(id) => Value::from(id.to_hex()),
            RawBsonRef::DateTime(at) => {
                let at = chrono::DateTime::from_timestamp_millis(at.timestamp_millis());
                Value::Timestamp(at.ok_or(Bad::OutOfRange)?.fixed_offset())
            }
            // CEL has no decimals: as text nothing is lost, and `double()` makes a number of it.
            RawBsonRef::Decimal128(n) => Value::from(n.to_string()),
            RawBsonRef::RegularExpression(_)
            | RawBsonRef::JavaScriptCode(_)
            | RawBsonRef::JavaScriptCodeWithScope(_)
            | RawBsonRef::Timestamp(_)
            | RawBsonRef::MaxKey
            | RawBsonRef::MinKey
            | RawBsonRef::DbPointer(_) => {
                let mut json = Vec::new();
                let form = extjson::Form::of(PgType::Json, Policy::Truncate);
                extjson::write_at(&mut json, value, form, depth)?;
                Value::from(String::from_utf8(json).map_err(|_| Bad::Malformed)?)
            }
        })
    }
}

/// The BSON of a result, which the column then takes like one at a path.
fn to_bson(result: Value, left: &mut u64, depth: usize) -> Result<Bson, Bad> {
    *left = left
        .checked_sub(1)
        .filter(|_| depth <= DEPTH_MAX)
        .ok_or_else(|| Bad::Expression("it gives too much".to_owned()))?;
    Ok(match result {
        Value::Int(n) => Bson::Int64(n),
        Value::UInt(n) => match i64::try_from(n) {
            Ok(n) => Bson::Int64(n),
            Err(_) => Bson::Decimal128(n.to_string().parse().map_err(|_| Bad::OutOfRange)?),
        },
        Value::Float(n) => Bson::Double(n),
        Value::String(text) => Bson::String(Arc::unwrap_or_clone(text)),
        Value::Bytes(bytes) => Bson::Binary(bson::Binary {
            subtype: bson::spec::BinarySubtype::Generic,
            bytes: Arc::unwrap_or_clone(bytes),
        }),
        Value::Bool(b) => Bson::Boolean(b),
        Value::Null => Bson::Null,
        Value::Timestamp(at) => {
            if at.timestamp_subsec_nanos() % 1_000_000 != 0 {
                return fail("it gives a time finer than milliseconds".to_owned());
            }
            Bson::DateTime(bson::DateTime::from_millis(at.timestamp_millis()))
        }
        Value::List(items) => {
            let items = Arc::unwrap_or_clone(items).into_iter();
            let items = items.map(|item| to_bson(item, left, depth + 1));
            Bson::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Map(map) => {
            let mut document = bson::Document::new();
            // The map has no order of its own.
            let mut fields: Vec<_> = map.map.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            for (name, item) in fields {
                let name = match name {
                    Key::String(name) => name.as_str().to_owned(),
                    Key::Int(n) => n.to_string(),
                    Key::Uint(n) => n.to_string(),
                    Key::Bool(b) => b.to_string(),
                };
                if name.contains('\0') {
                    return Err(Bad::Nul);
                }
                document.insert(name, to_bson(item.clone(), left, depth + 1)?);
            }
            Bson::Document(document)
        }
        other => return fail(format!("it gives {}", other.type_of())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{RawDocumentBuf, doc, oid::ObjectId};
    use std::time::{Duration, Instant};

    fn raw(document: &bson::Document) -> RawDocumentBuf {
        RawDocumentBuf::try_from(document).unwrap()
    }

    fn value(text: &str, document: &bson::Document) -> Result<Bson, Bad> {
        compile(text)
            .unwrap()
            .value(RawBsonRef::Document(&raw(document)))
    }

    #[test]
    fn values_come_in_and_go_out_as_they_are() {
        let id = ObjectId::parse_str("65a1f0c2e13f4b0012345678").unwrap();
        let at = bson::DateTime::from_millis(1_736_899_200_123);
        let decimal: bson::Decimal128 = "1.50".parse().unwrap();
        let uuid = bson::Uuid::parse_str("00010203-0405-0607-0809-0a0b0c0d0e0f").unwrap();
        let document = doc! {
            "_id": id, "int": 1, "long": i64::MAX, "double": 0.1, "text": "ä", "no": Bson::Null,
            "at": at, "decimal": decimal, "uuid": uuid, "list": [1, "a"], "of": { "b": 1, "a": 2 },
            "min": Bson::MinKey,
        };
        for (text, expected) in [
            ("id", Bson::from(id.to_hex())),
            ("doc._id", Bson::from(id.to_hex())),
            ("doc.int", Bson::Int64(1)),
            ("doc.long", Bson::Int64(i64::MAX)),
            (
                "uint(doc.long) + 1u",
                Bson::Decimal128("9223372036854775808".parse().unwrap()),
            ),
            ("doc.double", Bson::Double(0.1)),
            ("doc.text + 'b'", Bson::from("äb")),
            ("doc.no", Bson::Null),
            ("doc.at", Bson::DateTime(at)),
            ("doc.at.getFullYear()", Bson::Int64(2025)),
            ("doc.decimal", Bson::from("1.50")),
            ("double(doc.decimal)", Bson::Double(1.5)),
            ("doc.uuid", Bson::from(uuid.to_string())),
            (
                "doc.list",
                Bson::from(vec![Bson::Int64(1), Bson::from("a")]),
            ),
            ("doc.of", Bson::from(doc! { "a": 2i64, "b": 1i64 })),
            ("doc.min", Bson::from("{\"$minKey\":1}")),
            ("size(doc)", Bson::Int64(12)),
        ] {
            assert_eq!(value(text, &document), Ok(expected), "{text}");
        }
        let element = compile("doc + 1").unwrap().value(RawBsonRef::Int32(1));
        assert_eq!(element, Ok(Bson::Int64(2)));
    }

    #[test]
    fn what_fails_is_told_without_the_contents() {
        let document = doc! { "secret": "s3cret", "n": i64::MAX, "zero": 0 };
        for text in [
            "doc.missing",
            "doc.secret + 1",
            "doc.n + 1",
            "doc.n / doc.zero",
            "doc.secret.getFullYear()",
            "int(doc.secret)",
            "[1][5]",
            "doc.secret.matches('(')",
            "timestamp('2025-01-15T10:00:00.123456Z')",
            "duration('1s')",
        ] {
            match value(text, &document) {
                Err(Bad::Expression(why)) => assert!(!why.contains("s3cret"), "{text}: {why}"),
                other => panic!("{text} gives {other:?}"),
            }
        }
    }

    #[test]
    fn conditions_are_booleans() {
        let document = raw(&doc! { "kind": "a", "n": 1 });
        let holds = |text: &str| {
            let source = RawBsonRef::Document(&document);
            compile(text).unwrap().condition(source)
        };
        assert_eq!(holds("doc.kind == 'a' && doc.n > 0"), Ok(true));
        assert_eq!(holds("doc.kind in ['b', 'c']"), Ok(false));
        assert_eq!(holds("has(doc.other)"), Ok(false));
        assert!(matches!(holds("doc.n"), Err(Bad::Expression(_))));
    }

    #[test]
    fn what_would_take_too_long_is_refused_and_the_rest_ends_soon() {
        let list = |length: i32| doc! { "l": (0..length).collect::<Vec<_>>() };
        let once = "doc.l.map(x, x + 1).size()";
        let twice = "doc.l.all(x, doc.l.all(y, x + y >= 0))";
        for (text, fits) in [(once, 9_990), (twice, 460)] {
            let began = Instant::now();
            assert!(value(text, &list(fits)).is_ok(), "{text}");
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{:?}",
                began.elapsed()
            );
            let refused = value(text, &list(10 * fits));
            assert!(
                matches!(refused, Err(Bad::Expression(_))),
                "{text}: {refused:?}"
            );
        }
        let long = doc! { "t": "x".repeat(BYTES_MAX + 1), "n": 1 };
        assert!(matches!(value("doc.t", &long), Err(Bad::Expression(_))));
        // What is not named does not count.
        assert_eq!(value("doc.n", &long), Ok(Bson::Int64(1)));
    }

    #[test]
    fn documents_without_end_are_refused() {
        let mut inner = RawDocumentBuf::new();
        for _ in 0..20_000 {
            let mut outer = RawDocumentBuf::new();
            outer.append(bson::cstr!("a"), inner);
            inner = outer;
        }
        let found = compile("doc.a")
            .unwrap()
            .value(RawBsonRef::Document(&inner));
        assert_eq!(found, Err(Bad::TooDeep));
    }
}
