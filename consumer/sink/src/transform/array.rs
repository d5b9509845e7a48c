//! PostgreSQL arrays of one dimension, in the binary form of `array_recv`
//! (`src/backend/utils/adt/arrayfuncs.c`): dimensions, whether there is a null, the element's type,
//! then per dimension its length and lower bound, then the elements as fields.

use super::{
    bad::{Bad, out_of_range, wrong},
    bson_type::is_null,
    field::NULL,
};
use bson::RawBsonRef;

/// Appends the field of an array without elements, of whose type this is the OID: `array_recv` compares
/// it with the column's.
pub(super) fn empty(element: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&12i32.to_be_bytes());
    head(0, element, out);
}

fn head(dimensions: i32, element: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&0i32.to_be_bytes());
    out.extend_from_slice(&element.to_be_bytes());
}

/// Appends the field of a BSON array whose elements are of the type with this OID. A null stays a null among them;
/// `encode_element` appends the field of each other one.
pub(super) fn encode(
    element: u32,
    value: RawBsonRef<'_>,
    out: &mut Vec<u8>,
    encode_element: impl Fn(RawBsonRef<'_>, &mut Vec<u8>) -> Result<(), Bad>,
) -> Result<(), Bad> {
    let RawBsonRef::Array(elements) = value else {
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
        } else {
            encode_element(item, out)?;
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
