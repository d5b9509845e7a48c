//! Topics once more from their start: `leafcutter replay --all`, while producer and consumers run.

use leafcutter_harness::{
    failure::{Attempt, Result},
    program::Program,
    world::World,
};
use std::time::{Duration, Instant};

/// Replays everything and waits for the end; gives the moment before the start.
///
/// # Errors
/// When it does not end well in time.
pub async fn run(world: &World, deadline: Duration) -> Result<Instant> {
    let mapping = world.place.mapping.display().to_string();
    let arguments = [
        "replay",
        "--all",
        "--yes",
        "--mapping",
        &mapping,
        "--prefix",
        &world.place.prefix,
        "--group",
        &world.group,
    ];
    let log = (world.place.log("replay"), world.place.level.as_str());
    let began = Instant::now();
    let replay = Program::start("replay", "leafcutter", &arguments, &world.place.stack, log)?;
    replay.finish(deadline).await?;
    Ok(began)
}

/// How many records were found unchanged and how many were written, as the consumers have counted them since
/// the beginning of the last replay.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn outcomes(world: &World) -> Result<(u64, u64)> {
    let sql = "select coalesce(sum(unchanged), 0)::bigint, coalesce(sum(applied), 0)::bigint \
               from leafcutter.offsets where consumer_group = $1";
    let row = world.target.query_one(sql, &[&world.group]).await;
    let row = row.attempt("count what a replay did")?;
    let number = |at: usize| u64::try_from(row.get::<_, i64>(at));
    Ok((number(0)?, number(1)?))
}
