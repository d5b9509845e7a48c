use super::*;
use crate::status::report::gate_words;
use crate::{catalog::Collection, status::facts::ControlView};
use leafcutter_runtime::report::Fault;
use leafcutter_schemas::control::{Control, Heartbeat, SnapshotComplete, SnapshotProgress};
use leafcutter_sink::{
    change::Counts,
    ids::Generation,
    state::{
        consumers::ConsumerRow, dead_letters::CountedDeadLetters,
        deferred_constraints::DeferredRow, mappings::MappingRow,
    },
};

/// The second at which the tests look.
const NOW: i64 = 1_000;

fn at(second: i64) -> Version {
    Version::from_i64(second << 31).unwrap()
}

fn installation() -> Installation {
    Installation {
        prefix: "lc".to_owned(),
        group: "g".to_owned(),
        mapping: None,
    }
}

/// Parents and their children.
fn catalog() -> Catalog {
    let mut catalog = Catalog::load("lc", None).unwrap();
    let collection = |name: &str, parents: &[usize]| Collection {
        database: "shop".to_owned(),
        name: name.to_owned(),
        topic: format!("lc.shop.{name}"),
        parents: parents.to_vec(),
    };
    catalog.collections = vec![collection("parents", &[]), collection("children", &[0])];
    catalog
}

fn heartbeat(second: i64, parents: &[i64], children: &[i64]) -> Control {
    Control::Heartbeat(Heartbeat {
        producer: "lc.shop".to_owned(),
        run: "r".to_owned(),
        time: at(second),
        low_water: Version::ZERO,
        sent_at: (NOW - 1) * 1000,
        offsets: BTreeMap::from([
            ("lc.shop.parents".to_owned(), parents.to_vec()),
            ("lc.shop.children".to_owned(), children.to_vec()),
        ]),
        snapshots: BTreeMap::from([(
            "parents".to_owned(),
            SnapshotProgress {
                topic: "lc.shop.parents".to_owned(),
                documents_estimated: 1_000,
                documents_read: 640,
                splits_done: 5,
                splits: 8,
            },
        )]),
        polled: false,
    })
}

fn complete(collection: &str, offsets: &[i64]) -> Control {
    Control::SnapshotComplete(SnapshotComplete {
        producer: "lc.shop".to_owned(),
        run: "r".to_owned(),
        collection: collection.to_owned(),
        topic: format!("lc.shop.{collection}"),
        offsets: offsets.to_vec(),
        complete_time: at(1),
        documents: 1,
        snapshot: true,
    })
}

fn applied(collection: &str, partition: i32, next: i64, second: i64) -> OffsetRow {
    let mut outcomes = Counts::default();
    outcomes.add_many(Outcome::Applied, next);
    let topic = format!("lc.shop.{collection}");
    OffsetRow {
        topic,
        partition,
        next,
        source_time: at(second).as_i64(),
        outcomes,
    }
}

fn facts(control: Vec<Control>, offsets: Vec<OffsetRow>) -> Facts {
    let mut view = ControlView::default();
    for record in control {
        view.take(record);
    }
    let consumer = ConsumerRow {
        id: "consumer-1".to_owned(),
        host: "h".to_owned(),
        program: "leafcutter-consumer 0.1.0".to_owned(),
        mapping: "m".to_owned(),
        partitions: 4,
        admin: None,
        seen: 2,
        problem: None,
    };
    Facts {
        at: NOW * 1000,
        groups: vec!["g".to_owned()],
        offsets,
        gates: ["lc.shop.children".to_owned()].into(),
        waiting: Vec::new(),
        held: Vec::new(),
        cascaded: Vec::new(),
        dead_letters: Vec::new(),
        breakers: Vec::new(),
        pauses: Vec::new(),
        unmapped: Vec::new(),
        unfinished: Vec::new(),
        in_force: Some(in_force("m")),
        older: Vec::new(),
        deferred: Vec::new(),
        consumers: vec![consumer],
        control: Ok(view),
    }
}

fn in_force(hash: &str) -> MappingRow {
    MappingRow {
        generation: Generation(2),
        hash: hash.to_owned(),
        body: String::new(),
        program: "p".to_owned(),
        since: "2025-11-21 11:02:25 UTC".to_owned(),
    }
}

fn older(replay: bool, ends: Option<Vec<i64>>) -> OlderRow {
    OlderRow {
        topic: "lc.shop.parents".to_owned(),
        generation: 2,
        what: "column p.x is new".to_owned(),
        replay,
        ends,
    }
}

/// Everything is applied and nothing waits.
fn settled() -> Facts {
    facts(
        vec![
            heartbeat(NOW - 2, &[5, 0], &[3]),
            complete("parents", &[4, 0]),
            complete("children", &[0]),
        ],
        vec![
            applied("parents", 0, 5, 900),
            applied("children", 0, 3, 900),
        ],
    )
}

fn look(facts: &Facts) -> Report {
    judge(facts, None, &catalog(), &installation()).0
}

#[test]
fn ready_when_everything_is_applied_and_nothing_waits() {
    let report = look(&settled());
    assert_eq!(report.not_ready_because, Vec::<String>::new());
    assert!(report.ready);
    // What is applied shows the source as it was at the heartbeat.
    assert_eq!(report.collections[0].lag_seconds, Some(2));
    assert_eq!(report.collections[0].behind, 0);
}

#[test]
fn a_replay_that_has_come_to_its_end_is_no_obstacle() {
    let mut facts = settled();
    facts.older.push(older(true, Some(vec![5])));
    let report = look(&facts);
    assert!(report.ready, "{:?}", report.not_ready_because);
    assert!(report.older_rows.is_empty());
}

#[test]
fn each_obstacle_alone_is_told() {
    type Change = fn(&mut Facts);
    let cases: [(Change, &str); 17] = [
        (|f| f.consumers.clear(), "no consumer is running"),
        (|f| f.consumers[0].seen = 16, "no consumer is running"),
        (
            |f| {
                let mut other = f.consumers[0].clone();
                other.mapping = "n".to_owned();
                f.consumers.push(other);
            },
            "run under 2 mappings",
        ),
        (
            |f| f.in_force = Some(in_force("n")),
            "run under mapping m, and n is in force",
        ),
        (
            |f| f.older.push(older(true, None)),
            "rows of parents were written before mapping generation 2 (column p.x is new): \
             leafcutter replay parents",
        ),
        (
            |f| f.older.push(older(false, None)),
            "leafcutter resnapshot parents",
        ),
        (
            |f| f.older.push(older(true, Some(vec![6]))),
            "rows of parents are being written again under mapping generation 2",
        ),
        (|f| f.at += 60_000, "was last heard of 1 min 1 s ago"),
        (
            |f| f.control = Ok(ControlView::default()),
            "no producer has sent a heartbeat",
        ),
        (
            |f| f.control = Err(Fault::new("a", "b", "connection refused", "c")),
            "Kafka cannot be asked: connection refused",
        ),
        (|f| f.gates.clear(), ""),
        (
            |f| {
                f.offsets[0].next = 4;
                let already = f.offsets[0].outcomes.of(Outcome::Applied);
                f.offsets[0]
                    .outcomes
                    .add_many(Outcome::Applied, 4 - already);
            },
            "parents: 1 record and 1 min 40 s behind",
        ),
        (
            |f| {
                f.waiting.push(WaitingDocuments {
                    topic: "lc.shop.children".to_owned(),
                    unique: false,
                    orphan: false,
                    wait_table: "parents".to_owned(),
                    documents: 2,
                });
            },
            "2 documents waiting",
        ),
        (
            |f| f.held.push(("parents".to_owned(), 1)),
            "1 deleted row kept",
        ),
        (
            |f| {
                f.dead_letters.push(CountedDeadLetters {
                    topic: "lc.shop.parents".to_owned(),
                    reason: "wrong-type".to_owned(),
                    dead_letters: 3,
                });
            },
            "3 dead letters open",
        ),
        (
            |f| {
                f.offsets[0].outcomes.add(Outcome::Suppressed);
                f.offsets[0].outcomes.add_many(Outcome::Applied, -1);
            },
            "1 record suppressed by the target",
        ),
        (
            |f| f.offsets[0].outcomes.add(Outcome::Deleted),
            "the accounting does not add up",
        ),
    ];
    for (change, expected) in cases {
        let mut facts = settled();
        change(&mut facts);
        let report = look(&facts);
        let why = report.not_ready_because.join("; ");
        assert!(why.contains(expected), "{expected:?} is not in {why:?}");
        // A gate that is closed and waits for nothing is about to open.
        assert_eq!(report.ready, expected.is_empty(), "{why}");
    }
}

#[test]
fn a_gate_tells_how_much_of_its_parents_is_applied() {
    let mut facts = settled();
    facts.gates.clear();
    facts.offsets[0] = applied("parents", 0, 2, 900);
    let gate = &look(&facts).collections[1].gate_waits_for;
    assert_eq!(gate_words(gate), "parents 50 %");
    // All of it is applied, and parents wait for each other.
    let mut waits = settled();
    waits.gates.clear();
    for (orphan, documents) in [(false, 4_088), (true, 7)] {
        waits.waiting.push(WaitingDocuments {
            topic: "lc.shop.parents".to_owned(),
            unique: false,
            orphan,
            wait_table: "parents".to_owned(),
            documents,
        });
    }
    assert_eq!(
        gate_words(&look(&waits).collections[1].gate_waits_for),
        "parents 100 % with 4,088 waiting"
    );
    // Not complete: the estimate counts, and it is never the whole.
    facts.control = Ok(ControlView::default());
    if let Ok(control) = &mut facts.control {
        control.take(heartbeat(1, &[640, 0], &[0]));
    }
    facts.offsets[0] = applied("parents", 0, 620, 900);
    let report = look(&facts);
    assert_eq!(
        gate_words(&report.collections[1].gate_waits_for),
        "parents 62 %"
    );
    assert_eq!(report.collections[0].snapshot, SnapshotState::Running);
    assert_eq!(report.collections[0].expected, 1_000);
}

#[test]
fn lag_is_that_of_the_partition_furthest_back() {
    let control = || vec![heartbeat(NOW, &[5, 7], &[3])];
    let lag = |offsets| look(&facts(control(), offsets)).collections[0].lag_seconds;
    let done = applied("parents", 1, 7, 1);
    assert_eq!(
        lag(vec![applied("parents", 0, 5, 1), done.clone()]),
        Some(0)
    );
    assert_eq!(
        lag(vec![applied("parents", 0, 4, 940), done.clone()]),
        Some(60)
    );
    assert_eq!(lag(vec![done]), None, "nothing of partition 0 is applied");
}

#[test]
fn rates_come_from_two_looks() {
    let before = facts(vec![], vec![applied("parents", 0, 100, 1)]);
    let mut now = facts(
        vec![heartbeat(NOW, &[5_100], &[])],
        vec![applied("parents", 0, 1_100, 1)],
    );
    now.at += 2_000;
    let line = |before| {
        judge(&now, before, &catalog(), &installation())
            .0
            .collections[0]
            .clone()
    };
    assert_eq!((line(None).rate, line(None).seconds_left), (None, None));
    assert_eq!(
        (line(Some(&before)).rate, line(Some(&before)).seconds_left),
        (Some(500), Some(8))
    );
    assert_eq!(line(Some(&now)).rate, None, "at the same moment");
}

#[test]
fn accounting_is_checked_partition_by_partition() {
    let mut facts = settled();
    // One too many here and one too few there do not make up for each other.
    facts.offsets[0].outcomes.add(Outcome::Unchanged);
    facts.offsets[1].outcomes.add_many(Outcome::Applied, -1);
    let broken = look(&facts).accounting.broken;
    assert_eq!(broken.len(), 2);
    assert_eq!((broken[0].consumed, broken[0].accounted), (5, 6));
}

#[test]
fn topics_outside_the_mapping_are_told() {
    let mut facts = settled();
    facts.offsets.push(applied("strangers", 0, 1, 900));
    facts.offsets.push(applied("strangers", 1, 1, 900));
    let report = look(&facts);
    assert_eq!(
        report.not_ready_because,
        ["1 topic outside the mapping, as lc.shop.strangers"]
    );
}

#[test]
fn a_wrong_group_is_told_first() {
    let mut facts = settled();
    facts.offsets.clear();
    facts.groups = vec!["other".to_owned()];
    let report = look(&facts);
    assert!(report.not_ready_because[0].contains("--group may be: other"));
}

#[test]
fn constraints_that_are_to_come_are_waited_for_and_those_that_are_refused_are_told() {
    let row = |name: &str, problem: Option<&str>| DeferredRow {
        table: "\"public\".\"children\"".to_owned(),
        name: name.to_owned(),
        columns: vec!["parent_id".to_owned()],
        parent: Some(("\"public\".\"parents\"".to_owned(), vec!["id".to_owned()])),
        is_added: problem.is_some(),
        problem: problem.map(str::to_owned),
    };
    let mut facts = settled();
    facts.deferred = vec![row("a", None), row("b", None)];
    let report = look(&facts);
    let why = &report.not_ready_because;
    assert!(
        why.len() == 1 && why[0].starts_with("2 constraints still to be added"),
        "{why:?}"
    );
    facts.deferred.push(row("c", Some("a key is not present")));
    let report = look(&facts);
    let why = &report.not_ready_because;
    assert!(
        why.len() == 1 && why[0].contains("a key is not present"),
        "{why:?}"
    );
}
