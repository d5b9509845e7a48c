//! What the source does not have any more: found by all its `_id`s, and deleted.

use super::{
    tell::{Sweep, Told},
    work::{Outcome, Work, bar, u64_of},
};
use crate::{
    figures::{count, percent},
    progress::{say, watched},
    show::{Show, wrap},
};
use leafcutter_runtime::{
    exit::Exit,
    report::{Failure, Fault, causes},
};
use leafcutter_schemas::version::Version;
use leafcutter_sink::{
    ApplyError,
    connection::Connection,
    session::Session,
    sweep::{Deleter, Finder},
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::sync::mpsc;

/// Documents deleted in one transaction.
const DELETED_MAX: i64 = 500;
/// Replies of `_id`s on their way.
const REPLIES_AHEAD: usize = 2;

/// A finder on a session of its own.
pub(super) async fn finder(work: &Work<'_>) -> Result<Finder, Failure> {
    let opened = Session::open(&work.state.config, "leafcutter resnapshot").await;
    let session = opened.map_err(|error| {
        let next = "Check that the server runs, and that it has a connection to spare.";
        let place = work.state.place.clone();
        let fault = Fault::new(
            "could not connect to PostgreSQL",
            place,
            causes(&error),
            next,
        );
        Failure::one(Exit::Preflight, fault)
    })?;
    let finder = Finder::new(session, Arc::clone(&work.model), work.id).await;
    finder.map_err(|error| work.state.lost(&error))
}

/// Reads all `_id`s of the source into the finder; gives the time before, or none when it was stopped.
pub(super) async fn see(
    work: &Work<'_>,
    finder: &mut Finder,
    show: &mut Show<'_>,
) -> Result<Option<Version>, Failure> {
    let (send, mut receive) = mpsc::channel(REPLIES_AHEAD);
    let seen = AtomicU64::new(0);
    let (seen_there, reader) = (&seen, &work.reader);
    let reading = async move { reader.ids(&send, &work.shutdown).await };
    let taking = async move {
        while let Some(ids) = receive.recv().await {
            finder.see(&ids).await?;
            let ids = u64::try_from(ids.len()).unwrap_or_default();
            seen_there.fetch_add(ids, Ordering::Relaxed);
        }
        Ok::<_, tokio_postgres::Error>(())
    };
    let both = async {
        let (time, taken) = tokio::join!(reading, taking);
        taken.map_err(|error| work.state.lost(&error))?;
        Ok(time)
    };
    let bar = bar(work.facts.documents, "sweeping", show);
    let time = watched(Box::pin(both), &bar, show, || seen.load(Ordering::Relaxed)).await;
    bar.finish_and_clear();
    time
}

/// How many documents would be deleted; none where that is not looked for.
pub(super) async fn count_gone(
    work: &mut Work<'_>,
    show: &mut Show<'_>,
) -> Result<Option<i64>, Failure> {
    if work.facts.sweep != Sweep::Yes {
        return Ok(None);
    }
    let mut finder = finder(work).await?;
    let time = if work.settings.truncate_first {
        Some(work.reader.now().await?)
    } else {
        see(work, &mut finder, show).await?
    };
    let Some(time) = time else {
        return Ok(None);
    };
    let found = finder.find(time).await;
    found.map(Some).map_err(|error| work.state.lost(&error))
}

/// Deletes what was not seen, unless that is too much.
pub(super) async fn sweep(
    work: &mut Work<'_>,
    mut finder: Finder,
    time: Version,
    show: &mut Show<'_>,
    told: &mut Told,
) -> Result<Outcome, Failure> {
    let found = async { Ok((finder.rows().await?, finder.find(time).await?)) };
    let (rows, gone) = found.await.map_err(|error| work.state.lost(&error))?;
    told.gone = Some(gone);
    let most = i64::from(work.settings.sweep_max);
    if gone > 0 && gone.saturating_mul(100) > rows.max(1).saturating_mul(most) {
        return Err(too_many(work, rows, gone));
    }
    let done = delete(work, &mut finder, (time, gone), show, told).await?;
    Ok(if done {
        Outcome::Done
    } else {
        Outcome::Stopped
    })
}

/// Deletes everything that is stored; false when it was stopped.
pub(super) async fn all(
    work: &mut Work<'_>,
    show: &mut Show<'_>,
    told: &mut Told,
) -> Result<bool, Failure> {
    let mut finder = finder(work).await?;
    let time = work.reader.now().await?;
    let gone = finder.find(time).await;
    let gone = gone.map_err(|error| work.state.lost(&error))?;
    let mut truncated = Told::default();
    let done = delete(work, &mut finder, (time, gone), show, &mut truncated).await?;
    told.refused += truncated.refused;
    told.why = truncated.why;
    let text = format!("{} rows deleted before the read", count(truncated.deleted));
    say(show, &wrap("", &text));
    Ok(done)
}

async fn delete(
    work: &mut Work<'_>,
    finder: &mut Finder,
    (time, gone): (Version, i64),
    show: &mut Show<'_>,
    told: &mut Told,
) -> Result<bool, Failure> {
    if gone == 0 {
        return Ok(true);
    }
    let connection = Connection::new(
        work.state.config.clone(),
        "leafcutter resnapshot",
        &work.settings.installation.group,
        "leafcutter resnapshot",
        (Arc::clone(&work.model), work.generation),
    );
    let mut deleter = Deleter::new(connection, work.id, time);
    let announced = deleter.announce(work.facts.partitions).await;
    announced.map_err(|error| in_the_way(work, &error))?;
    let bar = bar(u64_of(gone), "deleting", show);
    let mut after = 0;
    while after < gone {
        if work.shutdown.is_triggered() {
            bar.finish_and_clear();
            return Ok(false);
        }
        let some = finder.some(after, DELETED_MAX).await;
        let some = some.map_err(|error| work.state.lost(&error))?;
        let swept = deleter.delete(&some).await;
        let swept = swept.map_err(|error| in_the_way(work, &error))?;
        told.take(&swept.counts);
        told.refused += i64::try_from(swept.refused.len()).unwrap_or(i64::MAX);
        if told.why.is_none() {
            told.why = swept.refused.first().map(|reason| reason.message.clone());
        }
        after += DELETED_MAX;
        bar.set_position(u64_of(after.min(gone)));
    }
    bar.finish_and_clear();
    Ok(true)
}

fn too_many(work: &Work<'_>, rows: i64, gone: i64) -> Failure {
    let name = &work.collection.name;
    Failure::one(
        Exit::Stopped,
        Fault::new(
            "refused to delete so much",
            format!("`{name}`"),
            format!(
                "the source does not have {} of what is stored, {} % of {} rows, and --sweep-max is {} %",
                count(gone),
                percent(gone, rows),
                count(rows),
                work.settings.sweep_max
            ),
            format!(
                "Everything was read again, and nothing was deleted. Check that this is the right \
                 source; if so: leafcutter resnapshot {name} --sweep-max 100"
            ),
        ),
    )
}

fn in_the_way(work: &Work<'_>, error: &ApplyError) -> Failure {
    Failure::one(
        Exit::Preflight,
        Fault::new(
            "could not delete what the source no longer has",
            work.state.place.clone(),
            causes(error),
            format!(
                "Nothing is lost. Begin again: leafcutter resnapshot {}",
                work.collection.name
            ),
        ),
    )
}
