//! PostgreSQL arrays of one dimension, in the binary form of `array_recv`
//! (`src/backend/utils/adt/arrayfuncs.c`): dimensions, whether there is a null, the element's type,
//! then per dimension its length and lower bound, then the elements as fields.

use super::{
    Bad,
    value::{NULL, Target, is_null, out_of_range, wrong},
};
use bson::RawBsonRef;
use leafcutter_schemas::mapping::{Element, Policy};
use uuid::Uuid;

/// The OID of an element's type (`pg_type.dat`), which `array_recv` compares with the column's.
fn oid(element: Element) -> u32 {
    match element {
        Element::Bool => 16,
        Element::Bytea => 17,
        Element::Int8 => 20,
        Element::Int2 => 21,
        Element::Int4 => 23,
        Element::Text => 25,
        Element::Float4 => 700,
        Element::Float8 => 701,
        Element::Varchar(_) => 1043,
        Element::Date => 1082,
        Element::Timestamp => 1114,
        Element::Timestamptz => 1184,
        Element::Numeric(_) => 1700,
        Element::Uuid => 2950,
    }
}

/// Appends the field of an array without elements.
pub(super) fn empty(element: Element, out: &mut Vec<u8>) {
    out.extend_from_slice(&12i32.to_be_bytes());
    head(0, element, out);
}

fn head(dimensions: i32, element: Element, out: &mut Vec<u8>) {
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&0i32.to_be_bytes());
    out.extend_from_slice(&oid(element).to_be_bytes());
}

/// Appends the field of a BSON array. A null stays a null among the elements, and so becomes one
/// that does not fit under the policy `null`; an array among them is of the wrong type.
pub(super) fn encode(
    target: &Target,
    value: RawBsonRef<'_>,
    namespace: &Uuid,
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    let RawBsonRef::Array(elements) = value else {
        return wrong(&value);
    };
    let Some(element) = Element::of(target.scalar()) else {
        return wrong(&value);
    };
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    head(1, element, out);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&1i32.to_be_bytes());
    let (mut count, mut nulls) = (0i32, false);
    for item in elements {
        let item = item.map_err(|_| Bad::Malformed)?;
        let begin = out.len();
        if is_null(&item) {
            out.extend_from_slice(&NULL);
        } else if let Err(bad) = target.encode_one(item, namespace, out) {
            if target.policy(&bad) != Policy::Null {
                return Err(bad);
            }
            out.truncate(begin);
            out.extend_from_slice(&NULL);
        }
        nulls |= out[begin..] == NULL;
        count = count.checked_add(1).ok_or(Bad::OutOfRange)?;
    }
    if count == 0 {
        out.truncate(start);
        empty(element, out);
        return Ok(());
    }
    let length = i32::try_from(out.len() - start - 4).map_err(out_of_range)?;
    let mut put = |at: usize, number: i32| {
        out[start + at..start + at + 4].copy_from_slice(&number.to_be_bytes());
    };
    put(0, length);
    put(8, i32::from(nulls));
    put(16, count);
    Ok(())
}
