//! CEL expressions (`expression:`, `where:`): the documented values of BSON in CEL, and back.
//!
//! The expression's library and its reading are those of the mapping; what a document's values are in
//! it, and the limits of what it takes in, are made here from `docs/mapping.md`, "Expressions".

use super::{
    cell::Reason,
    json::{DEPTH_MAX, Form},
};
use ::cel::{Context, Env, Value, objects::Key};
use bson::{Bson, RawBsonRef, RawDocument, spec::BinarySubtype};
use leafcutter_schemas::{expression, mapping::Policy};
use std::{collections::HashMap, sync::Arc};

/// An expression that is evaluated for each document or element.
pub struct Program {
    expression: expression::Expression,
    environment: Arc<Env>,
    values: u64,
}

/// Bytes of text that one evaluation takes in.
const BYTES: usize = 1 << 20;
/// Values that it takes in, and that it gives.
const VALUES: u64 = 100_000;

impl Program {
    /// Reads an expression of a mapping that was checked.
    pub fn read(text: &str) -> Option<Self> {
        let expression = expression::read(text).ok()?;
        let values = match expression.loops {
            0 => VALUES,
            1 => 10_000,
            2 => 464,
            // The documented limits are roots of one number of steps.
            loops => {
                let fits = |n: &u64| n.checked_pow(loops + 1).is_some_and(|n| n <= 100_000_000);
                (1..).take_while(fits).last().unwrap_or(1)
            }
        };
        Some(Self {
            expression,
            environment: Arc::new(Env::stdlib()),
            values,
        })
    }

    /// Whether it is true of a document or an element.
    ///
    /// # Errors
    /// Where it fails, or gives no boolean.
    pub fn holds(&self, source: RawBsonRef<'_>) -> Result<bool, Reason> {
        match self.run(source)? {
            Value::Bool(holds) => Ok(holds),
            _ => Err("expression"),
        }
    }

    /// What it gives for a document or an element.
    ///
    /// # Errors
    /// Where it fails.
    pub fn value(&self, source: RawBsonRef<'_>) -> Result<Bson, Reason> {
        given(self.run(source)?, &mut VALUES.clone(), 0)
    }

    fn run(&self, source: RawBsonRef<'_>) -> Result<Value, Reason> {
        let mut room = Room {
            values: self.values,
            bytes: BYTES,
        };
        let mut context = Context::with_env(Arc::clone(&self.environment));
        if self.expression.id {
            let id = match source {
                RawBsonRef::Document(document) => document.get("_id").map_err(|_| "malformed")?,
                _ => None,
            };
            let id = id.map_or(Ok(Value::Null), |id| room.value(id, 0))?;
            context.add_variable_from_value("id", id);
        }
        let doc = match (&self.expression.fields, source) {
            (Some(names), RawBsonRef::Document(document)) => {
                room.object(document, &|name| names.contains(name), 0)?
            }
            (_, source) => room.value(source, 0)?,
        };
        context.add_variable_from_value("doc", doc);
        let result = self.expression.program.execute(&context);
        result.map_err(|_| "expression")
    }
}

/// What one evaluation may still take in.
struct Room {
    values: u64,
    bytes: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), Reason> {
        self.values = self.values.checked_sub(1).ok_or("expression")?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or("expression")?;
        Ok(())
    }

    fn object(
        &mut self,
        document: &RawDocument,
        wanted: &dyn Fn(&str) -> bool,
        depth: usize,
    ) -> Result<Value, Reason> {
        let mut fields: HashMap<Key, Value> = HashMap::new();
        for element in document.iter_elements() {
            let element = element.map_err(|_| "malformed")?;
            let name = element.key().as_str();
            if wanted(name) {
                self.take(name.len())?;
                let value = element.value().map_err(|_| "malformed")?;
                let value = self.value(value, depth + 1)?;
                // The first of a name counts.
                fields.entry(Key::from(name)).or_insert(value);
            }
        }
        Ok(Value::from(fields))
    }

    fn value(&mut self, value: RawBsonRef<'_>, depth: usize) -> Result<Value, Reason> {
        if depth > DEPTH_MAX {
            return Err("too-deep");
        }
        self.take(match value {
            RawBsonRef::String(text) | RawBsonRef::Symbol(text) => text.len(),
            RawBsonRef::Binary(binary) => binary.bytes.len(),
            _ => 0,
        })?;
        Ok(match value {
            RawBsonRef::Null | RawBsonRef::Undefined => Value::Null,
            RawBsonRef::Boolean(value) => Value::Bool(value),
            RawBsonRef::Int32(n) => Value::Int(n.into()),
            RawBsonRef::Int64(n) => Value::Int(n),
            RawBsonRef::Double(n) => Value::Float(n),
            RawBsonRef::String(text) | RawBsonRef::Symbol(text) => Value::from(text),
            RawBsonRef::ObjectId(id) => Value::from(id.to_hex()),
            RawBsonRef::Decimal128(n) => Value::from(n.to_string()),
            RawBsonRef::DateTime(at) => {
                let at = chrono::DateTime::from_timestamp_millis(at.timestamp_millis());
                Value::Timestamp(at.ok_or("out-of-range")?.fixed_offset())
            }
            RawBsonRef::Binary(binary) => {
                let is_uuid =
                    matches!(binary.subtype, BinarySubtype::Uuid | BinarySubtype::UuidOld);
                match uuid::Uuid::from_slice(binary.bytes) {
                    Ok(uuid) if is_uuid => Value::from(uuid.to_string()),
                    _ => Value::from(binary.bytes.to_vec()),
                }
            }
            RawBsonRef::Array(array) => {
                let mut items = Vec::new();
                for item in array {
                    items.push(self.value(item.map_err(|_| "malformed")?, depth + 1)?);
                }
                Value::List(Arc::new(items))
            }
            RawBsonRef::Document(document) => self.object(document, &|_| true, depth)?,
            other => {
                let form = Form {
                    nul: Policy::Truncate,
                    names_once: false,
                };
                Value::from(format!("{:#}", form.value(other, depth)?))
            }
        })
    }
}

/// The BSON of a result.
fn given(value: Value, left: &mut u64, depth: usize) -> Result<Bson, Reason> {
    *left = left
        .checked_sub(1)
        .filter(|_| depth <= DEPTH_MAX)
        .ok_or("expression")?;
    Ok(match value {
        Value::Null => Bson::Null,
        Value::Bool(value) => Bson::Boolean(value),
        Value::Int(n) => Bson::Int64(n),
        Value::UInt(n) => match i64::try_from(n) {
            Ok(n) => Bson::Int64(n),
            Err(_) => Bson::Decimal128(n.to_string().parse().map_err(|_| "out-of-range")?),
        },
        Value::Float(n) => Bson::Double(n),
        Value::String(text) => Bson::String(text.to_string()),
        Value::Bytes(bytes) => Bson::Binary(bson::Binary {
            subtype: BinarySubtype::Generic,
            bytes: bytes.to_vec(),
        }),
        Value::Timestamp(at) if at.timestamp_subsec_nanos() % 1_000_000 == 0 => {
            Bson::DateTime(bson::DateTime::from_millis(at.timestamp_millis()))
        }
        Value::List(items) => {
            let items = items
                .iter()
                .map(|item| given(item.clone(), left, depth + 1));
            Bson::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Map(map) => {
            let mut fields: Vec<(&Key, &Value)> = map.map.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let mut document = bson::Document::new();
            for (name, value) in fields {
                let name = match name {
                    Key::String(name) => name.to_string(),
                    Key::Int(n) => n.to_string(),
                    Key::Uint(n) => n.to_string(),
                    Key::Bool(value) => value.to_string(),
                };
                if name.contains('\0') {
                    return Err("nul");
                }
                document.insert(name, given(value.clone(), left, depth + 1)?);
            }
            Bson::Document(document)
        }
        _ => return Err("expression"),
    })
}
