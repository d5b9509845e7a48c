//! `{ _id: … }` of a document, byte for byte, whatever the bytes are.
//!
//! MongoDB checks the structure of what it stores, and not its text: old drivers wrote Latin-1 where
//! UTF-8 belongs, in values and in the names of fields. The BSON library gives such an element up, and
//! with a name also all that follows it. Yet such a document has to be told apart from others, looked
//! up and carried, so its `_id` is cut out of it by lengths alone here. It takes a document that is
//! whole in structure; of any other it says that there is no `_id`, and it reads beyond no end.

use bson::{RawDocument, RawDocumentBuf, spec::ElementType};

/// The type of an array.
const ARRAY: u8 = 4;

/// An element, unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// The byte that says its type.
    pub kind: u8,
    /// Its name, without the NUL.
    pub name: &'a [u8],
    /// The bytes of its value.
    pub value: &'a [u8],
}

impl Element<'_> {
    /// The value in a document of its own, as field `v`, where the library can read it or not.
    pub fn value(&self) -> Option<RawDocumentBuf> {
        of_one("v", self.kind, self.value)
    }
}

/// The elements of a document or an array, up to the first that is not whole.
pub fn elements(document: &RawDocument) -> Elements<'_> {
    let bytes = document.as_bytes();
    let end = bytes.len().saturating_sub(1);
    Elements {
        rest: bytes.get(4..end).unwrap_or_default(),
    }
}

/// See [`elements`].
#[derive(Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Elements<'a> {
    /// The name of the element that is not whole, or what there is of it, when all before it were given; `None` where all
    /// are whole.
    pub fn broken(&self) -> Option<&'a [u8]> {
        let (_, behind) = self.rest.split_first()?;
        Some(split_text(behind).map_or(behind, |(name, _)| name))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (&kind, behind) = self.rest.split_first()?;
        let (name, behind) = split_text(behind)?;
        let size = value_size(kind, behind)?;
        let (value, behind) = behind.split_at_checked(size)?;
        self.rest = behind;
        Some(Element { kind, name, value })
    }
}

/// `{ _id: … }`, the form of a document key in the envelope; `None` where there is no `_id`.
pub fn key_document(document: &RawDocument) -> Option<RawDocumentBuf> {
    let found = elements(document).find(|element| element.name == b"_id")?;
    of_one("_id", found.kind, found.value)
}

/// `{ <operator>: [ … ] }` of the values of key documents; `None` where it would be too large.
pub fn array_of(operator: &str, key_documents: &[&RawDocument]) -> Option<RawDocumentBuf> {
    let mut bytes = vec![0; 4];
    let values = key_documents.iter().filter_map(|key| elements(key).next());
    for (number, id) in values.enumerate() {
        bytes.push(id.kind);
        bytes.extend_from_slice(number.to_string().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(id.value);
    }
    bytes.push(0);
    let size = i32::try_from(bytes.len()).ok()?.to_le_bytes();
    bytes.splice(..4, size);
    of_one(operator, ARRAY, &bytes)
}

/// A document of one element; `None` where it would be larger than BSON allows.
fn of_one(name: &str, kind: u8, value: &[u8]) -> Option<RawDocumentBuf> {
    let size = 4 + 1 + name.len() + 1 + value.len() + 1;
    let mut bytes = Vec::with_capacity(size);
    bytes.extend_from_slice(&i32::try_from(size).ok()?.to_le_bytes());
    bytes.push(kind);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(value);
    bytes.push(0);
    RawDocumentBuf::from_bytes(bytes).ok()
}

fn split_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// How many bytes the value takes that `bytes` begins with (BSON specification, version 1.1).
fn value_size(kind: u8, bytes: &[u8]) -> Option<usize> {
    let length = || {
        let first = bytes.first_chunk::<4>()?;
        usize::try_from(i32::from_le_bytes(*first)).ok()
    };
    Some(match ElementType::from(kind)? {
        ElementType::Null | ElementType::Undefined | ElementType::MinKey | ElementType::MaxKey => 0,
        ElementType::Boolean => 1,
        ElementType::Int32 => 4,
        ElementType::Double
        | ElementType::Int64
        | ElementType::DateTime
        | ElementType::Timestamp => 8,
        ElementType::ObjectId => 12,
        ElementType::Decimal128 => 16,
        ElementType::String | ElementType::Symbol | ElementType::JavaScriptCode => {
            length()?.checked_add(4)?
        }
        ElementType::Binary => length()?.checked_add(5)?,
        ElementType::DbPointer => length()?.checked_add(4 + 12)?,
        // Their length counts itself.
        ElementType::EmbeddedDocument
        | ElementType::Array
        | ElementType::JavaScriptCodeWithScope => length()?.max(5),
        ElementType::RegularExpression => {
            let (pattern, behind) = split_text(bytes)?;
            let (options, _) = split_text(behind)?;
            pattern.len() + 1 + options.len() + 1
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, doc, rawdoc};

    #[test]
    fn the_id_is_found_among_elements_of_every_type() {
        let every = [
            Bson::Null,
            Bson::Undefined,
            Bson::MinKey,
            Bson::MaxKey,
            Bson::Boolean(true),
            Bson::Int32(1),
            Bson::Int64(1),
            Bson::Double(1.0),
            Bson::DateTime(bson::DateTime::from_millis(1)),
            Bson::Timestamp(bson::Timestamp {
                time: 1,
                increment: 2,
            }),
            Bson::ObjectId(bson::oid::ObjectId::new()),
            Bson::Decimal128("1.5".parse().unwrap()),
            Bson::String("text".into()),
            Bson::Symbol("text".into()),
            Bson::JavaScriptCode("code".into()),
            Bson::Binary(bson::Binary {
                subtype: bson::spec::BinarySubtype::UserDefined(200),
                bytes: vec![1, 2],
            }),
            Bson::Document(doc! { "a": { "b": [1, 2] } }),
            Bson::Array(vec![Bson::from(1)]),
            Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
                code: "code".into(),
                scope: doc! { "a": 1 },
            }),
            Bson::RegularExpression(bson::Regex {
                pattern: "a".try_into().unwrap(),
                options: "i".try_into().unwrap(),
            }),
        ];
        for before in every {
            let expected = doc! { "_id": before.clone() };
            let document = doc! { "a": before.clone(), "_id": before, "b": 1 };
            let document = RawDocumentBuf::try_from(&document).unwrap();
            let found = key_document(&document).unwrap();
            assert_eq!(found, RawDocumentBuf::try_from(&expected).unwrap());
        }
        assert_eq!(key_document(&rawdoc! { "a": { "_id": 1 } }), None);
        assert_eq!(key_document(&rawdoc! {}), None);
    }

    #[test]
    fn names_and_text_need_not_be_utf8() {
        let mut bytes = rawdoc! { "name": 1, "_id": "cafe" }.into_bytes();
        let name = bytes.windows(4).position(|at| at == b"name").unwrap();
        let text = bytes.windows(4).position(|at| at == b"cafe").unwrap();
        bytes[name] = 0xe9;
        bytes[text + 3] = 0xe9;
        let document = RawDocument::from_bytes(&bytes).unwrap();
        assert!(document.get("_id").is_err());
        let found = key_document(document).unwrap();
        assert!(found.as_bytes().ends_with(b"caf\xe9\0\0"));
        let other = rawdoc! { "_id": 7 };
        let all = array_of("$in", &[&other, &found]).unwrap();
        assert!(all.as_bytes().ends_with(b"\x021\0\x05\0\0\0caf\xe9\0\0\0"));
        let all = array_of("$in", &[&other, &other]).unwrap();
        assert_eq!(all, rawdoc! { "$in": [7, 7] });
    }

    #[test]
    fn what_is_not_whole_ends_the_elements() {
        let whole = rawdoc! { "a": { "b": "text" }, "c": bson::Regex {
            pattern: "a".try_into().unwrap(), options: "i".try_into().unwrap(),
        }, "_id": 1 };
        for at in 4..whole.as_bytes().len() - 1 {
            for byte in [0, 1, 3, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.as_bytes().to_vec();
                bytes[at] = byte;
                let document = RawDocument::from_bytes(&bytes).unwrap();
                assert!(elements(document).count() <= bytes.len());
            }
        }
    }
}
