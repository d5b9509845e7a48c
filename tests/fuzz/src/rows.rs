//! A document becomes rows twice, by code that shares nothing, and they are the same.

use crate::{
    documents,
    mappings::{Mapped, pool},
};
use arbitrary::Unstructured;
use bson::{RawDocument, RawDocumentBuf};
use leafcutter_operator::verify::{
    column_type::Kind,
    expected::{cell::Cell, rows::Refusal},
};
use leafcutter_schemas::{dead_letter::Reason, mapping::PgType};
use leafcutter_sink::{ids::RowIndex, transform::Rows};

/// The consumer's rows of a document are those that `leafcutter verify` expects, value by value; where one
/// refuses it, so does the other, for the same reason.
pub fn rows(bytes: &[u8]) {
    let mut from = Unstructured::new(bytes);
    let Ok((mapped, document)) = made(&mut from) else {
        return;
    };
    if let Ok(document) = RawDocument::from_bytes(&document) {
        compare(mapped, document);
    }
}

/// Whether both make the same of a document.
pub fn compare(mapped: &Mapped, document: &RawDocument) {
    let mut rows = Rows::default();
    let plan = &mapped.model.collections[0].plan;
    let made = plan.transform(document, &mut rows);
    let expected = mapped.plan.rows(document);
    let told = || format!("{document:?}\nthrough\n{}", mapped.text);
    match (made, expected) {
        // The consumer looks at every field; the other only at those that it needs.
        (Err(reason), _) if reason.code == "malformed" => {
            assert!(rows.is_empty(), "half a document\n{}", told());
        }
        (Ok(_), Ok(expected)) => {
            for (position, wanted) in expected.tables.iter().enumerate() {
                same(mapped, position, wanted, &rows)
                    .unwrap_or_else(|why| panic!("{why}\n{}", told()));
            }
        }
        (Err(reason), Err(refusal)) => {
            assert!(rows.is_empty(), "half a document\n{}", told());
            if mapped.is_single {
                let both = (reason.code, code(&refusal));
                assert_eq!(both.0, both.1, "{}", told());
            }
        }
        (Ok(_), Err(refusal)) => panic!("only verify refuses: {refusal:?}\n{}", told()),
        (Err(reason), Ok(_)) => panic!("only the consumer refuses: {}\n{}", said(&reason), told()),
    }
}

fn said(reason: &Reason) -> String {
    format!("{} {:?} {}", reason.code, reason.column, reason.message)
}

fn code(refusal: &Refusal) -> &'static str {
    refusal.reason
}

/// A mapping and a document, now and then with damaged bytes.
fn made(from: &mut Unstructured<'_>) -> arbitrary::Result<(&'static Mapped, Vec<u8>)> {
    let pool = pool();
    let mapped = &pool[usize::from(from.arbitrary::<u16>()?) % pool.len()];
    let damage = from.ratio(1, 8)?;
    let document = documents::document(from, &mapped.names)?;
    let Ok(document) = RawDocumentBuf::try_from(&document) else {
        return Err(arbitrary::Error::IncorrectFormat);
    };
    let mut bytes = document.into_bytes();
    if damage {
        for _ in 0..from.int_in_range(1..=3)? {
            let at = from.int_in_range(4..=bytes.len() - 1)?;
            bytes[at] = from.arbitrary()?;
        }
    }
    Ok((mapped, bytes))
}

/// Whether a table has these rows.
fn same(mapped: &Mapped, position: usize, wanted: &[Vec<Cell>], rows: &Rows) -> Result<(), String> {
    let table = &mapped.plan.tables[position].table;
    let mut found: Vec<RowIndex> = Vec::new();
    for index in rows.all() {
        let name = &mapped.model.table(rows.row(index).table).table.name;
        if *name == table.name {
            found.push(index);
        }
    }
    if found.len() != wanted.len() {
        return Err(format!(
            "{} rows of {}, expected {}",
            found.len(),
            table.name,
            wanted.len()
        ));
    }
    for (&index, wanted) in found.iter().zip(wanted) {
        for (place, (column, cell)) in table.columns.iter().zip(wanted).enumerate() {
            let field = rows.field(index, place);
            let is_same = match (field, cell) {
                (_, Cell::Parent(_) | Cell::Numbered) | (None, Cell::Null) => true,
                (Some(bytes), cell) => kind(column.pg_type).is(cell, bytes, column.pg_type),
                (None, _) => false,
            };
            if !is_same {
                let found = field.map(|bytes| kind(column.pg_type).read(bytes));
                return Err(format!(
                    "{}.{}: the consumer has {found:?} ({field:?}), verify expects {cell:?}",
                    table.name, column.name
                ));
            }
        }
    }
    Ok(())
}

/// How the binary form of a type is read.
fn kind(pg_type: PgType) -> Kind {
    Kind::of_column(pg_type).expect("verify reads every type")
}
