//! What waits: taken along with what it waits for, parked again, and counted when it is settled
//! (`PROTOCOL.md` §4).

use super::{
    ApplyError,
    apply::Partition,
    keys::turns,
    parking::{self, Parked, ToPark},
    transaction::Transaction,
    work::{Candidate, Fate, From, Outcome, Provenance, RowId, Wish},
};
use crate::decode::{self, Prepared, Record};
use leafcutter_schemas::version::Version;
use std::collections::{BTreeMap, BTreeSet};

impl Transaction<'_> {
    /// Compares with what is parked, and takes along what waits for the rows of the batch. What was
    /// parked may have been given a dead letter while its lock was waited for.
    pub(super) async fn pull_along(&mut self) -> Result<(), ApplyError> {
        if !self.flags.parked {
            return Ok(());
        }
        let rows: Vec<&RowId> = self.work.by_row.keys().collect();
        let own = parking::lock_own(self.session, self.model, &rows).await?;
        for parked in own {
            self.known.insert(parked.row.clone());
            self.flags.dead_letters = true;
            let Some(&index) = self.work.by_row.get(&parked.row) else {
                continue;
            };
            let candidate = &mut self.work.candidates[index];
            if parked.stamp.version > candidate.stamp.version {
                candidate.fate = Fate::Done(Outcome::Stale);
            } else {
                candidate.incomplete =
                    parked.incomplete && parked.stamp.version == candidate.stamp.version;
                self.overtaken.push(parked);
            }
        }
        self.pull_behind(self.open_parents(self.work.by_row.keys()))
            .await
    }

    /// Takes along what waits for these rows, and what waits for that.
    pub(super) async fn pull_behind(&mut self, mut parents: Vec<RowId>) -> Result<(), ApplyError> {
        while !parents.is_empty() && self.pulled.len() < parking::PULLED_MAX {
            let wanted: Vec<&RowId> = parents.iter().collect();
            let waiting = parking::pull_waiters(self.session, self.model, &wanted).await?;
            let mut next = Vec::new();
            for parked in waiting {
                // Whose turn it is not, the settling task will find.
                let table = parked.row.0;
                if self.model.table(table).natural_key && !turns::attempt(self, table).await? {
                    continue;
                }
                // What the batch has a record for, it was compared with above.
                if self.known.insert(parked.row.clone())
                    && !self.work.by_row.contains_key(&parked.row)
                {
                    next.push(parked.row.clone());
                    self.adopt(parked, false);
                }
            }
            parents = self.open_parents(next.iter());
        }
        // They come from other partitions, which may have had deletes where this one had none.
        self.tombstones |= !self.pulled.is_empty();
        Ok(())
    }

    fn open_parents<'r>(&self, rows: impl Iterator<Item = &'r RowId>) -> Vec<RowId> {
        self.pointed_to(rows, |fate| fate == Fate::Open)
    }

    /// Of these, the rows to be written that have such a fate and that other rows may point to, by their
    /// keys; those of documents that are looked up also by the documents' keys.
    pub(super) fn pointed_to<'r>(
        &self,
        rows: impl Iterator<Item = &'r RowId>,
        wanted: impl Fn(Fate) -> bool,
    ) -> Vec<RowId> {
        rows.filter(|row| !self.model.table(row.0).sql.referenced_deletes.is_empty())
            .filter_map(|row| {
                let candidate = &self.work.candidates[*self.work.by_row.get(row)?];
                let key = candidate.row_key(self.rows);
                let key = key.filter(|_| wanted(candidate.fate))?;
                let told = self.model.table(row.0).told_by_id.then(|| row.clone());
                Some([Some((row.0, key.to_vec())), told])
            })
            .flatten()
            .flatten()
            .collect()
    }

    /// Makes a parked document a candidate. It may have been given a dead letter while its lock was
    /// waited for.
    pub(super) fn adopt(&mut self, parked: Parked, null_missing: bool) {
        self.flags.dead_letters = true;
        let collection = parked.provenance.collection;
        let prepared = decode::prepare(
            self.model,
            collection,
            Some(&parked.record_value),
            self.rows,
        );
        let candidate = |stamp, wish, fate| Candidate {
            from: From::Parked {
                orphan: parked.orphan,
                pulled: self.pulled.len(),
            },
            provenance: parked.provenance.clone(),
            root: parked.row.0,
            key: parked.row.1.clone(),
            stamp,
            wish,
            null_missing: null_missing || (parked.orphan && !parked.unique),
            nulled: false,
            incomplete: parked.incomplete,
            lacks: None,
            fate,
        };
        let made = match prepared {
            Prepared::Write { stamp, parts } => parts
                .into_iter()
                .find(|part| part.root == parked.row.0)
                .map(|part| (stamp, part.wish)),
            Prepared::Ignored | Prepared::Refused { .. } => None,
        };
        // If it has none, it was parked under another mapping, by which it could be rows. It stays
        // parked until its topic is replayed.
        let Some((stamp, wish @ Wish::Upsert(_))) = made else {
            return;
        };
        let candidate = candidate(stamp, wish, Fate::Open);
        self.work.offer(parked.row.clone(), candidate);
        self.pulled.push(parked);
    }

    /// Parks what waits, and forgets what was parked and does not any more.
    pub(super) async fn settle_parked(&mut self, records: &[Record]) -> Result<(), ApplyError> {
        let mut park = Vec::new();
        let mut remove: Vec<(RowId, Version)> = Vec::new();
        for candidate in &self.work.candidates {
            let row = (candidate.root, candidate.key.clone());
            let waits = match candidate.fate {
                Fate::Waits(obstacle) => Some(obstacle),
                Fate::Done(_) | Fate::Open => candidate.lacks,
            };
            match (candidate.fate, &candidate.wish) {
                (_, Wish::Upsert(rows)) if let Some(obstacle) = waits => {
                    let (record_key, record_value, orphan, counted) = match candidate.from {
                        From::Batch(index) => {
                            let delivery = &records[index].delivery;
                            let value = delivery.value.as_deref().unwrap_or_default();
                            (&*delivery.key, value, false, false)
                        }
                        From::Parked { pulled, orphan } => {
                            let parked = &self.pulled[pulled];
                            let (key, value) = (&*parked.record_key, &*parked.record_value);
                            (key, value, orphan, parked.incomplete)
                        }
                        From::Kept(kept) => {
                            let kept = &self.kept[kept];
                            (&*kept.record_key, &*kept.record_value, false, true)
                        }
                    };
                    park.push(ToPark {
                        row,
                        stamp: candidate.stamp,
                        obstacle,
                        encoded: rows.start,
                        orphan,
                        incomplete: counted || candidate.lacks.is_some(),
                        provenance: &candidate.provenance,
                        record_key,
                        record_value,
                    });
                }
                // An orphan that was written without its parent waits on, in case it comes.
                (Fate::Done(Outcome::Applied | Outcome::Unchanged), _) if candidate.nulled => {}
                _ if self.known.contains(&row) => remove.push((row, candidate.stamp.version)),
                _ => {}
            }
        }
        let rows = (&*self.rows, &self.lookups);
        parking::write(self.session, self.model, self.group, rows, &park).await?;
        let list: Vec<_> = remove
            .iter()
            .map(|(row, version)| (row, *version))
            .collect();
        parking::remove(self.session, self.model, &list).await?;
        self.account_settled().await
    }

    /// Moves parked records among the outcomes. A record that waits in several tables is settled when
    /// it waits in none any more.
    async fn account_settled(&mut self) -> Result<(), ApplyError> {
        let mut moved: Vec<(Provenance, usize, bool)> = Vec::new();
        for parked in self.overtaken.iter().filter(|parked| !parked.incomplete) {
            let Some(&index) = self.work.by_row.get(&parked.row) else {
                continue;
            };
            let candidate = &self.work.candidates[index];
            // Parked again under the newer record, the older one is overtaken all the same. The
            // same version again stays the orphan that it was.
            let stays = matches!(candidate.fate, Fate::Waits(_))
                && candidate.stamp.version == parked.stamp.version;
            moved.push((parked.provenance.clone(), 1, parked.orphan && !stays));
        }
        for candidate in &self.work.candidates {
            let From::Parked { orphan, pulled } = candidate.from else {
                continue;
            };
            if self.pulled[pulled].incomplete {
                continue;
            }
            let slot = match candidate.outcome() {
                Outcome::Applied | Outcome::Unchanged => 0,
                Outcome::Stale => 1,
                Outcome::Deleted
                | Outcome::Held
                | Outcome::Filtered
                | Outcome::Parked
                | Outcome::Ignored
                | Outcome::DeadLettered => continue,
            };
            moved.push((candidate.provenance.clone(), slot, orphan));
        }
        self.leave_unsettled(&mut moved).await?;
        for (provenance, slot, orphan) in moved {
            let at = (provenance.collection, provenance.partition);
            let entry = self.settled.entry(at).or_default();
            entry[slot] += 1;
            if orphan {
                entry[2] -= 1;
            }
        }
        Ok(())
    }

    /// Leaves out records that wait in another table still, and those that stand there twice.
    async fn leave_unsettled(
        &mut self,
        moved: &mut Vec<(Provenance, usize, bool)>,
    ) -> Result<(), ApplyError> {
        let model = self.model;
        let several = |p: &Provenance| model.collections[p.collection].roots.len() > 1;
        if !moved.iter().any(|(p, ..)| several(p)) {
            return Ok(());
        }
        let mut seen = BTreeSet::new();
        moved.retain(|(p, ..)| !several(p) || seen.insert((p.collection, p.partition, p.offset)));
        let origins = moved.iter().map(|(p, ..)| p).filter(|p| several(p));
        let waiting = parking::still_parked(self.session, model, origins).await?;
        moved.retain(|(p, ..)| {
            let origin = (p.collection, p.partition, p.offset);
            !several(p) || !waiting.contains(&origin)
        });
        Ok(())
    }

    /// Parked documents that were placed, by partition of their record.
    pub(super) fn released(&self) -> BTreeMap<Partition, i64> {
        self.settled
            .iter()
            .filter(|(_, n)| n[0] > 0)
            .map(|(p, n)| (*p, n[0]))
            .collect()
    }

    /// Notes that a parked document became a dead letter.
    pub(super) fn settled_dead_letter(&mut self, partition: Partition) {
        self.settled.entry(partition).or_default()[2] += 1;
    }
}
