//! `values`: the values that a column may have, as they stand or each as another one.

use super::{
    bad::{Bad, wrong},
    field::NULL,
    numbers,
    value::{Rule, encode_constant, encode_value},
};
use bson::RawBsonRef;
use leafcutter_schemas::{mapping, number::Number};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// The values of a column, compiled.
#[derive(Debug)]
pub(super) enum Values {
    /// The fields that are allowed.
    Listed(HashSet<Vec<u8>>),
    /// What stands for each value.
    Mapped {
        /// By text; ObjectIds by their digits, booleans as `true` and `false`.
        texts: HashMap<String, Vec<u8>>,
        /// By number, whatever its BSON type.
        numbers: HashMap<Number, Vec<u8>>,
    },
}

impl Values {
    /// Compiles the values of a column whose type and conversion are the rule's.
    pub(super) fn compile(
        values: &mapping::Values,
        rule: &Rule,
        namespace: &Uuid,
    ) -> Result<Self, Bad> {
        let encode = |text: &String| encode_constant(rule, text, namespace);
        match values {
            mapping::Values::Listed(texts) => {
                let fields: Result<_, Bad> = texts.iter().map(encode).collect();
                Ok(Self::Listed(fields?))
            }
            mapping::Values::Mapped(pairs) => {
                let (mut texts, mut numbers) = (HashMap::new(), HashMap::new());
                for (from, to) in pairs {
                    let field = to.as_ref().map_or(Ok(NULL.to_vec()), encode)?;
                    if let Some(number) = Number::parse(from) {
                        numbers.insert(number, field.clone());
                    }
                    texts.insert(from.clone(), field);
                }
                Ok(Self::Mapped { texts, numbers })
            }
        }
    }

    /// Appends what stands for a value.
    pub(super) fn encode(
        &self,
        rule: &Rule,
        value: RawBsonRef<'_>,
        namespace: &Uuid,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        match self {
            Self::Listed(fields) => {
                let start = out.len();
                encode_value(rule, value, namespace, out)?;
                if fields.contains(&out[start..]) {
                    Ok(())
                } else {
                    Err(Bad::Unlisted)
                }
            }
            Self::Mapped { texts, numbers } => {
                let field = match value {
                    RawBsonRef::String(text) | RawBsonRef::Symbol(text) => texts.get(text),
                    RawBsonRef::Boolean(true) => texts.get("true"),
                    RawBsonRef::Boolean(false) => texts.get("false"),
                    RawBsonRef::ObjectId(id) => texts.get(&id.to_hex()),
                    RawBsonRef::Int32(_)
                    | RawBsonRef::Int64(_)
                    | RawBsonRef::Double(_)
                    | RawBsonRef::Decimal128(_) => numbers.get(&numbers::number(value)?),
                    other => return wrong(&other),
                };
                out.extend_from_slice(field.ok_or(Bad::Unlisted)?);
                Ok(())
            }
        }
    }
}
