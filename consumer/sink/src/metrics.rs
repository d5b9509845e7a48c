//! What the sink counts while a transaction is open: every name, once. `docs/glossary.md` says how to
//! read them.
//!
//! Records are counted as begun before anything of them is written, and as ended when it is known
//! what became of their transaction. So those begun and not ended, of a program that was killed or
//! cut off from PostgreSQL, are the records whose writing is done again, but for those in doubt.

use metrics::counter;

/// The positions say that these records are next: their writing begins.
pub(crate) fn records_begun(count: usize) {
    counter!("leafcutter_records_begun_total").increment(as_u64(count));
}

/// These records are committed, now or, as is found out now, before.
pub(crate) fn records_committed(count: usize) {
    counter!("leafcutter_records_ended_total", "end" => "committed").increment(as_u64(count));
}

/// What was begun of these records is taken back, to be tried in another way.
pub(crate) fn records_rolled_back(count: usize) {
    counter!("leafcutter_records_ended_total", "end" => "rolled_back").increment(as_u64(count));
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
