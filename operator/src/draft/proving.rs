//! The draft's text, proven: read and compiled as the consumers do, and tried on the documents.
//!
//! References begin without a foreign key. Those of which every value was found to have a parent, in
//! collections that were read whole, and whose parents are not rejected, get one; then the text is
//! compiled again.

use super::{
    proof::{self, Proof},
    source::{Extent, Listed, Source},
    write::{self, CollectionDraft, References},
};
use crate::{progress::bar, show::Show};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault},
};
use leafcutter_schemas::mapping::parse;
use leafcutter_sink::model::Model;
use std::collections::BTreeMap;

/// A mapping's text.
#[derive(Debug)]
pub(super) struct Text {
    /// All of it, without a head.
    pub(super) whole: String,
    /// The collections alone, as they stand under `collections`.
    pub(super) collections: Vec<String>,
}

/// What is proven.
#[derive(Debug)]
pub(super) struct Proving<'p> {
    pub(super) source: &'p Source,
    pub(super) prefix: &'p str,
    pub(super) chosen: &'p [Listed],
    pub(super) extents: &'p [Extent],
    pub(super) collections: &'p [CollectionDraft],
    /// The table of each.
    pub(super) tables: &'p [String],
}

impl Proving<'_> {
    /// The text, and what becomes of each collection's documents.
    pub(super) async fn run(&self, show: &Show<'_>) -> Result<(Text, Vec<Proof>), Failure> {
        let model = compile(&self.text(&[]).whole, self.prefix)?;
        let parents: BTreeMap<String, String> = model
            .mapping
            .collections
            .iter()
            .map(|one| (one.tables[0].name.to_string(), one.name.clone()))
            .collect();
        let mut proofs = Vec::new();
        for (index, (listed, extent)) in self.chosen.iter().zip(self.extents).enumerate() {
            let bar = bar("trying", &listed.name, extent.of(listed), show);
            let tried = proof::collection(self.source, (&model, index), *extent, &parents, || {
                bar.inc(1);
            });
            proofs.push(Box::pin(tried).await?);
            bar.finish_and_clear();
        }
        let text = self.text(&self.sure(&model, &proofs));
        compile(&text.whole, self.prefix)?;
        Ok((text, proofs))
    }

    fn text(&self, sure: &[(String, String)]) -> Text {
        let tables = self.tables;
        let references = References { tables, sure };
        Text {
            whole: write::file(self.source.name(), self.collections, &references),
            collections: self
                .collections
                .iter()
                .map(|collection| write::one(collection, &references))
                .collect(),
        }
    }

    /// The tables and columns of which every value has its parent.
    fn sure(&self, model: &Model, proofs: &[Proof]) -> Vec<(String, String)> {
        // A parent that is rejected, or was not read, is no parent for certain.
        let whole = |table: &String| {
            let found = self.tables.iter().position(|one| one == table);
            found.is_some_and(|at| {
                self.extents.get(at) == Some(&Extent::Whole)
                    && proofs
                        .get(at)
                        .is_some_and(|proof| proof.trial.rejected() == 0)
            })
        };
        let mut sure = Vec::new();
        for (index, proof) in proofs.iter().enumerate() {
            if self.extents.get(index) != Some(&Extent::Whole) {
                continue;
            }
            let own = model.collections[index].plan.tables.iter();
            for table in own {
                for column in &table.table.columns {
                    let Some(reference) = &column.reference else {
                        continue;
                    };
                    let place = (table.table.name.to_string(), column.name.clone());
                    let orphans = proof.orphans.get(&place).copied();
                    if orphans.unwrap_or_default() == 0 && whole(&reference.table.to_string()) {
                        sure.push(place);
                    }
                }
            }
        }
        // Mapping names have their schema, a draft's do not.
        sure.into_iter()
            .map(|(table, column)| (bare(&table), column))
            .collect()
    }
}

fn bare(table: &str) -> String {
    table
        .rsplit_once('.')
        .map_or(table, |(_, name)| name)
        .to_owned()
}

/// Reads and compiles a mapping as the consumers do.
///
/// # Errors
/// Everything that is wrong with it, as a bug of the draft.
pub(super) fn compile(text: &str, prefix: &str) -> Result<Model, Failure> {
    let loaded = parse::load(text, "draft").map_err(|faults| faults.to_string());
    let model = loaded.and_then(|m| Model::compile(m, prefix).map_err(|error| error.to_string()));
    model.map_err(|why| {
        let fault = Fault::new(
            "drafted a mapping that is not sound, and shows nothing of it",
            "the draft",
            why,
            "This is a bug of `leafcutter draft`: please report it with this message. Without the \
             collections that it names (`--collection`) the others can be drafted.",
        );
        Failure::one(Exit::Bug, fault)
    })
}
