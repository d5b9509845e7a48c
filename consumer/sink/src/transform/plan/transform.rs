//! A document through the plan: its rows, root first.

use super::{
    compiled::{Fill, Plan, TablePlan},
    reasons::{Place, duplicate},
    rest::Rest,
    trie::{Found, walk},
};
use crate::{
    ids::{RowIndex, RowRange, TableId},
    transform::{
        bad::Bad,
        extjson::{self, Form},
        field::{JSONB, json_field},
        loss::Watch,
        rows::{self, Rows},
        unreadable, value,
    },
};
use bson::{RawBsonRef, RawDocument, RawDocumentBuf};
use leafcutter_schemas::{dead_letter::Reason, key::uuid_of_texts};
use std::collections::HashMap;

/// What a document became in one root table: its rows, or none where the table leaves it out.
pub type Made = (TableId, Option<RowRange>);

/// Keys of a document's rows, in tables where they may repeat, and where the rows are.
type Seen = HashMap<(usize, Vec<u8>), RowIndex>;

/// What goes along through a document's rows in one root table.
struct Along<'w, W> {
    seen: Seen,
    watch: &'w mut W,
}

impl Plan {
    /// Turns a document into its rows, which are appended to `rows`: for each root table in turn, its
    /// own row first. Gives those rows, or none where the table's filter leaves the document out.
    ///
    /// # Errors
    /// The reason for the dead letter. `rows` is left as it was.
    pub fn transform(&self, document: &RawDocument, rows: &mut Rows) -> Result<Vec<Made>, Reason> {
        self.transform_watched(document, rows, &mut ())
    }

    /// The same, and tells what values lose on their way; also of a document that is refused in the end.
    ///
    /// # Errors
    /// As [`Self::transform`].
    pub fn transform_watched<W: Watch>(
        &self,
        document: &RawDocument,
        rows: &mut Rows,
        watch: &mut W,
    ) -> Result<Vec<Made>, Reason> {
        let mark = rows.mark();
        let whole = RawBsonRef::Document(document);
        let mut made = Vec::with_capacity(self.roots.len());
        for &root in &self.roots {
            let start = rows.len();
            let mut along = Along {
                seen: Seen::new(),
                watch: &mut *watch,
            };
            let there = self
                .table_rows(root, whole, None, None, rows, &mut along)
                .inspect_err(|_| rows.reset(mark))
                .map_err(|reason| unreadable::named(reason, document))?;
            made.push((self.tables[root].id, there.then(|| rows.since(start))));
        }
        Ok(made)
    }

    /// The key of a root table's row for a document of which only the `_id` is known: a delete.
    ///
    /// # Errors
    /// Where the `_id` cannot be the key.
    pub fn root_key(
        &self,
        root: &TablePlan,
        document_key: &RawDocument,
    ) -> Result<Vec<u8>, Reason> {
        let malformed = |bad: Bad| {
            let column = &root.table.columns[root.key()[0]];
            unreadable::named(self.refuse(root, column, &bad, None, None), document_key)
        };
        let found = root
            .find(RawBsonRef::Document(document_key))
            .map_err(malformed)?;
        let mut fields = Vec::with_capacity(32);
        for &position in root.key() {
            let column = &root.table.columns[position];
            self.key_column(root, position, &found, &mut fields)
                .map_err(|bad| self.refuse(root, column, &bad, Some(&found), None))?;
        }
        let positions: Vec<usize> = (0..root.key().len()).collect();
        Ok(rows::key_of(&fields, &positions))
    }

    /// One column that follows from the `_id`, and what it is derived from.
    fn key_column(
        &self,
        root: &TablePlan,
        position: usize,
        found: &Found<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        let Fill::Derived(of) = &root.fills[position] else {
            return self.column(root, position, found, None, None, out);
        };
        let mut texts = Vec::with_capacity(of.len());
        for &column in of {
            let mut field = Vec::new();
            self.key_column(root, column, found, &mut field)?;
            let value = rows::value_of(&field);
            texts.push(value::text_of(&root.table.columns[column], value));
        }
        self.derived(texts.into_iter().collect(), out)
    }

    fn table_rows<W: Watch>(
        &self,
        table: usize,
        source: RawBsonRef<'_>,
        parent_row: Option<RowIndex>,
        element: Option<Place<'_>>,
        rows: &mut Rows,
        along: &mut Along<'_, W>,
    ) -> Result<bool, Reason> {
        let plan = &self.tables[table];
        let columns = &plan.table.columns;
        let found = plan
            .find(source)
            .map_err(|bad| self.refuse(plan, &columns[0], &bad, None, element))?;
        let takes = plan.filter.takes(source, &found.conditions);
        if !takes.map_err(|bad| plan.undecided(&bad, element))? {
            return Ok(false);
        }
        if found.unmapped != 0 {
            let from = element.map_or(0, |place| place.source);
            let unmapped = rows.unmapped();
            unmapped.note((plan.id, from), &plan.trie, found.unmapped, source);
        }
        let start = rows.begin();
        for (position, column) in columns.iter().enumerate() {
            let parent = match (&plan.fills[position], parent_row) {
                (Fill::Parent(above), Some(row)) => Some(rows.field_of(row, *above)),
                _ => None,
            };
            let encoded = if let Fill::Derived(of) = &plan.fills[position] {
                let texts = of
                    .iter()
                    .map(|&c| value::text_of(&columns[c], rows.field_since(start, c)));
                let texts: Option<Vec<String>> = texts.collect();
                self.derived(texts, rows.buffer())
            } else {
                self.column(plan, position, &found, parent, element, rows.buffer())
            };
            encoded.map_err(|bad| self.refuse(plan, column, &bad, Some(&found), element))?;
            if W::TOLD {
                let field = rows.field_since(start, position);
                if let Some(loss) = self.loss(plan, position, &found, element, field) {
                    along.watch.lost(table, position, loss);
                }
            }
        }
        let mut row = rows.finish(start, table, plan.id, plan.key(), parent_row);
        if plan.may_repeat {
            let key = (table, rows.key(row).to_vec());
            match along.seen.get(&key) {
                None => {
                    along.seen.insert(key, row);
                }
                Some(&first) if rows.fields(first) == rows.fields(row) => {
                    rows.discard_last();
                    row = first;
                }
                Some(_) => return Err(duplicate(plan, element)),
            }
        }
        self.rows_below(plan, &found, row, rows, along)
            .map_err(|reason| plan.within(reason, element))?;
        Ok(true)
    }

    /// The rows of the tables below a row. What a reason says of a place begins at the row's own.
    fn rows_below<W: Watch>(
        &self,
        plan: &TablePlan,
        found: &Found<'_>,
        row: RowIndex,
        rows: &mut Rows,
        along: &mut Along<'_, W>,
    ) -> Result<(), Reason> {
        for (below, value) in plan.arrays.iter().zip(&found.arrays) {
            match value {
                None | Some(RawBsonRef::Null | RawBsonRef::Undefined) => {}
                Some(RawBsonRef::Array(array)) if !below.map => {
                    for (index, item) in array.into_iter().enumerate() {
                        let item = item.map_err(|_| self.unreadable(below, index))?;
                        let place = Place {
                            source: below.source,
                            index,
                            name: None,
                        };
                        self.table_rows(below.table, item, Some(row), Some(place), rows, along)?;
                    }
                }
                Some(RawBsonRef::Document(map)) if below.map => {
                    for (index, element) in map.iter_elements().enumerate() {
                        let element = element.map_err(|_| self.unreadable(below, index))?;
                        let item = element.value();
                        let item = item.map_err(|_| self.unreadable(below, index))?;
                        let place = Place {
                            source: below.source,
                            index,
                            name: Some(element.key().as_str()),
                        };
                        self.table_rows(below.table, item, Some(row), Some(place), rows, along)?;
                    }
                }
                Some(other) => return Err(self.not_elements(below, other)),
            }
        }
        Ok(())
    }

    /// Appends the UUID made of these texts.
    fn derived(&self, texts: Option<Vec<String>>, out: &mut Vec<u8>) -> Result<(), Bad> {
        let uuid = uuid_of_texts(&self.namespace, &texts.ok_or(Bad::Missing)?);
        out.extend_from_slice(&16i32.to_be_bytes());
        out.extend_from_slice(uuid.as_bytes());
        Ok(())
    }

    fn column(
        &self,
        plan: &TablePlan,
        position: usize,
        found: &Found<'_>,
        parent: Option<Vec<u8>>,
        element: Option<Place<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Bad> {
        let target = &plan.targets[position];
        let slot = match &plan.fills[position] {
            Fill::Own => Some(position),
            Fill::First(slots) => found.first(slots),
            Fill::Parent(_) => {
                out.extend_from_slice(&parent.ok_or(Bad::Missing)?);
                return Ok(());
            }
            Fill::Position => {
                let index = element.map_or(0, |place| place.index);
                let index = i64::try_from(index).map_err(|_| Bad::OutOfRange)?;
                return target.encode(RawBsonRef::Int64(index), &self.namespace, out);
            }
            Fill::MapKey => {
                let name = element.and_then(|place| place.name).ok_or(Bad::Missing)?;
                return target.encode(RawBsonRef::String(name), &self.namespace, out);
            }
            Fill::Set => {
                let sets = element.and_then(|place| plan.sets.get(place.source));
                let mut sets = sets.into_iter().flatten();
                let (_, constant) = sets.find(|(p, _)| *p == position).ok_or(Bad::Missing)?;
                out.extend_from_slice(constant);
                return Ok(());
            }
            // Made of other columns, by those who have them at hand.
            Fill::Derived(_) => return Err(Bad::Missing),
            Fill::Null => return target.encode_null(out),
            Fill::Constant => {
                let constant = plan.encoded[position].as_ref().ok_or(Bad::Missing)?;
                out.extend_from_slice(constant);
                return Ok(());
            }
            Fill::Expression(program) => {
                let given = program.value(found.source)?;
                let document = RawDocumentBuf::try_from(&bson::doc! { "v": given })
                    .map_err(|_| Bad::Malformed)?;
                let given = document.get("v").map_err(|_| Bad::Malformed)?;
                return match given {
                    Some(value) => target.encode(value, &self.namespace, out),
                    None => target.encode_null(out),
                };
            }
            Fill::Rest(form) => {
                let start = out.len();
                let written = plan.rest(*form, found, out);
                return target.settle(written, start, out);
            }
        };
        match (
            slot.and_then(|slot| found.slots[slot]),
            &plan.encoded[position],
        ) {
            (Some(value), _) => target.encode(value, &self.namespace, out),
            (None, Some(default)) => {
                out.extend_from_slice(default);
                Ok(())
            }
            (None, None) => target.encode_null(out),
        }
    }
}

impl TablePlan {
    /// Looks for everything that the table wants of a document or an element.
    pub(super) fn find<'a>(&self, source: RawBsonRef<'a>) -> Result<Found<'a>, Bad> {
        let mut found = Found {
            source,
            slots: vec![None; self.slots],
            conditions: vec![None; self.filter.conditions().len()],
            arrays: vec![None; self.arrays.len()],
            unmapped: 0,
        };
        for &slot in &self.whole {
            found.slots[slot] = Some(source);
        }
        for &array in &self.whole_arrays {
            found.arrays[array] = Some(source);
        }
        for &condition in &self.whole_conditions {
            found.conditions[condition] = Some(source);
        }
        match source {
            RawBsonRef::Document(document) => {
                walk(document.iter_elements(), &self.trie, &mut found)?;
            }
            RawBsonRef::Array(array) if !self.trie.nodes.is_empty() => {
                let inner = RawDocument::from_bytes(array.as_bytes());
                let inner = inner.map_err(|_| Bad::Malformed)?;
                walk(inner.iter_elements(), &self.trie, &mut found)?;
            }
            _ => {}
        }
        Ok(found)
    }

    /// Writes what no other column and no child table takes.
    fn rest(&self, form: Form, found: &Found<'_>, out: &mut Vec<u8>) -> Result<(), Bad> {
        let mut spare = Vec::new();
        for fill in &self.fills {
            if let Fill::First(slots) = fill {
                let chosen = found.first(slots);
                let mut after = slots.iter().skip_while(|slot| Some(**slot) != chosen);
                after.next();
                spare.extend(after);
            }
        }
        let scalar = !matches!(found.source, RawBsonRef::Document(_) | RawBsonRef::Array(_));
        let taken = self.whole.iter().any(|slot| !spare.contains(slot));
        let nothing = !self.whole_arrays.is_empty() || (scalar && taken);
        let rest = Rest {
            form,
            spare: &spare,
        };
        json_field(JSONB, out, |out| match found.source {
            _ if nothing => {
                out.extend_from_slice(b"{}");
                Ok(())
            }
            RawBsonRef::Document(document) => rest.write(out, document, &self.trie),
            RawBsonRef::Array(array) => rest.list(out, array, &self.trie, 1),
            other => extjson::write(out, other, form),
        })
    }
}
