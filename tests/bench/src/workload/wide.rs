//! Wide documents: 20 KB that become one row of 150 columns of six types and a `rest` of 12 KB as jsonb.
//!
//! Of the columns that may be missing one in ten is. An update changes ten columns and a part of the rest.

use crate::{
    population::{Documents, id},
    verify::Table,
};
use bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use leafcutter_harness::{dice::Dice, failure::Result};
use std::fmt::Write as _;

/// Bytes of a document on average, within a fiftieth.
const BYTES: usize = 20_000;
/// Columns beside the key and the rest.
const COLUMNS: u32 = 148;
/// Each column of this distance is changed by an update.
const CHANGED: u32 = 15;
/// Documents of the rest.
const BLOCKS: u32 = 20;
/// Words of 16 digits in a text, in each block of the rest.
const WORDS: (usize, usize) = (8, 36);
/// Arguments that a function of PostgreSQL takes are 100 at most.
const ARGUMENTS: usize = 50;
/// 2024-01-01.
const EPOCH_MILLIS: i64 = 1_704_067_200_000;

/// The wide documents of a seed.
#[derive(Debug, Clone, Copy)]
pub struct Wide {
    /// Which data.
    pub seed: u64,
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Bigint,
    Double,
    Boolean,
    Timestamp,
}

impl Kind {
    fn of(column: u32) -> Self {
        match column % 6 {
            0 | 3 => Self::Text,
            1 => Self::Integer,
            2 => Self::Double,
            4 => Self::Timestamp,
            _ if column % 12 == 5 => Self::Boolean,
            _ => Self::Bigint,
        }
    }

    fn pg_type(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Double => "double precision",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamptz",
        }
    }

    /// The column as text.
    fn sql(self, name: &str) -> String {
        match self {
            Self::Timestamp => format!("(extract(epoch from {name}) * 1000)::bigint::text"),
            Self::Text => name.to_owned(),
            Self::Integer | Self::Bigint | Self::Double | Self::Boolean => format!("{name}::text"),
        }
    }

    /// A value, and the same as the text of [`Self::sql`].
    fn value(self, dice: &mut Dice) -> (Bson, String) {
        match self {
            Self::Text => {
                let text = format!("ł{}", hex(dice, WORDS.0));
                (text.as_str().into(), text)
            }
            Self::Integer => {
                let number = dice.int(i32::MAX) - 1_000_000;
                (number.into(), number.to_string())
            }
            Self::Bigint => {
                let number = (1_i64 << 40) + i64::from(dice.int(i32::MAX));
                (number.into(), number.to_string())
            }
            Self::Double => {
                // Quarters read the same on all sides.
                let number = f64::from(dice.int(1_000_000)) / 4.0;
                (number.into(), number.to_string())
            }
            Self::Boolean => {
                let truth = dice.percent(50);
                (truth.into(), truth.to_string())
            }
            Self::Timestamp => {
                let millis = EPOCH_MILLIS + i64::from(dice.int(i32::MAX));
                (DateTime::from_millis(millis).into(), millis.to_string())
            }
        }
    }
}

fn hex(dice: &mut Dice, words: usize) -> String {
    let mut text = String::new();
    for _ in 0..words {
        // Writing to a string cannot fail.
        write!(text, "{:016x}", dice.number()).unwrap_or_default();
    }
    text
}

/// The name of a column; its field is in one of four inner documents, or at the top.
fn name(column: u32) -> String {
    format!("c{column:03}")
}

fn group(column: u32) -> Option<String> {
    (!column.is_multiple_of(5)).then(|| format!("group_{}", column % 5))
}

fn path(column: u32) -> String {
    let name = name(column);
    group(column).map_or(name.clone(), |group| format!("{group}.{name}"))
}

impl Wide {
    /// The value of a column in a document, if it has one.
    fn value(&self, number: u32, revision: u32, column: u32) -> Option<(Bson, String)> {
        let is_changed = column.is_multiple_of(CHANGED);
        let revision = if is_changed { revision } else { 0 };
        let parts = [self.seed, number.into(), column.into(), revision.into()];
        let mut dice = Dice::new(&parts);
        let is_there = is_changed || !dice.percent(10);
        is_there.then(|| Kind::of(column).value(&mut dice))
    }

    /// What an update changes of the rest.
    fn count(&self, number: u32, revision: u32) -> i32 {
        Dice::new(&[self.seed, number.into(), revision.into(), u64::MAX]).int(1_000_000)
    }

    /// A block of the rest: its name and its text.
    fn block(&self, number: u32, block: u32) -> (String, String) {
        let mut dice = Dice::new(&[self.seed, number.into(), block.into(), u64::MAX - 1]);
        (format!("x{block:02}"), hex(&mut dice, WORDS.1))
    }
}

impl Documents for Wide {
    fn mapping(&self) -> Result<String> {
        let mut text = String::from(
            "version: 1\ndatabase: wide\n\ncollections:\n  wide:\n    table: wide\n    key: id\n    columns:\n      \
             id: { path: _id, type: text, convert: text }\n",
        );
        for column in 0..COLUMNS {
            let (name, path, pg_type) = (name(column), path(column), Kind::of(column).pg_type());
            text += &format!("      {name}: {{ path: {path}, type: {pg_type} }}\n");
        }
        text += "      rest: { rest: true, type: jsonb }\n";
        Ok(text)
    }

    fn collection(&self) -> &'static str {
        "wide"
    }

    fn bytes(&self) -> usize {
        BYTES
    }

    fn tables(&self) -> Vec<Table> {
        let columns = (0..COLUMNS).map(|column| {
            let text = Kind::of(column).sql(&name(column));
            format!("coalesce({text}, '~')")
        });
        let mut texts = vec!["id".to_owned()];
        texts.extend(columns);
        texts.push("rest::text".to_owned());
        let pieces = texts.chunks(ARGUMENTS);
        let pieces: Vec<_> = pieces
            .map(|texts| format!("concat_ws('|', {})", texts.join(", ")))
            .collect();
        vec![Table {
            name: "wide",
            row: format!("concat_ws('|', {})", pieces.join(", ")),
        }]
    }

    fn document(&self, number: u32, revision: u32) -> bson::error::Result<RawDocumentBuf> {
        let mut document = doc! { "_id": id(number) };
        for column in 0..COLUMNS {
            let Some((value, _)) = self.value(number, revision, column) else {
                continue;
            };
            let Some(group) = group(column) else {
                document.insert(name(column), value);
                continue;
            };
            let inner = document.entry(group).or_insert_with(|| doc! {}.into());
            if let Some(inner) = inner.as_document_mut() {
                inner.insert(name(column), value);
            }
        }
        document.insert("count", self.count(number, revision));
        for block in 0..BLOCKS {
            let (name, text) = self.block(number, block);
            document.insert(name, doc! { "n": i64::from(block), "text": text });
        }
        RawDocumentBuf::try_from(&document)
    }

    fn update(&self, number: u32, revision: u32) -> Document {
        let mut set = doc! { "count": self.count(number, revision) };
        let changed = (0..COLUMNS).filter(|column| column.is_multiple_of(CHANGED));
        for column in changed {
            if let Some((value, _)) = self.value(number, revision, column) {
                set.insert(path(column), value);
            }
        }
        doc! { "$set": set }
    }

    fn rows(&self, number: u32, revision: u32, see: &mut dyn FnMut(usize, &str)) {
        let mut row = id(number).to_hex();
        for column in 0..COLUMNS {
            let value = self.value(number, revision, column);
            row.push('|');
            row.push_str(value.as_ref().map_or("~", |(_, text)| text));
        }
        // jsonb keeps shorter names first, and those of one length in order.
        row.push_str("|{");
        for block in 0..BLOCKS {
            let (name, text) = self.block(number, block);
            row += &format!("\"{name}\": {{\"n\": {block}, \"text\": \"{text}\"}}, ");
        }
        row += &format!("\"count\": {}}}", self.count(number, revision));
        see(0, &row);
    }

    fn disturbance(&self) -> &'static str {
        "update wide set c001 = -1, rest = '{}', lc_version = 0"
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES, COLUMNS, Kind, Wide};
    use crate::population::Documents as _;
    use leafcutter_schemas::mapping::parse;
    use std::collections::HashSet;

    const WIDE: Wide = Wide { seed: 1 };

    fn row(revision: u32) -> String {
        let mut found = String::new();
        WIDE.rows(9, revision, &mut |_, row| row.clone_into(&mut found));
        found
    }

    #[test]
    fn the_mapping_has_150_columns_of_six_types() {
        let mapping = parse::load(&WIDE.mapping().unwrap(), "mapping").unwrap();
        let tables: Vec<_> = mapping.tables().collect();
        assert_eq!(tables.len(), 1);
        assert_eq!(tables[0].1.columns.len(), 150);
        let types: HashSet<_> = (0..COLUMNS).map(|c| Kind::of(c).pg_type()).collect();
        assert_eq!(types.len(), 6);
    }

    #[test]
    fn documents_are_about_20_kb() {
        let mut sum = 0;
        for number in 0..200 {
            let bytes = WIDE.document(number, 3).unwrap().as_bytes().len();
            assert!(bytes.abs_diff(BYTES) < BYTES / 10, "{bytes}");
            sum += bytes;
        }
        assert!((sum / 200).abs_diff(BYTES) < BYTES / 50, "{}", sum / 200);
    }

    #[test]
    fn an_update_changes_ten_columns_and_a_field_of_the_rest() {
        let (before, after) = (row(0), row(1));
        let parts = before.split('|').zip(after.split('|'));
        let changed = parts.filter(|(before, after)| before != after).count();
        assert!((9..=11).contains(&changed), "{changed}");
        let update = WIDE.update(9, 1);
        assert_eq!(update.get_document("$set").unwrap().len(), 11);
        assert!(before.contains('~'), "some columns are missing");
    }
}
