//! Documents made of any bytes: every BSON type, with the values at which readers differ.

use arbitrary::{Result, Unstructured};
use bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp,
    oid::ObjectId, spec::BinarySubtype,
};

const NAMES: [&str; 14] = [
    "_id", "a", "b", "x", "y", "l", "m", "u", "kind", "", "a.x", "$oid", "0", "é\u{0}",
];
const TEXTS: [&str; 40] = [
    "",
    " ",
    "a",
    "abcdef",
    "äöü€𝄞x",
    "a\u{0}b",
    "\u{0}",
    "12",
    " 12.50 ",
    "-0",
    "1e400",
    "-1e-400",
    "0e99999999999",
    "NaN",
    "-Infinity",
    "inf",
    "9223372036854775808",
    "0x10",
    "1_000",
    "true",
    " Yes ",
    "off",
    "t",
    "2025-01-15",
    "2025-01-15T10:00:00.123456Z",
    "2025-02-30",
    "0000-01-01",
    "294277-01-01",
    "2025-06-30T23:59:60Z",
    "2025-01-15T12:00:00+02:00",
    "23:59",
    "24:00",
    "23:59:59.9999999",
    "550e8400-e29b-41d4-a716-446655440000",
    "{550E8400E29B41D4A716446655440000}",
    "507f1f77bcf86cd799439011",
    "film",
    "book",
    "expert",
    "\u{feff}\\\"{},",
];
const DOUBLES: [f64; 22] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    0.5,
    1.5,
    2.675,
    1e15,
    1e16,
    9_007_199_254_740_993.0,
    9.3e18,
    -9.3e18,
    1e38,
    3.5e38,
    1e-46,
    1e308,
    5e-324,
    99_999.995,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];
const LONGS: [i64; 18] = [
    0,
    1,
    -1,
    2,
    32_767,
    32_768,
    -32_769,
    2_147_483_648,
    9_007_199_254_740_993,
    1_736_899_200,
    1_736_899_200_000,
    253_402_300_800,
    253_402_300_800_000,
    -62_135_596_800_001,
    9_224_318_016_000_000,
    -210_866_803_200_001,
    i64::MAX,
    i64::MIN,
];

/// A document with an `_id`, whose fields have these names more often than others.
///
/// # Errors
/// When the bytes are used up.
pub fn document(from: &mut Unstructured<'_>, names: &[String]) -> Result<Document> {
    let mut document = fields(from, names, 0)?;
    if !document.contains_key("_id") {
        document.insert("_id", value(from, names, 3)?);
    }
    Ok(document)
}

fn fields(from: &mut Unstructured<'_>, names: &[String], depth: usize) -> Result<Document> {
    let mut document = Document::new();
    for _ in 0..from.int_in_range(0..=6)? {
        let name = if names.is_empty() || from.ratio(1, 5)? {
            (*from.choose(&NAMES)?).to_owned()
        } else {
            from.choose(names)?.clone()
        };
        // A name of BSON ends at its NUL.
        let name = name.replace('\0', "");
        document.insert(name, value(from, names, depth + 1)?);
    }
    Ok(document)
}

fn value(from: &mut Unstructured<'_>, names: &[String], depth: usize) -> Result<Bson> {
    let nested = if depth < 4 { 5 } else { 0 };
    Ok(match from.int_in_range(0..=22 + nested)? {
        0 => Bson::Double(*from.choose(&DOUBLES)?),
        1 => Bson::Double(from.arbitrary()?),
        2 | 3 => Bson::String((*from.choose(&TEXTS)?).to_owned()),
        4 => Bson::String(from.arbitrary::<&str>()?.to_owned()),
        5 => Bson::Int64(*from.choose(&LONGS)?),
        6 => Bson::Int64(from.arbitrary()?),
        7 => Bson::Int32(from.arbitrary()?),
        8 => Bson::Int32(from.int_in_range(-3..=3)?),
        9 => Bson::Boolean(from.arbitrary()?),
        10 => Bson::Null,
        11 => Bson::Undefined,
        12 => Bson::ObjectId(ObjectId::from_bytes(from.arbitrary()?)),
        13 => Bson::DateTime(DateTime::from_millis(*from.choose(&LONGS)?)),
        14 => Bson::DateTime(DateTime::from_millis(
            from.int_in_range(-400_000_000_000_000..=10_000_000_000_000_000)?,
        )),
        15 => Bson::Decimal128(Decimal128::from_bytes(from.arbitrary()?)),
        16 => {
            let text = from.choose(&TEXTS)?.trim();
            let decimal = text.parse::<Decimal128>();
            decimal.map_or(Bson::MinKey, Bson::Decimal128)
        }
        17 => Bson::Binary(Binary {
            subtype: BinarySubtype::from(*from.choose(&[0, 2, 3, 4, 5, 0x80])?),
            bytes: from.arbitrary::<&[u8]>()?.to_vec(),
        }),
        18 => {
            let subtype = *from.choose(&[BinarySubtype::Uuid, BinarySubtype::UuidOld])?;
            let bytes = from.arbitrary::<[u8; 16]>()?.to_vec();
            Bson::Binary(Binary { subtype, bytes })
        }
        19 => Bson::Timestamp(Timestamp {
            time: from.arbitrary()?,
            increment: from.arbitrary()?,
        }),
        20 => Bson::Symbol((*from.choose(&TEXTS)?).to_owned()),
        21 => odd(from, names)?,
        22 => Bson::MaxKey,
        23..=25 => Bson::Document(fields(from, names, depth)?),
        _ => {
            let mut array = Vec::new();
            for _ in 0..from.int_in_range(0..=5)? {
                array.push(value(from, names, depth + 1)?);
            }
            Bson::Array(array)
        }
    })
}

/// Types that hardly any document has.
fn odd(from: &mut Unstructured<'_>, names: &[String]) -> Result<Bson> {
    let text = from.choose(&TEXTS)?.replace('\0', "");
    Ok(match from.int_in_range(0..=3)? {
        0 => match (text.as_str().try_into(), "im".try_into()) {
            (Ok(pattern), Ok(options)) => Bson::RegularExpression(Regex { pattern, options }),
            _ => Bson::Null,
        },
        1 => Bson::JavaScriptCode(text),
        2 => Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope {
            code: text,
            scope: fields(from, names, 4)?,
        }),
        _ => Bson::MinKey,
    })
}
