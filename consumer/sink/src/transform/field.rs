//! One field of a row in PostgreSQL's binary COPY form: a length, then as many bytes.

use super::bad::{Bad, out_of_range};

/// The field of a null: a length of -1 and nothing.
pub(super) const NULL: [u8; 4] = (-1i32).to_be_bytes();

/// A length in front of a field, or of a part of a key.
#[inline]
pub(crate) fn field_length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a record, and a value of it, is far smaller than 2 GiB")
}

/// Appends a field: its length and its bytes.
#[inline]
pub(super) fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&field_length(bytes.len()).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// What is in front of the text of `json`: nothing.
pub(super) const JSON: &[u8] = &[];
/// What is in front of the text of `jsonb`: the version of its binary form (`jsonb_recv`).
pub(super) const JSONB: &[u8] = &[1];

/// Appends a field of [`JSON`] or [`JSONB`] whose text is written by `write`.
pub(super) fn json_field(
    version: &[u8],
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), Bad>,
) -> Result<(), Bad> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(version);
    write(out)?;
    let length = i32::try_from(out.len() - start - 4).map_err(out_of_range)?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
