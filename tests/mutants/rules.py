"""The mutants: a rule of the protocol, the edits that take it away, the tests that hold it."""

STATEMENT = "consumer/src/sink/statement/upserts.rs"
APPLY = "consumer/src/sink/apply.rs"
WAITING = "consumer/src/sink/waiting.rs"
WORK = "consumer/src/sink/work.rs"
UPSERTS = "consumer/src/sink/upserts.rs"
CHILDREN = "consumer/src/sink/children.rs"
DELETES = "consumer/src/sink/deletes.rs"
SETTLE = "consumer/src/sink/settle.rs"
DECIDE = "consumer/src/sink/decide.rs"
HELD = "consumer/src/sink/held.rs"
PARKING = "consumer/src/sink/parking/pick.rs"
EXISTING = "consumer/src/sink/existing/mod.rs"
EXISTING_COLUMNS = "consumer/src/sink/existing/columns.rs"
FENCE = "consumer/src/sink/fence.rs"
RETRY = "consumer/src/sink/retry.rs"
ORPHAN = "consumer/src/orphan.rs"
CASCADE = "consumer/src/sink/cascade.rs"
DECODE = "consumer/src/decode.rs"
TURNS = "consumer/src/sink/keys/turns.rs"
KEYS = "consumer/src/sink/keys/write.rs"
NUMBERS = "consumer/src/sink/keys/numbers.rs"
MERGE = "producer/src/source/merge.rs"
HOLD = "producer/src/source/hold.rs"

# The whole workspace, since alone a package would want its dependencies with other features, anew.
PROTOCOL = ["--workspace", "--test", "protocol"]
APPLYING = ["--workspace", "--test", "apply"]
PURE = ["--workspace", "--lib"]
INTERLEAVINGS = ["interleavings::parent_and_child_alone"]


def mutant(name, rule, edits, cargo, tests=()):
    return {"name": name, "rule": rule, "edits": edits, "cargo": cargo, "tests": list(tests)}


MUTANTS = [
    mutant(
        "G1",
        "an older version never overwrites a newer one",
        [
            (
                STATEMENT,
                "select t.lc_doc, coalesce(x.lc_version > t.lc_version, false){stale} as stale",
                "select t.lc_doc, coalesce(false, false){stale} as stale",
            ),
            (STATEMENT, "where x.lc_version > t.lc_version{older}", "where false{older}"),
            (
                STATEMENT,
                '"(x.lc_version < excluded.lc_version or (x.lc_version = excluded.lc_version and ({}))){}"',
                '"(true or ({})){}"',
            ),
        ],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "G2",
        "an older version never comes back over a tombstone",
        [(UPSERTS, "sql.classify[usize::from(t.tombstones)]", "sql.classify[0]")],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "G3",
        "a delete leaves a tombstone",
        [(DELETES, "    execute(t, &sql.write_tombstones, &alive).await?;\n", "")],
        PROTOCOL,
        INTERLEAVINGS,
    ),
    mutant(
        "G4",
        "the guard looks at what is parked",
        [(WAITING, "if parked.stamp.version > candidate.stamp.version {", "if false {")],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "G5",
        "a placed row or a delete removes what is parked below it",
        [(WAITING, "_ if self.known.contains(&row) => remove", "_ if false => remove")],
        PROTOCOL,
        INTERLEAVINGS,
    ),
    mutant(
        "G6",
        "a placed row removes its tombstone",
        [(UPSERTS, "(t.tombstones, &sql.forget_tombstones)", "(false, &sql.forget_tombstones)")],
        PROTOCOL,
        INTERLEAVINGS,
    ),
    mutant(
        "G7",
        "an older delete never removes a newer row",
        [(DELETES, "if stored > version {", "if false {")],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "G8",
        "equal version and other content repairs a row",
        [
            (
                STATEMENT,
                '"(x.lc_version = t.lc_version and not ({}))"',
                '"(x.lc_version = t.lc_version and ({}) is not null)"',
            )
        ],
        PROTOCOL,
        ["rules::equal_version"],
    ),
    mutant(
        "G9",
        "of one batch the highest version of a key counts",
        [
            (
                WORK,
                "if self.candidates[index].stamp.version > candidate.stamp.version =>",
                "if self.candidates[index].stamp.version > candidate.stamp.version && false =>",
            )
        ],
        PROTOCOL,
        ["interleavings::"],
    ),
    mutant(
        "R1",
        "a dead letter tried again is strictly newer, or nothing",
        [(RETRY, "stored[index] < version ||", "stored[index] <= version ||")],
        ["--workspace", "--test", "verbs"],
        ["a_letter_tried_again"],
    ),
    mutant(
        "S1a",
        "the settling task looks at parked documents",
        [(SETTLE, "if !t.flags.parked {", "if true {")],
        PROTOCOL,
        ["statements::"],
    ),
    mutant(
        "S1c",
        "nothing is given up before what it waits for",
        [(PARKING, "and q.state = 'waiting' and not q.incomplete where", "and false where")],
        APPLYING,
        ["trees::"],
    ),
    mutant(
        "S1d",
        "a tree follows its root",
        [(SETTLE, "        for _ in 0..WAVES_MAX {", "        for _ in 0..0 {")],
        APPLYING,
        ["trees::a_tree"],
    ),
    mutant(
        "S1e",
        "who wait for each other are placed together",
        [(SETTLE, "begun < self.circles_after {", "begun < begun + QUICK {")],
        APPLYING,
        ["trees::a_circle"],
    ),
    mutant(
        "S1f",
        "who waits for a row that is there is placed",
        [(SETTLE, "[Pick::Circles, Pick::Free, Pick::Rest]", "[Pick::Circles, Pick::Free]")],
        APPLYING,
        ["trees::a_row"],
    ),
    mutant(
        "S1g",
        "who lacks child rows is there for others",
        [(PARKING, "and q.state = 'waiting' and not q.incomplete where", "and q.state = 'waiting' where")],
        APPLYING,
        ["trees::a_document_that_lacks"],
    ),
    mutant(
        "S1h",
        "what has waited long for its parent is looked at less often",
        [(PARKING, "(now() - p.parked_at) / 10", "interval '0'")],
        APPLYING,
        ["trees::what_has_waited"],
    ),
    mutant(
        "S1i",
        "a letter gives up its own record, and no newer one",
        [(DECIDE, "and p.topic = k.t and p.partition = k.p and p.\\\"offset\\\" = k.o", "and (k.t, k.p, k.o) is not null")],
        APPLYING,
        ["trees::a_letter"],
    ),
    mutant(
        "S1j",
        "a circle is placed though one of it was given up",
        [(PARKING, "where q.reason = 'parent')", "where q.reason = 'parent' and q.state = 'waiting')")],
        APPLYING,
        ["trees::a_circle"],
    ),
    mutant(
        "S1b",
        "the settling task looks at held rows",
        [(HELD, "if t.flags.held {", "if false {")],
        PROTOCOL,
        ["statements::"],
    ),
    mutant(
        "S2",
        "a batch locks what is parked for its keys first",
        [
            (
                PARKING,
                "join unnest($1::text[], $2::bytea[]) as k(t, k) on p.table_name = k.t and p.row_key = k.k \\\n"
                '         order by p.table_name, p.row_key for update of p"',
                "join unnest($1::text[], $2::bytea[]) as k(t, k) on p.table_name = k.t and p.row_key = k.k \\\n"
                '         order by p.table_name, p.row_key"',
            )
        ],
        PROTOCOL,
        ["statements::"],
    ),
    mutant(
        "S4",
        "a parent that somebody works on is not deleted",
        [
            (
                DELETES,
                ".filter(|document| there.contains_key(document) && !locked.contains_key(document))",
                ".filter(|_| false)",
            )
        ],
        PROTOCOL,
        ["statements::", "races::"],
    ),
    mutant(
        "S5",
        "a parent's batch takes what waits for it along",
        [(PARKING, "pub const PULLED_MAX: usize = 5_000;", "pub const PULLED_MAX: usize = 0;")],
        PROTOCOL,
        ["rules::parent_takes"],
    ),
    mutant(
        "H1",
        "a row that others point to is held",
        [(DELETES, "if alive.contains(&document) && there.contains_key(&document) {", "if false {")],
        PROTOCOL,
        INTERLEAVINGS,
    ),
    mutant(
        "H2",
        "a newer version of a held row cancels the hold",
        [(UPSERTS, "(t.flags.held, &sql.forget_held)", "(false, &sql.forget_held)")],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "O1",
        "no orphan before a heartbeat at the image's time",
        [(ORPHAN, "waiting.as_of.max(waiting.parent_tombstone)", "waiting.parent_tombstone")],
        PURE,
        ["orphan::"],
    ),
    mutant(
        "O2",
        "no orphan before the parents' partitions applied it",
        [(ORPHAN, "has_applied(progress, topic, ends)\n", "!ends.is_empty()\n")],
        PURE,
        ["orphan::"],
    ),
    mutant(
        "O3",
        "no orphan before the parents' snapshot is complete",
        [(ORPHAN, "&& heartbeat.time >= complete.complete_time", "")],
        PURE,
        ["orphan::"],
    ),
    mutant(
        "O4a",
        "no orphan before the child's partition applied it",
        [(ORPHAN, "if own_end > own_next.unwrap_or(0) {", "if false {")],
        PURE,
        ["orphan::"],
    ),
    mutant(
        "O4b",
        "no orphan while its parent's delete is behind",
        [(ORPHAN, "waiting.as_of.max(waiting.parent_tombstone)", "waiting.as_of")],
        APPLYING,
        ["no_orphan"],
    ),
    mutant(
        "F1a",
        "a batch begins where the last one ended",
        [(FENCE, "and o.epoch = n.epoch and o.next_offset = n.expected", "and o.epoch = n.epoch")],
        PROTOCOL,
        ["fence::"],
    ),
    mutant(
        "F1b",
        "an owner of an older epoch cannot write",
        [(FENCE, "and o.epoch = n.epoch and o.next_offset", "and o.next_offset")],
        PROTOCOL,
        ["fence::"],
    ),
    mutant(
        "F2",
        "a commit whose answer was lost is recognised",
        [(FENCE, "f.next > f.expected && stands(f)", "false && stands(f)")],
        PROTOCOL,
        ["fence::"],
    ),
    mutant(
        "F4",
        "who takes a partition over raises its epoch",
        [(FENCE, "set epoch = o.epoch + 1, owner", "set epoch = o.epoch, owner")],
        PROTOCOL,
        ["fence::"],
    ),
    mutant(
        "F5",
        "an owner frozen in the middle of a COPY is ended by its heir",
        [(FENCE, "                evict(session, group, topic, partition, owner).await?;\n", "")],
        PROTOCOL,
        ["fence::"],
    ),
    mutant(
        "E1",
        "a column that takes null, or does not, is told of",
        [(EXISTING_COLUMNS, "        all.extend(nullability(table, position, there));\n", "")],
        APPLYING,
        ["existing::each"],
    ),
    mutant(
        "E2",
        "a unique key that is missing, or unknown, is told of",
        [(EXISTING, "    keys::unique(entry, found, all);\n", "")],
        APPLYING,
        ["existing::each"],
    ),
    mutant(
        "E3",
        "a missing index is told of",
        [(EXISTING, "    keys::indexes(entry, found, all);\n", "")],
        APPLYING,
        ["existing::each"],
    ),
    mutant(
        "E4",
        "foreign keys that differ are told of",
        [(EXISTING, "            keys::foreign(model, entry, found, &mut all);\n", "")],
        APPLYING,
        ["existing::each"],
    ),
    mutant(
        "P3",
        "one record per key and cluster time",
        [(MERGE, "*fate = Fate::Collapsed;", "")],
        PURE,
        ["source::merge"],
    ),
    mutant(
        "P5",
        "updates of a batch merge at the last",
        [(MERGE, "*fate = Fate::Merged;", "")],
        PURE,
        ["source::merge"],
    ),
    mutant(
        "P3t",
        "a transaction is held back until it is whole",
        [(HOLD, "if closed || !grouped {", "if true {")],
        PURE,
        ["source::hold"],
    ),
    mutant(
        "PH2",
        "a heartbeat never claims a time that is not whole",
        [(HOLD, "_ => time.previous(),", "_ => time,")],
        PURE,
        ["source::hold"],
    ),
    mutant(
        "D1",
        "a row that goes with its parent leaves a tombstone at its own version",
        [(CASCADE, "        execute(t, &sql.tombstones).await?;\n", "")],
        PROTOCOL,
        ["statements::older_record", "interleavings::children_that_go"],
    ),
    mutant(
        "D2",
        "nothing goes that somebody is writing",
        [(CASCADE, "    left.retain(|_, (count, _)| *count > 0);\n", "    left.clear();\n")],
        PROTOCOL,
        ["statements::parent_deleted_while_what_goes"],
    ),
    mutant(
        "D3",
        "what holds a row holds all that it would go with",
        [(CASCADE, "obstructed.extend(documents_of(t, holder).await?);", "documents_of(t, holder).await?;")],
        APPLYING,
        ["cascades::"],
    ),
    mutant(
        "D4",
        "nothing goes with its parent before all that happened until then is applied",
        [(CASCADE, "self.0.is_some_and(", "self.0.is_none_or(")],
        PROTOCOL,
        ["interleavings::children_that_go"],
    ),
    mutant(
        "D5",
        "nothing goes that is newer than what is known to be applied",
        [(CASCADE, " && along.covers(*newest))", ")")],
        APPLYING,
        ["cascades::"],
    ),
    mutant(
        "C1",
        "child rows that wait are known by their document's own record",
        [(WAITING, "parked.incomplete && parked.stamp.version == candidate.stamp.version;", "false;")],
        APPLYING,
        ["links::"],
    ),
    mutant(
        "W1",
        "a document outside the filter is a delete, not a record to skip",
        [(DECODE, "None => part(table, Wish::Delete { filtered: true }),", "None => Err(malformed(String::new())),")],
        PROTOCOL,
        ["interleavings::filters"],
    ),
    mutant(
        "G10",
        "a fresh group begins on the tombstones of the others",
        [(FENCE, "and a.partition = o.partition and a.has_tombstones)", "and a.partition = o.partition and false)")],
        APPLYING,
        ["rules::fresh_group"],
    ),
    mutant(
        "L1",
        "a letter of what was overtaken before is closed at once",
        [(APPLY, "overtaken::close(t, records).await?;", "")],
        APPLYING,
        ["letters::"],
    ),
    mutant(
        "L2",
        "who writes a document closes a letter listed meanwhile",
        [
            (
                WAITING,
                "self.known.insert(parked.row.clone());\n            self.flags.dead_letters = true;",
                "self.known.insert(parked.row.clone());",
            )
        ],
        APPLYING,
        ["letters::"],
    ),
    mutant(
        "L3",
        "a letter is listed before it is sent",
        [(DECIDE, "    list(t, candidate, &letter).await?;\n", "")],
        APPLYING,
        ["letters::"],
    ),
    mutant(
        "K1",
        "a table whose key does not follow from `_id` is written in turns",
        [(TURNS, "        t.session.client().execute(&statement, &[&lock]).await?;\n        t.turns", "        let _ = (&statement, lock);\n        t.turns")],
        PROTOCOL,
        ["keys::the_winner_deleted", "keys::nobody_looks_on"],
    ),
    mutant(
        "K2",
        "nobody waits for such a turn in the middle of a transaction",
        [(TURNS, "select pg_try_advisory_xact_lock($1)", "select pg_advisory_xact_lock($1) is not null")],
        PROTOCOL,
        ["keys::a_parent_does_not_wait"],
    ),
    mutant(
        "K3",
        "the guard is kept by the document, its tombstone included",
        [(KEYS, "line.as_ref().map(|line| line.version).max(tombstone) > Some(version)", "line.as_ref().map(|line| line.version) > Some(version)")],
        APPLYING,
        ["natural::in_whatever_order", "newest::in_whatever_order"],
    ),
    mutant(
        "K4",
        "a changed key takes the old row away",
        [(KEYS, "    vacate::delete(t, root, &now).await?;\n", "    let _ = now;\n")],
        APPLYING,
        ["natural::a_document_is_found"],
    ),
    mutant(
        "K5",
        "the image of the winner is kept, too",
        [(KEYS, "images::keep(t, root, &present, records).await?;", "images::keep(t, root, &[], records).await?;")],
        APPLYING,
        ["newest::the_newest_is_the_row"],
    ),
    mutant(
        "K6",
        "a number is kept by its document's line",
        [(NUMBERS, "            (None, Some(line)) => {", "            (None, Some(line)) if false => {"), (NUMBERS, "            (None, None) => without", "            (None, _) => without")],
        APPLYING,
        ["generated::numbers_are_kept"],
    ),
    mutant(
        "K7",
        "whoever places a document takes along what is told of it",
        [(WAITING, ".told_by_id.then(|| row.clone());", ".told_by_id.then(|| row.clone()).filter(|_| false);")],
        APPLYING,
        ["looked_up::what_is_not_there_yet"],
    ),
    mutant(
        "K8",
        "a child row that was left out is waited for",
        [(CHILDREN, "    lack_unknown(t, root, written);\n", "")],
        APPLYING,
        ["looked_up::what_is_not_there_yet"],
    ),
    mutant(
        "K9",
        "a document waits for the key of its parent",
        [(UPSERTS, "    take_unknown(t, root, documents).await?;\n", "")],
        APPLYING,
        ["looked_up::what_is_not_there_yet"],
    ),
]
