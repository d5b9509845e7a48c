//! Parked documents that wait for each other in a cycle: found by their chains, and taken up cycle by cycle.
//!
//! Apart from each other they cannot be placed, so a cycle is taken up whole or not at all: those that were not
//! tried for longest, as many as fit into the bytes that one transaction takes up. One that is larger by itself is
//! taken up alone.

use super::{
    super::is_key,
    ParkedRow,
    select::{NAMED, PAUSE, RELEASED_MAX, TAKEN_BYTES_MAX, WaitTables, lock_these},
};
use crate::session::Session;
use std::collections::BTreeMap;
use tokio_postgres::{Error, Row};

/// A document of a cycle: its table, as the state names it, its key, and that of its row where it is another one.
struct Member {
    table: String,
    key: Vec<u8>,
    wanted_key: Option<Vec<u8>>,
    wait_table: String,
    wait_key: Vec<u8>,
    due: bool,
    bytes: i64,
}

impl Member {
    fn read(row: &Row) -> Self {
        Self {
            table: row.get(0),
            key: row.get(1),
            wanted_key: row.get(2),
            wait_table: row.get(3),
            wait_key: row.get(4),
            due: row.get(5),
            bytes: row.get(6),
        }
    }
}

/// Locks and returns documents of these tables that wait for each other in a cycle, some of them given
/// up perhaps. All of a cycle, if one is due: apart they cannot be placed.
///
/// # Errors
/// When PostgreSQL is lost.
pub async fn lock_cycles(
    session: &mut Session,
    cyclic: &[&str],
    tables: &WaitTables<'_>,
) -> Result<Vec<ParkedRow>, Error> {
    if cyclic.is_empty() {
        return Ok(Vec::new());
    }
    // Apart, each is found by its index.
    let parked = |key: &str| {
        format!(
            "select q.wait_table, q.wait_key, q.reason, q.state from leafcutter.parked q \
             where q.table_name = k.state and {key}"
        )
    };
    let by_row = parked(&is_key("q.row_key", "w.wait_key"));
    let by_wanted = parked("q.wanted_key = w.wait_key");
    let sql = format!(
        "with recursive walk (table_name, row_key, wanted_key, wait_table, wait_key) as (\
         select p.table_name, p.row_key, p.wanted_key, p.wait_table, p.wait_key \
         from leafcutter.parked p where p.table_name = any($1) and p.reason = 'parent' and p.state <> 'refused' \
         union select w.table_name, w.row_key, w.wanted_key, q.wait_table, q.wait_key from walk w \
         join {NAMED} on k.named = w.wait_table cross join lateral (\
         {by_row} union all {by_wanted}) q where q.reason = 'parent' and q.state <> 'refused') \
         select p.table_name, p.row_key, p.wanted_key, p.wait_table, p.wait_key, \
         p.tried_at < now() - {PAUSE}, octet_length(p.record_value)::bigint from leafcutter.parked p \
         where (p.table_name, p.row_key) in (select w.table_name, w.row_key from walk w join {NAMED} \
         on k.named = w.wait_table where k.state = w.table_name \
         and w.wait_key in (w.row_key, w.wanted_key)) \
         order by p.tried_at, 1, 2 limit {RELEASED_MAX}"
    );
    let found = session
        .query(&sql, &[&cyclic, &tables.names, &tables.state_names])
        .await?;
    let members: Vec<Member> = found.iter().map(Member::read).collect();
    let taken = some_cycles(&members, tables);
    let names: Vec<&str> = taken.iter().map(|member| member.table.as_str()).collect();
    let keys: Vec<&[u8]> = taken.iter().map(|member| member.key.as_slice()).collect();
    lock_these(session, &names, &keys).await
}

/// The members of the first cycles of which one is due, as many as fit.
fn some_cycles<'m>(members: &'m [Member], tables: &WaitTables<'_>) -> Vec<&'m Member> {
    let mut cycles: BTreeMap<usize, Vec<&Member>> = BTreeMap::new();
    for (member, cycle) in members.iter().zip(cycles_of(members, tables)) {
        cycles.entry(cycle).or_default().push(member);
    }
    let most = i64::try_from(TAKEN_BYTES_MAX).unwrap_or(i64::MAX);
    let (mut taken, mut bytes) = (Vec::new(), 0_i64);
    for cycle in cycles.into_values() {
        let more: i64 = cycle.iter().map(|member| member.bytes).sum();
        let fits = taken.is_empty() || bytes.saturating_add(more) <= most;
        if fits && cycle.iter().any(|member| member.due) {
            bytes = bytes.saturating_add(more);
            taken.extend(cycle);
        }
    }
    taken
}

/// For each document the place of the first one of its cycle.
fn cycles_of(members: &[Member], tables: &WaitTables<'_>) -> Vec<usize> {
    let mut places: BTreeMap<(&str, &[u8]), usize> = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        for key in std::iter::once(&member.key).chain(&member.wanted_key) {
            places.insert((&member.table, key), place);
        }
    }
    let mut first: Vec<usize> = (0..members.len()).collect();
    for (place, member) in members.iter().enumerate() {
        let named = tables.names.iter().zip(&tables.state_names);
        for (_, state) in named.filter(|(name, _)| **name == member.wait_table) {
            if let Some(&other) = places.get(&(*state, member.wait_key.as_slice())) {
                let (one, other) = (root(&first, place), root(&first, other));
                first[one.max(other)] = one.min(other);
            }
        }
    }
    (0..members.len())
        .map(|place| root(&first, place))
        .collect()
}

fn root(first: &[usize], mut place: usize) -> usize {
    while first[place] != place {
        place = first[place];
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(key: u8, waits_for: u8, due: bool, bytes: usize) -> Member {
        Member {
            table: "t".to_owned(),
            key: vec![key],
            wanted_key: None,
            wait_table: "t".to_owned(),
            wait_key: vec![waits_for],
            due,
            bytes: i64::try_from(bytes).unwrap(),
        }
    }

    #[test]
    fn whole_cycles_are_taken_up_as_many_as_fit() {
        let tables = WaitTables {
            names: vec!["t".to_owned()],
            state_names: vec!["t"],
        };
        let half = TAKEN_BYTES_MAX / 4;
        let keys = |members: &[Member]| -> Vec<u8> {
            let taken = some_cycles(members, &tables);
            taken.iter().map(|member| member.key[0]).collect()
        };
        let members = [
            member(1, 2, true, half),
            member(3, 4, false, half),
            member(5, 6, true, half),
            member(2, 1, false, half),
            member(4, 3, false, half),
            member(6, 5, true, half),
            member(7, 7, true, 1),
        ];
        // That of 3 and 4 is not due, and that of 7 does not fit any more.
        assert_eq!(keys(&members), [1, 2, 5, 6]);
        assert_eq!(
            keys(&[member(1, 1, true, 9 * half), member(2, 2, true, 1)]),
            [1]
        );
        assert_eq!(keys(&members[1..2]), [] as [u8; 0]);
    }
}
