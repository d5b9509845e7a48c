//! Records in every order, one order after the other in one database.

use crate::world::World;
use leafcutter_harness::rows::Rows;

/// Every order of so many things.
pub(crate) fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for number in 0..count {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=order.len()).map(move |place| {
                    let mut longer = order.clone();
                    longer.insert(place, number);
                    longer
                })
            })
            .collect();
    }
    all
}

/// Commits without waiting for the disk: what these tests are about does not hang on it.
pub(crate) async fn hurry(world: &World) {
    world
        .execute(
            "do $$ begin execute format('alter database %I set synchronous_commit = off', \
             current_database()); end $$",
        )
        .await;
}

/// Empties the tables and all that is kept, but for positions and counters.
pub(crate) async fn forget(world: &World) {
    let tables = "select quote_ident(tablename) from pg_tables where schemaname = 'public'";
    let mut names = world.rows(tables).await.values();
    let state = [
        "key_map",
        "retained_records",
        "tombstones",
        "parked",
        "held",
    ];
    names.extend(state.map(|name| format!("leafcutter.{name}")));
    world
        .execute(&format!("truncate {} cascade", names.join(", ")))
        .await;
}

/// Records are counted once each, and what waits was counted as parked.
pub(crate) async fn accounts(world: &World) -> Rows {
    let counted = "select sum(next_offset) = sum(applied + unchanged + stale + deleted + held + filtered \
                   + parked + ignored + dead_lettered) as counted_once, \
                   sum(parked) >= (select count(*) from leafcutter.parked where not incomplete) \
                   as parked_counted from leafcutter.offsets";
    world.rows(counted).await
}
