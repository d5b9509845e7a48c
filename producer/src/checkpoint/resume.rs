//! What a run does with what the last one left, decided before anything is opened.

use super::{Cluster, Fingerprint, SnapshotCheckpoint, Stored, StreamCheckpoint, token_from_json};
use crate::{
    error::Error,
    progress::{Snapshot, SplitState},
    source::change_stream::Start,
};
use leafcutter_runtime::{exit::Exit, report::Fault};
use leafcutter_schemas::version::Version;

/// Where the stream begins: where the collection of the mapping stands that is furthest behind (P8).
///
/// # Errors
/// When the checkpoint belongs to another cluster, or to a later time than the source has: then
/// versions cannot be compared, and a person has to decide.
pub fn stream_start(
    stored: &Stored,
    cluster: &Cluster,
    fingerprint: &Fingerprint,
    now: Version,
) -> Result<Start, Error> {
    for left in stored.streams.values() {
        same_source(left, cluster, fingerprint)?;
        if left.time > now {
            return Err(mismatch(
                "the source's time went back behind the checkpoint",
                format!(
                    "{} in the checkpoint, {now} at the source, as after a restore",
                    left.time
                ),
            ));
        }
    }
    let Some(covered) = stored.all_covered(&fingerprint.collections) else {
        return Ok(Start::Now);
    };
    tell_returned(stored, fingerprint, covered);
    let own = stored
        .streams
        .values()
        .filter(|left| left.fingerprint == *fingerprint && left.time >= covered);
    match own.map(|left| token_from_json(&left.token)).next() {
        // A `snapshot` alone leaves a time and no token.
        Some(Some(token)) if !token.is_empty() => Ok(Start::After(token)),
        _ => Ok(Start::At(covered)),
    }
}

/// Says which collections make the stream begin before the place where others stand.
fn tell_returned(stored: &Stored, fingerprint: &Fingerprint, covered: Version) {
    let names = &fingerprint.collections;
    let furthest = names.iter().filter_map(|name| stored.covered(name)).max();
    if furthest == Some(covered) {
        return;
    }
    let behind = names
        .iter()
        .filter(|name| stored.covered(name) == Some(covered));
    let behind: Vec<&str> = behind.map(String::as_str).collect();
    tracing::info!(
        collections = behind.join(", "),
        from = %covered,
        "collections came back into the mapping; reading the changes since they left"
    );
}

/// Up to which time a source was polled before; none for the first time. A clock that was set back
/// since is none of our business: the poll begins at the earlier of both.
///
/// # Errors
/// When the checkpoint belongs to another cluster, or to a change stream.
pub fn poll_mark(
    stored: &Stored,
    cluster: &Cluster,
    fingerprint: &Fingerprint,
) -> Result<Option<Version>, Error> {
    for left in stored.streams.values() {
        same_source(left, cluster, fingerprint)?;
    }
    Ok(stored.all_covered(&fingerprint.collections))
}

fn same_source(
    stored: &StreamCheckpoint,
    cluster: &Cluster,
    fingerprint: &Fingerprint,
) -> Result<(), Error> {
    if !stored.cluster.may_be(cluster) {
        return Err(mismatch(
            "the checkpoint was made on another MongoDB cluster",
            format!(
                "replica set `{}` then, `{}` now",
                stored.cluster.set, cluster.set
            ),
        ));
    }
    if stored.fingerprint.capture != fingerprint.capture {
        let way = |capture: &str| match capture {
            "" => "stream".to_owned(),
            other => other.to_owned(),
        };
        return Err(mismatch(
            "the checkpoint was made with another `--capture`",
            format!(
                "`{}` then, `{}` now: versions are dates in one and cluster times in the other",
                way(&stored.fingerprint.capture),
                way(&fingerprint.capture)
            ),
        ));
    }
    Ok(())
}

fn mismatch(what: &str, why: String) -> Error {
    Error::fault(
        Exit::StateMismatch,
        Fault::new(
            format!("could not go on: {what}"),
            "the checkpoints topic and `--mongodb-uri`",
            why,
            "Versions of two histories cannot be compared. Point the producer at the cluster it \
             began with, or begin again: `leafcutter rollback`, then another `--prefix` (README).",
        ),
    )
}

/// The snapshot of a collection as it was left, if it can be gone on with. Where nobody followed the
/// collection's changes it cannot: between the two there may be a gap.
pub fn snapshot(
    stored: &Stored,
    collection: &str,
    topic: &str,
    uuid: Option<&str>,
) -> Option<Snapshot> {
    stored.covered(collection)?;
    let left = stored.snapshots.get(collection)?;
    if left.plan.uuid.as_deref() != uuid && !left.complete {
        return None;
    }
    Some(restore(left, topic))
}

fn restore(left: &SnapshotCheckpoint, topic: &str) -> Snapshot {
    let mut snapshot = Snapshot::new(topic, left.plan.clone());
    snapshot.complete = left.complete;
    for (&number, &documents) in &left.done {
        if let Some(split) = snapshot.splits.get_mut(number) {
            *split = SplitState {
                done: true,
                checkpointed: true,
                oldest: None,
                documents,
                undated: 0,
            };
        }
    }
    snapshot
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::token_to_json;
    use crate::source::plan::Plan;
    use bson::{Bson, rawdoc};
    use std::collections::BTreeMap;

    fn v(number: i64) -> Version {
        Version::from_i64(number).unwrap()
    }

    fn cluster(id: Option<&str>) -> Cluster {
        Cluster {
            set: "rs".into(),
            id: id.map(str::to_owned),
        }
    }

    fn fingerprint(collections: &[&str]) -> Fingerprint {
        Fingerprint {
            collections: collections.iter().map(|&name| name.to_owned()).collect(),
            ..Fingerprint::default()
        }
    }

    fn all(left: impl IntoIterator<Item = StreamCheckpoint>) -> Stored {
        let keyed = left.into_iter().map(|left| {
            let key = crate::checkpoint::Checkpoint::Stream(left.clone()).key();
            (key, left)
        });
        Stored {
            streams: keyed.collect(),
            ..Stored::default()
        }
    }

    fn stored() -> StreamCheckpoint {
        StreamCheckpoint {
            producer: "p".into(),
            run: "r".into(),
            cluster: cluster(Some("x")),
            fingerprint: fingerprint(&["a"]),
            token: token_to_json(&rawdoc! { "_data": "82" }),
            time: v(10),
            event: v(9),
        }
    }

    #[test]
    fn a_token_is_used_only_for_the_stream_it_was_made_by() {
        let start = |stored: &Stored, names: &[&str]| {
            stream_start(stored, &cluster(Some("x")), &fingerprint(names), v(11)).unwrap()
        };
        let token = || Start::After(rawdoc! { "_data": "82" });
        assert_eq!(start(&all([]), &["a"]), Start::Now);
        assert_eq!(start(&all([stored()]), &["a"]), token());
        assert_eq!(start(&all([stored()]), &["a", "b"]), Start::At(v(10)));
        assert_eq!(start(&all([stored()]), &["b"]), Start::Now, "b is new");
    }

    #[test]
    fn a_checkpoint_speaks_of_its_own_collections_only() {
        let left = |time, names: &[&str]| StreamCheckpoint {
            time: v(time),
            fingerprint: fingerprint(names),
            ..stored()
        };
        let start = |stored: &Stored, names: &[&str]| {
            stream_start(stored, &cluster(Some("x")), &fingerprint(names), v(99)).unwrap()
        };
        // `a` left, and `b` went on.
        let mut away = all([left(10, &["a", "b"]), left(50, &["b"])]);
        assert_eq!(
            start(&away, &["a", "b"]),
            Start::After(rawdoc! { "_data": "82" })
        );
        assert_eq!(start(&away, &["a", "c"]), Start::At(v(10)));
        assert_eq!(start(&away, &["b", "c"]), Start::At(v(50)));
        // Both went on, each by itself: the old token may be gone from the oplog.
        let apart = all([left(10, &["a", "b"]), left(50, &["b"]), left(40, &["a"])]);
        assert_eq!(start(&apart, &["a", "b"]), Start::At(v(40)));
        // A version that knew one checkpoint only has forgotten when `a` left.
        away.streams.retain(|_, left| left.time == v(50));
        assert_eq!(start(&away, &["a", "b"]), Start::At(v(50)), "a is new");
        let mut begun = SnapshotCheckpoint::of("p", "r", "a", &Snapshot::new("t", Plan::default()));
        begun.plan.planned_at = v(5);
        away.snapshots.insert("a".to_owned(), begun);
        assert_eq!(
            start(&away, &["a", "b"]),
            Start::At(v(5)),
            "since its snapshot"
        );
        let mark = poll_mark(&away, &cluster(Some("x")), &fingerprint(&["a", "b"]));
        assert_eq!(mark.unwrap(), Some(v(5)));
    }

    #[test]
    fn another_cluster_or_a_restored_one_is_refused() {
        let start = |cluster: &Cluster, now| {
            stream_start(&all([stored()]), cluster, &fingerprint(&["a"]), now).is_ok()
        };
        assert!(start(&cluster(Some("x")), v(10)));
        assert!(!start(&cluster(Some("y")), v(10)));
        assert!(
            start(&cluster(None), v(10)),
            "not known: the set's name decides"
        );
        assert!(!start(&Cluster::default(), v(10)));
        assert!(!start(&cluster(Some("x")), v(9)));
    }

    #[test]
    fn polls_go_on_from_their_mark_and_never_from_a_streams() {
        let polled = Fingerprint {
            capture: "poll".into(),
            ..fingerprint(&["a"])
        };
        let mut left = stored();
        let mark = |left: &StreamCheckpoint, print: &Fingerprint| {
            poll_mark(&all([left.clone()]), &cluster(Some("x")), print)
                .ok()
                .flatten()
        };
        assert_eq!(mark(&left, &polled), None, "a stream's");
        left.fingerprint = polled.clone();
        assert_eq!(mark(&left, &polled), Some(v(10)));
        let stream = stream_start(
            &all([left.clone()]),
            &cluster(Some("x")),
            &fingerprint(&["a"]),
            v(11),
        );
        assert!(stream.is_err(), "a poll's");
        assert_eq!(poll_mark(&all([]), &cluster(None), &polled).unwrap(), None);
        assert!(poll_mark(&all([left]), &cluster(Some("y")), &polled).is_err());
    }

    #[test]
    fn only_unfinished_splits_are_read_again() {
        let ids = [Bson::from(1), Bson::from(2)];
        let plan = Plan::whole(Some("u".into()), 9, 10).cut(&ids);
        let checkpoint = SnapshotCheckpoint {
            producer: "p".into(),
            run: "r".into(),
            collection: "a".into(),
            plan,
            done: BTreeMap::from([(1, 4)]),
            complete: false,
            documents: 4,
        };
        let mut all = all([stored()]);
        all.snapshots.insert("a".to_owned(), checkpoint);
        let left = snapshot(&all, "a", "t", Some("u")).unwrap();
        let done: Vec<_> = left.splits.iter().map(|split| split.done).collect();
        assert_eq!((done, left.documents()), (vec![false, true, false], 4));
        assert!(snapshot(&all, "b", "t", Some("u")).is_none());
        assert!(
            snapshot(&all, "a", "t", Some("other")).is_none(),
            "created anew"
        );
        all.streams.clear();
        assert!(
            snapshot(&all, "a", "t", Some("u")).is_none(),
            "a gap in the stream"
        );
    }
}
