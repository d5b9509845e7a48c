//! What a run does with what the last one left, decided before anything is opened.

use leafcutter_runtime::exit::Exit;
use leafcutter_runtime::report::Fault;
use leafcutter_schemas::version::Version;

use super::{Cluster, Fingerprint, SnapshotCheckpoint, Stored, StreamCheckpoint, token_from_json};
use crate::error::Error;
use crate::progress::{Snapshot, SplitState};
use crate::source::change_stream::Start;

/// Where the stream begins.
///
/// # Errors
/// When the checkpoint belongs to another cluster, or to a later time than the source has: then
/// versions cannot be compared, and a person has to decide.
pub fn stream_start(
    stored: Option<&StreamCheckpoint>,
    cluster: &Cluster,
    fingerprint: &Fingerprint,
    now: Version,
) -> Result<Start, Error> {
    let Some(stored) = stored else {
        return Ok(Start::Now);
    };
    same_source(stored, cluster, fingerprint)?;
    if stored.time > now {
        return Err(mismatch(
            "the source's time went back behind the checkpoint",
            format!(
                "{} in the checkpoint, {now} at the source, as after a restore",
                stored.time
            ),
        ));
    }
    match token_from_json(&stored.token) {
        // A `snapshot` alone leaves a time and no token.
        Some(token) if stored.fingerprint == *fingerprint && !token.is_empty() => {
            Ok(Start::After(token))
        }
        _ => Ok(Start::At(stored.time)),
    }
}

/// Up to which time a source was polled before; none for the first time. A clock that was set back
/// since is none of our business: the poll begins at the earlier of both.
///
/// # Errors
/// When the checkpoint belongs to another cluster, or to a change stream.
pub fn poll_mark(
    stored: Option<&StreamCheckpoint>,
    cluster: &Cluster,
    fingerprint: &Fingerprint,
) -> Result<Option<Version>, Error> {
    let Some(stored) = stored else {
        return Ok(None);
    };
    same_source(stored, cluster, fingerprint)?;
    Ok(Some(stored.time))
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
             began with, or begin again: another `--prefix`, and the target emptied (README).",
        ),
    )
}

/// The snapshot of a collection as it was left, if it can be gone on with. Without a stream
/// checkpoint it cannot: between the two there may be a gap.
pub fn snapshot(
    stored: &Stored,
    collection: &str,
    topic: &str,
    uuid: Option<&str>,
) -> Option<Snapshot> {
    stored.stream.as_ref()?;
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

    fn stored() -> StreamCheckpoint {
        StreamCheckpoint {
            producer: "p".into(),
            run: "r".into(),
            cluster: cluster(Some("x")),
            fingerprint: fingerprint(&["a"]),
            token: token_to_json(&rawdoc! { "_data": "82" }),
            time: v(10),
        }
    }

    #[test]
    fn a_token_is_used_only_for_the_stream_it_was_made_by() {
        let start = |stored: Option<&StreamCheckpoint>, names: &[&str]| {
            stream_start(stored, &cluster(Some("x")), &fingerprint(names), v(11)).unwrap()
        };
        assert_eq!(start(None, &["a"]), Start::Now);
        assert_eq!(
            start(Some(&stored()), &["a"]),
            Start::After(rawdoc! { "_data": "82" })
        );
        assert_eq!(start(Some(&stored()), &["a", "b"]), Start::At(v(10)));
    }

    #[test]
    fn another_cluster_or_a_restored_one_is_refused() {
        let start = |cluster: &Cluster, now| {
            stream_start(Some(&stored()), cluster, &fingerprint(&["a"]), now).is_ok()
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
            poll_mark(Some(left), &cluster(Some("x")), print)
                .ok()
                .flatten()
        };
        assert_eq!(mark(&left, &polled), None, "a stream's");
        left.fingerprint = polled.clone();
        assert_eq!(mark(&left, &polled), Some(v(10)));
        let stream = stream_start(
            Some(&left),
            &cluster(Some("x")),
            &fingerprint(&["a"]),
            v(11),
        );
        assert!(stream.is_err(), "a poll's");
        assert!(poll_mark(None, &cluster(None), &polled).unwrap().is_none());
        assert!(poll_mark(Some(&left), &cluster(Some("y")), &polled).is_err());
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
        let mut all = Stored {
            stream: Some(self::stored()),
            snapshots: BTreeMap::from([("a".to_owned(), checkpoint)]),
        };
        let left = snapshot(&all, "a", "t", Some("u")).unwrap();
        let done: Vec<_> = left.splits.iter().map(|split| split.done).collect();
        assert_eq!((done, left.documents()), (vec![false, true, false], 4));
        assert!(snapshot(&all, "b", "t", Some("u")).is_none());
        assert!(
            snapshot(&all, "a", "t", Some("other")).is_none(),
            "created anew"
        );
        all.stream = None;
        assert!(
            snapshot(&all, "a", "t", Some("u")).is_none(),
            "a gap in the stream"
        );
    }
}
