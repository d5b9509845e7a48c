"""The mutants: a rule of the protocol, the edits that take it away, the tests that hold it."""

SINK = "consumer/sink/src/"
LOADING = SINK + "write/loading.rs"
KNOWN_PARENTS = SINK + "write/known_parents.rs"
INTO = "operator/src/replay/into.rs"
SWAP = "operator/src/replay/into/swap.rs"
GUARD = SINK + "guard.rs"
ORPHAN = SINK + "orphan.rs"
DECODE = SINK + "decode.rs"
BREAKERS = SINK + "state/breakers.rs"
OFFSETS = SINK + "state/offsets.rs"
PARKED_SELECT = SINK + "state/parked/select.rs"
PARKED_CYCLES = SINK + "state/parked/cycles.rs"
PARKED_WRITE = SINK + "state/parked/write.rs"
STATEMENT = SINK + "statement/upserts.rs"
OWNER = SINK + "statement/owner.rs"
COMPARE = SINK + "target/compare/mod.rs"
SPECIAL = SINK + "target/special.rs"
COMPARE_COLUMNS = SINK + "target/compare/columns.rs"
UPSERTS = SINK + "write/upserts.rs"
ROUND = SINK + "write/round.rs"
CHILDREN = SINK + "write/children.rs"
CANDIDATE = SINK + "write/candidate.rs"
DELETES = SINK + "write/deletes.rs"
CASCADE = SINK + "write/cascade.rs"
RELEASE = SINK + "write/release.rs"
PARK = SINK + "write/park.rs"
UNIQUE_CYCLES = SINK + "write/unique_cycles.rs"
TABLE_LOCK = SINK + "write/table_lock.rs"
DOCUMENTS = SINK + "write/by_document/documents.rs"
NUMBERS = SINK + "target/numbers.rs"
GENERATED_KEYS = SINK + "write/by_document/generated_keys.rs"
BATCH = SINK + "batch.rs"
SETTLE = SINK + "settle/mod.rs"
DECIDE = SINK + "settle/decide.rs"
HELD = SINK + "settle/held.rs"
ISOLATE = SINK + "settle/isolate.rs"
DIRECT_COPY = SINK + "write/direct_copy.rs"
SUPPRESSED = SINK + "write/suppressed.rs"
SUPPRESSED_SQL = SINK + "statement/suppressed.rs"
ROUNDS = SINK + "settle/rounds.rs"
RETRY = SINK + "retry.rs"
GATE = "consumer/src/gate.rs"
PARTITIONS = "consumer/src/assemble/partitions.rs"
CONNECTION = SINK + "connection.rs"
SESSION = SINK + "session/mod.rs"
CONNECT = SINK + "session/connect.rs"
CLIENTS = "runtime/src/kafka/clients.rs"
MAPPINGS = SINK + "state/mappings.rs"
MERGE = "producer/src/source/merge.rs"
HOLD = "producer/src/source/hold.rs"
CHECKPOINT = "producer/src/checkpoint/mod.rs"

PROTOCOL = ["-p", "leafcutter-sink-suites", "--test", "protocol"]
APPLYING = ["-p", "leafcutter-sink-suites", "--test", "apply"]
PURE = ["-p", "leafcutter-sink", "--lib"]
# The whole workspace, since alone a package would want its dependencies with other features, anew.
PRODUCER = ["--workspace", "--lib"]
VERBS = ["--workspace", "--test", "program", "--test", "verbs"]
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
                'let mut stale = sql::is_stale("x.lc_version", "t.lc_version");',
                'let mut stale = "false".to_owned();',
            ),
            (STATEMENT, "            sql::is_older(stored, incoming),\n", '            "true",\n'),
        ],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "G2",
        "an older version never comes back over a tombstone",
        [(UPSERTS, "if !guard::admits(stored, candidate.version().version) {", "if false {")],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "G3",
        "a delete leaves a tombstone",
        [(DELETES, "    tombstones::write(t.session, name, &deleted).await?;\n", "")],
        PROTOCOL,
        INTERLEAVINGS,
    ),
    mutant(
        "G4",
        "the guard looks at what is parked",
        [(RELEASE, "if !guard::admits(stored, version) {", "if false {")],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "G5",
        "a placed row or a delete removes what is parked below it",
        [(PARK, "_ if t.records.released.is_locked(candidate.row()) => {", "_ if false => {")],
        PROTOCOL,
        INTERLEAVINGS,
    ),
    mutant(
        "G6",
        "a placed row removes its tombstone",
        [(ROUND, "        if t.tombstones {", "        if false {")],
        PROTOCOL,
        INTERLEAVINGS,
    ),
    mutant(
        "G7",
        "an older delete never removes a newer row",
        [(DELETES, "if !guard::admits(guard::highest(there, tombstone), row.version) {", "if false {")],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "G8",
        "equal version and other content repairs a row",
        [(STATEMENT, '"({} and not ({}{}))",', '"({} and ({}{}) is not null)",')],
        PROTOCOL,
        ["rules::equal_version"],
    ),
    mutant(
        "G9",
        "of one batch the highest version of a key counts",
        [(GUARD, "    earlier <= later\n", "    earlier <= later || earlier > later\n")],
        PROTOCOL,
        ["interleavings::"],
    ),
    mutant(
        "T1",
        "what is older than what is stored is not admitted",
        [(GUARD, "    stored <= Some(incoming)\n", "    stored <= Some(incoming) || stored > Some(incoming)\n")],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "T2",
        "a live record is admitted at the version that is stored",
        [(GUARD, "    stored <= Some(incoming)\n", "    stored < Some(incoming)\n")],
        PROTOCOL,
        ["rules::repeated_delete"],
    ),
    mutant(
        "T3",
        "only the same version is the same",
        [(GUARD, "    stored == Some(incoming)\n", "    stored.is_some()\n")],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "T4",
        "of equal versions of one batch the later counts",
        [(GUARD, "    earlier <= later\n", "    earlier < later\n")],
        PURE,
        ["guard::"],
    ),
    mutant(
        "T5",
        "what is stored is the highest version of row and tombstone",
        [(GUARD, "    one.max(other)\n", "    one.or(other)\n")],
        APPLYING,
        ["rules::"],
    ),
    mutant(
        "T6",
        "what is stale is taken out before the write",
        [(GUARD, 'format!("{stored} > {incoming}")', 'format!("{stored} > {incoming} and false")')],
        PROTOCOL,
        ["interleavings::", "statements::"],
    ),
    mutant(
        "T7",
        "only what is older is raised",
        [(GUARD, 'format!("{stored} < {incoming}")', 'format!("{stored} <> {incoming}")')],
        PROTOCOL,
        ["statements::older"],
    ),
    mutant(
        "T8",
        "only equal content at the same version is unchanged",
        [(GUARD, 'format!("{stored} = {incoming}")', 'format!("{stored} <= {incoming}")')],
        APPLYING,
        ["rules::highest_version"],
    ),
    mutant(
        "T9",
        "a row's version may fall where the document keeps the guard",
        [(GUARD, 'format!("{stored} <> {incoming}")', 'format!("{stored} < {incoming}")')],
        APPLYING,
        ["natural::rows_that_others_point_to"],
    ),
    mutant(
        "T10",
        "what is placed settles what waits at its own version",
        [(GUARD, 'format!("{waiting} <= {placed}")', 'format!("{waiting} < {placed}")')],
        PROTOCOL,
        INTERLEAVINGS,
    ),
    mutant(
        "T11",
        "what is placed settles nothing that is newer",
        [(GUARD, 'format!("{waiting} <= {placed}")', 'format!("least({waiting}, {placed}) <= {placed}")')],
        PROTOCOL,
        ["interleavings::parent_and_child"],
    ),
    mutant(
        "T12",
        "rows that are written at once are counted",
        [(ROUND, "usize::try_from(count) == Ok(documents.len())", "usize::try_from(count).is_ok()")],
        APPLYING,
        ["rules::"],
    ),
    mutant(
        "T13",
        "a record is at fault only after a comparison",
        [(BATCH, "self.precheck + self.compares == 0 && error.is_of_rows()", "matches!(error, ApplyError::Again(None)) && self.precheck + self.compares == 0")],
        APPLYING,
        ["stale_records"],
    ),
    mutant(
        "R1",
        "a dead letter tried again is strictly newer, or nothing",
        [(GUARD, "    stored < Some(incoming)\n", "    stored <= Some(incoming)\n")],
        VERBS,
        ["a_dead_letter_tried_again"],
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
        [(PARKED_SELECT, "and q.state = 'waiting' and not q.incomplete where", "and false where")],
        APPLYING,
        ["trees::"],
    ),
    mutant(
        "S1p",
        "what waits for tables of others takes nobody's turn",
        [(PARKED_SELECT, "where p.table_name = any($1) and p.state", "where $1::text[] is not null and p.state")],
        APPLYING,
        ["trees::what_waits_for_tables_of_others"],
    ),
    mutant(
        "LD1",
        "while a foreign key is not there, no row goes to which it points",
        [(KNOWN_PARENTS, "self.parents.contains(&root)", "self.parents.len() > 999 && self.parents.contains(&root)")],
        PROTOCOL,
        ["races::parent_deleted_while_its_child_comes_and_the_tables_are_filled"],
    ),
    mutant(
        "LD2",
        "a row whose parent was not seen is not written",
        [(LOADING, "all(|(parent, key)| t.known.knows(parent, key))", "all(|_| true)")],
        PROTOCOL,
        ["filled::parent_and_child_while"],
    ),
    mutant(
        "LD2r",
        "what a transaction has seen counts when it is committed",
        [(KNOWN_PARENTS, "            if committed {", "            if committed || true {")],
        APPLYING,
        ["loading::what_was_seen"],
    ),
    mutant(
        "W2",
        "children are not read while a tree of parents is placed",
        [(GATE, "&& !self.waits(connection, id).await? {", "&& (true || !self.waits(connection, id).await?) {")],
        VERBS,
        ["gate::"],
    ),
    mutant(
        "X1",
        "new tables begin with the tombstones of those in use",
        [(INTO, "for (old, new) in same_keys {", "for (old, new) in same_keys.iter().take(0) {")],
        VERBS,
        ["exchange::what_is_known"],
    ),
    mutant(
        "X2",
        "what hangs on a table keeps it from being exchanged",
        [(SWAP, "    if !obstacles.is_empty() {", "    if obstacles.len() > 99 {")],
        VERBS,
        ["exchange::what_hangs"],
    ),
    mutant(
        "S1d",
        "a tree follows its root",
        [(ROUNDS, "        for _ in 0..PASSES_MAX {", "        for _ in 0..0 {")],
        APPLYING,
        ["trees::a_tree"],
    ),
    mutant(
        "S1e",
        "who wait for each other are placed together",
        [(ROUNDS, "begun < self.cycles_after {", "begun < begun + QUICK {")],
        APPLYING,
        ["trees::a_circle"],
    ),
    mutant(
        "S1f",
        "who waits for a row that is there is placed",
        [(ROUNDS, "[Scope::Cycles, Scope::Free, Scope::Rest]", "[Scope::Cycles, Scope::Free]")],
        APPLYING,
        ["arrived::what_waits_for_a_very_long_key"],
    ),
    mutant(
        "S1g",
        "who lacks child rows is there for others",
        # What waits for a row that is there is found in another way, too.
        [
            (PARKED_SELECT, "and q.state = 'waiting' and not q.incomplete where", "and q.state = 'waiting' where"),
            (ROUNDS, "self.follow_arrived(policy, &mut settled).await;", ""),
        ],
        APPLYING,
        ["trees::a_document_that_lacks"],
    ),
    mutant(
        "S1h",
        "what has waited long for its parent is looked at less often",
        [(PARKED_SELECT, "(now() - p.parked_at) / 10", "interval '0'")],
        APPLYING,
        ["trees::what_has_waited"],
    ),
    mutant(
        "S1i",
        "a dead letter gives up its own record, and no newer one",
        [(PARKED_WRITE, "and p.topic = k.t and p.partition = k.p and p.\\\"offset\\\" = k.o", "and (k.t, k.p, k.o) is not null")],
        APPLYING,
        ["trees::a_letter"],
    ),
    mutant(
        "S1j",
        "a cycle is placed though one of it was given up",
        [
            (
                PARKED_CYCLES,
                "where q.reason = 'parent' and q.state <> 'refused')",
                "where q.reason = 'parent' and q.state = 'waiting')",
            )
        ],
        APPLYING,
        ["trees::a_circle"],
    ),
    mutant(
        "S1k",
        "a document that PostgreSQL refuses is isolated",
        [(ISOLATE, "            if part.len() > 1 {", "            if false {")],
        APPLYING,
        ["isolated::a_bad_child_stops"],
    ),
    mutant(
        "S1m",
        "what waits for a row that is there is found",
        [(ROUNDS, "        if rows.is_empty() {\n            return;\n        }\n        self", "        if true {\n            return;\n        }\n        self")],
        APPLYING,
        ["arrived::what_its_parents_batch"],
    ),
    mutant(
        "S1o",
        "who waits for a value is tried together with whoever has it",
        [(SETTLE, "        tried += holders::take_up_holders(t, &busy).await?;\n", "        tried += 0;\n")],
        APPLYING,
        ["exchanges::who_exchanges"],
    ),
    mutant(
        "S1r",
        "values are exchanged across unique keys",
        [(UNIQUE_CYCLES, "    for check in checks {\n", "    for check in &checks[..1] {\n")],
        APPLYING,
        ["exchanges::unique_values_are_exchanged"],
    ),
    mutant(
        "S1s",
        "a cycle that cannot be written keeps no other from it",
        [(UNIQUE_CYCLES, "    for cycle in cycles {\n", "    for cycle in cycles.into_iter().take(0) {\n")],
        APPLYING,
        ["exchanges::unique_values_are_exchanged"],
    ),
    mutant(
        "S1t",
        "who gives a value to its own parent is written with it",
        [(UNIQUE_CYCLES, "references[reference.0].to_itself,", "references[reference.0].to_itself && false,")],
        APPLYING,
        ["exchanges::who_gives_a_value"],
    ),
    mutant(
        "S1u",
        "who is tried for its value is not given up before its parent",
        [(DECIDE, "|| (parked.has_value && !parked.unique)", "")],
        APPLYING,
        ["exchanges::who_is_tried"],
    ),
    mutant(
        "S1n",
        "what waits is taken up by its bytes",
        [(PARKED_SELECT, "from ({some}) q) p where {fits} order by p.total", "from ({some}) q) p where true or {fits} order by p.total")],
        APPLYING,
        ["budget::many_large_documents"],
    ),
    mutant(
        "S1l",
        "a held row that cannot be deleted keeps no other",
        [(HELD, "                    self.isolate_held(policy, looked_at).await\n                }", "                    Ok(0)\n                }")],
        APPLYING,
        ["isolated::a_held_row"],
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
                PARKED_SELECT,
                'order by p.table_name, p.row_key for update of p",',
                'order by p.table_name, p.row_key",',
            )
        ],
        PROTOCOL,
        ["statements::"],
    ),
    mutant(
        "S4",
        "a parent that somebody works on is not deleted",
        [(DELETES, ".filter(|document| !self.locked.contains(document))", ".filter(|_| false)")],
        PROTOCOL,
        ["statements::", "races::"],
    ),
    mutant(
        "S5",
        "a parent's batch releases what waits for it",
        [
            (
                PARKED_SELECT,
                "pub const RELEASED_MAX: usize = 5_000;",
                "pub const RELEASED_MAX: usize = 0;",
            )
        ],
        PROTOCOL,
        ["rules::parent_takes"],
    ),
    mutant(
        "S5a",
        "no record is judged by the documents that it releases",
        [(BATCH, "Err(error) if took_part && error.is_of_rows() => {", "Err(error) if false && error.is_of_rows() => {"), (BATCH, "self.others &= !took_part;", "")],
        APPLYING,
        ["isolated::a_bad_child_harms"],
    ),
    mutant(
        "S5b",
        "no dead letter that is tried again is judged by the documents that it releases",
        [(RETRY, "Err(error) if released && error.is_of_rows()", "Err(error) if false && error.is_of_rows()")],
        APPLYING,
        ["isolated::a_parent_that_is_tried_again"],
    ),
    mutant(
        "S5c",
        "who follows on a row is written apart, so that nobody else is judged by it",
        [(DOCUMENTS, ".partition(|&document| t.follows_apart && is_retained(t, document))", ".partition(|&document| false && is_retained(t, document))")],
        APPLYING,
        ["follows::who_follows_and"],
    ),
    mutant(
        "S5d",
        "who follows on a row and is swallowed waits for its dead letter",
        [(DOCUMENTS, "            wait_if_suppressed(t, document);\n", "            let _ = wait_if_suppressed;\n")],
        APPLYING,
        ["follows::who_follows_and"],
    ),
    mutant(
        "B1d",
        "a dead letter of what the target swallowed stays open, and its document parked",
        [(CANDIDATE, "Some(_) => self.version.version.previous(),", "Some(_) => self.version.version,")],
        APPLYING,
        ["suppressed::a_waiting", "suppressed::an_orphan"],
    ),
    mutant(
        "H1",
        "a row that others point to is held",
        [(DELETES, ".filter(|d| staged.contains_key(d))", ".filter(|_| false)")],
        PROTOCOL,
        INTERLEAVINGS,
    ),
    mutant(
        "H2",
        "a newer version of a held row cancels the hold",
        [(ROUND, "        held::remove(t.session, name, &keys).await?;\n", "")],
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
        [(OFFSETS, "and o.epoch = n.epoch and o.next_offset = n.expected", "and o.epoch = n.epoch")],
        PROTOCOL,
        ["fence::"],
    ),
    mutant(
        "F1b",
        "an owner of an older epoch cannot write",
        [(OFFSETS, "and o.epoch = n.epoch and o.next_offset", "and o.next_offset")],
        PROTOCOL,
        ["fence::"],
    ),
    mutant(
        "F2",
        "a commit whose answer was lost is recognised",
        [(OFFSETS, "f.next > f.expected && stands(f)", "false && stands(f)")],
        PROTOCOL,
        ["fence::"],
    ),
    mutant(
        "F4",
        "who takes a partition over raises its epoch",
        [(OFFSETS, "set epoch = o.epoch + 1, owner", "set epoch = o.epoch, owner")],
        PROTOCOL,
        ["fence::"],
    ),
    mutant(
        "F2p",
        "a batch of which only some positions moved is taken back",
        [(OFFSETS, "    if !moved.is_empty() {\n", "    if false {\n")],
        PROTOCOL,
        ["fence::batch_that_lost_one"],
    ),
    mutant(
        "F2l",
        "only the partitions that others own are left out",
        [(OFFSETS, "|f| !ours(f)", "|f| ours(f)")],
        PROTOCOL,
        ["fence::"],
    ),
    mutant(
        "F4p",
        "who takes a partition over reads from where PostgreSQL stands",
        [
            (
                OFFSETS,
                "        returning epoch, next_offset, last_record\";",
                "        returning epoch, 0::bigint, last_record\";",
            )
        ],
        PROTOCOL,
        ["fence::heir_begins"],
    ),
    mutant(
        "F10",
        "what was applied last is looked for before a partition is read on",
        [(PARTITIONS, "and_before: assigned.last.is_some(),", "and_before: false,")],
        VERBS,
        ["lost::topics_made_anew"],
    ),
    mutant(
        "F5",
        "an owner frozen in a COPY is ended by the new owner",
        [
            (
                OFFSETS,
                "                evict(session, group, (topic, partition), owner).await?;\n",
                "",
            )
        ],
        PROTOCOL,
        ["fence::"],
    ),
    mutant(
        "F12",
        "nothing is written under a mapping that is not in force",
        [(CONNECTION, "        if in_force == self.generation {\n", "        if true {\n")],
        PROTOCOL,
        ["mapping::"],
    ),
    mutant(
        "F12l",
        "who puts a mapping in force waits for those who write, and they for it",
        [(MAPPINGS, "begin; lock table leafcutter.mappings in row share mode", "begin")],
        PROTOCOL,
        ["mapping::"],
    ),
    mutant(
        "F13",
        "nothing counts as committed whose last statement has failed",
        [(SESSION, "        last.and(committed)", "        committed")],
        PROTOCOL,
        ["session::"],
    ),
    mutant(
        "F13s",
        "what was emptied in a transaction that is taken back is emptied again",
        [(SESSION, "            staged.holds = true;\n        }\n        self", "            let _ = staged;\n        }\n        self")],
        PROTOCOL,
        ["session::"],
    ),
    mutant(
        "F17",
        "a transaction writes in the session that was opened",
        [(CONNECTION, "if !begun.in_session {", "if !begun.in_session && records.is_empty() {")],
        PROTOCOL,
        ["pooler::nothing_is_written"],
    ),
    mutant(
        "F16",
        "a statement sees what was committed before it, whatever the database's default",
        [(CONNECT, "    set default_transaction_isolation = 'read committed'; \\\n", "")],
        PROTOCOL,
        ["fence::heir_begins_where", "races::child_deleted_while"],
    ),
    mutant(
        "F14",
        "a Kafka client that was given up is replaced",
        [(CLIENTS, "            if let Some(lost) = self.given_up() {", "            if let Some(lost) = self.given_up().filter(|_| false) {")],
        VERBS,
        ["outages::who_has_lost"],
    ),
    mutant(
        "E1",
        "a column that takes null, or does not, is reported",
        [(COMPARE_COLUMNS, "        all.extend(nullability(table, position, there));\n", "")],
        APPLYING,
        ["existing::each"],
    ),
    mutant(
        "E2",
        "a unique key that is missing, or unknown, is reported",
        [(COMPARE, "    keys::unique(entry, found, all);\n", "")],
        APPLYING,
        ["existing::each"],
    ),
    mutant(
        "E3",
        "a missing index is reported",
        [(COMPARE, "    keys::indexes(entry, found, all);\n", "")],
        APPLYING,
        ["existing::each"],
    ),
    mutant(
        "E4",
        "foreign keys that differ are reported",
        [(COMPARE, "            keys::foreign(model, entry, found, &mut all);\n", "")],
        APPLYING,
        ["existing::each"],
    ),
    mutant(
        "P3",
        "one record per key and cluster time",
        [(MERGE, "*fate = Fate::Collapsed;", "")],
        PRODUCER,
        ["source::merge"],
    ),
    mutant(
        "P5",
        "updates of a batch merge at the last",
        [(MERGE, "*fate = Fate::Merged;", "")],
        PRODUCER,
        ["source::merge"],
    ),
    mutant(
        "P8",
        "a run begins where the collection stands that is furthest behind",
        [(CHECKPOINT, "        covered.min()\n", "        covered.max()\n")],
        PRODUCER,
        ["checkpoint::resume"],
    ),
    mutant(
        "P3t",
        "a transaction is held back until it is whole",
        [(HOLD, "if closed || !grouped {", "if true {")],
        PRODUCER,
        ["source::hold"],
    ),
    mutant(
        "PH2",
        "a heartbeat never claims a time that is not whole",
        [(HOLD, "_ => time.previous(),", "_ => time,")],
        PRODUCER,
        ["source::hold"],
    ),
    mutant(
        "D1",
        "a row that goes with its parent leaves a tombstone at its own version",
        [(CASCADE, "sql.tombstones.iter().chain([&sql.remove_held])", "[&sql.remove_held]")],
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
        [
            (
                CASCADE,
                "                blocked.extend(rows.iter().map(|row| row.get::<_, DocumentId>(0)));\n",
                "",
            )
        ],
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
        [(CASCADE, "may(delete) && may(newest)", "may(delete)")],
        APPLYING,
        ["cascades::"],
    ),
    mutant(
        "C1",
        "child rows that wait are known by their document's own record",
        [
            (
                RELEASE,
                "} else if parked.incomplete && guard::is_same(stored, version) {",
                "} else if false {",
            )
        ],
        APPLYING,
        ["links::"],
    ),
    mutant(
        "W1",
        "a document outside the filter is a delete, not a record to skip",
        [
            (
                DECODE,
                "                return self.leaves(table, true);\n",
                '                return Err(malformed("left out"));\n',
            )
        ],
        PROTOCOL,
        ["interleavings::filters"],
    ),
    mutant(
        "G10",
        "a fresh group begins on the tombstones of the others",
        [(OFFSETS, "and a.partition = o.partition and a.has_tombstones)", "and a.partition = o.partition and false)")],
        APPLYING,
        ["rules::fresh_group"],
    ),
    mutant(
        "L1",
        "a dead letter that is older than what is stored is closed",
        [(BATCH, "        close_superseded(t).await?;\n", "")],
        APPLYING,
        ["letters::"],
    ),
    mutant(
        "L2r",
        "a document that is gone closes its dead letters though it can have no row",
        [(BATCH, "    rowless::close_letters(t).await?;\n", "")],
        APPLYING,
        ["letters"],
    ),
    mutant(
        "L2",
        "who writes a document closes a dead letter listed meanwhile",
        [
            (
                RELEASE,
                "for parked in lock_of_rows(t, &rows).await? {\n        t.flags.dead_letters = true;\n",
                "for parked in lock_of_rows(t, &rows).await? {\n",
            )
        ],
        APPLYING,
        ["letters::"],
    ),
    mutant(
        "L2w",
        "a record that waits closes the dead letter of the one before",
        [
            (
                PARK,
                "            dead_letters::supersede_older(t.session, table, &waiting).await?;\n",
                "            let _ = (table, waiting);\n",
            )
        ],
        APPLYING,
        ["letters::"],
    ),
    mutant(
        "B1a",
        "a direct copy is counted",
        [(DIRECT_COPY, "copy.send(t.session, &entry.sql.copy_direct).await? != rows", "copy.send(t.session, &entry.sql.copy_direct).await? > rows")],
        APPLYING,
        ["suppressed::a_snapshots_rows"],
    ),
    mutant(
        "B1b",
        "an upsert that returns the old row has written nothing",
        [(SUPPRESSED_SQL, "where {same} and {same_version})", "where {same})")],
        APPLYING,
        ["suppressed::a_root_row"],
    ),
    mutant(
        "B1f",
        "rows are deleted by their places only in plain tables",
        [(SUPPRESSED, "rows_led_to::write(t, delete, !may, &[])", "rows_led_to::write(t, delete, true, &[])")],
        APPLYING,
        ["reach::rows_of_partitions"],
    ),
    mutant(
        "B1g",
        "nor are they where a document is deleted",
        [(DELETES, "let plain = !suppressed::may_suppress(t, table).await?;", "let plain = true;")],
        APPLYING,
        ["reach::rows_of_partitions"],
    ),
    mutant(
        "B1h",
        "rows that somebody else changes meanwhile are looked for by their keys",
        [(SINK + "write/rows_led_to.rs", "if found == written {", "if found >= written {")],
        APPLYING,
        ["reach::meanwhile::rows_that_others"],
    ),
    mutant(
        "B1c",
        "a delete that is swallowed is told",
        [(SUPPRESSED, "    let sql = &t.model.table(table).sql.delete_left;", "    return Ok(Vec::new());\n    #[expect(unreachable_code, reason = \"a mutant\")]\n    let sql = &t.model.table(table).sql.delete_left;")],
        APPLYING,
        ["suppressed::a_delete"],
    ),
    mutant(
        "B1e",
        "what goes with a row goes as a whole, or not at all",
        [(CASCADE, "    if !whole.is_empty() {\n", "    if false {\n")],
        APPLYING,
        ["cascades::what_the_target"],
    ),
    mutant(
        "L3",
        "a dead letter is listed before it is sent",
        [(DECIDE, "    for due in &all {\n        due.list(t).await?;\n    }\n", "")],
        APPLYING,
        ["letters::"],
    ),
    mutant(
        "L3r",
        "a dead letter names the parent that is missing now",
        [(DECIDE, "    if !before.is_empty() {", "    if false {")],
        APPLYING,
        ["letters::"],
    ),
    mutant(
        "K1",
        "one transaction at a time writes a table with natural keys",
        [
            (
                TABLE_LOCK,
                "        t.session\n"
                '            .execute("select pg_advisory_xact_lock($1)", &[&number])\n'
                "            .await?;\n",
                "        let _ = number;\n",
            )
        ],
        PROTOCOL,
        ["keys::the_winner_deleted", "keys::nobody_looks_on"],
    ),
    mutant(
        "K2",
        "nobody waits for a table lock in the middle of a transaction",
        [(TABLE_LOCK, "select pg_try_advisory_xact_lock($1)", "select pg_advisory_xact_lock($1) is not null")],
        PROTOCOL,
        ["keys::a_parent_does_not_wait"],
    ),
    mutant(
        "K3",
        "the guard is kept by the document, its tombstone included",
        [
            (
                DOCUMENTS,
                "guard::highest(entry.as_ref().map(|entry| entry.version), tombstone)",
                "entry.as_ref().map(|entry| entry.version)",
            )
        ],
        APPLYING,
        ["natural::in_whatever_order", "newest::in_whatever_order"],
    ),
    mutant(
        "K4",
        "a changed key takes the old row away",
        [(DOCUMENTS, "    unowned_rows::delete(t, root, &now).await?;\n", "    let _ = now;\n")],
        APPLYING,
        ["natural::a_document_is_found"],
    ),
    mutant(
        "K5",
        "the winner's record is retained, too",
        [
            (
                DOCUMENTS,
                "retained::retain(t, self.root, &present).await?;",
                "retained::retain(t, self.root, &[]).await?;",
            )
        ],
        APPLYING,
        ["newest::the_newest_is_the_row"],
    ),
    mutant(
        "K6",
        "a generated number is kept by its document's entry",
        [
            (GENERATED_KEYS, "            (None, Some(known)) => set", "            (None, Some(known)) if false => set"),
            (GENERATED_KEYS, "            (None, None) => without", "            (None, _) => without"),
        ],
        APPLYING,
        ["generated::numbers_are_kept"],
    ),
    mutant(
        "K6n",
        "a number that a row has is not given",
        [(GENERATED_KEYS, "select n from drawn where not exists", "select n from drawn where true or not exists")],
        APPLYING,
        ["generated::numbers_that"],
    ),
    mutant(
        "K6h",
        "the highest numbers of all do not move the sequence",
        [(NUMBERS, 'format!("{seqmax} - {seqmax} / {HIGHEST_SHARE}")', 'format!("{seqmax} - 0 / {HIGHEST_SHARE}")')],
        APPLYING,
        ["generated::the_highest"],
    ),
    mutant(
        "K7",
        "who places a document releases what refers to its `_id`",
        [
            (
                RELEASE,
                "            found.extend(entry.referenced_by_id.then(|| row.clone()));\n",
                "",
            )
        ],
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
        [(ROUND, "    take_unknown(t, root, documents).await?;\n", "")],
        APPLYING,
        ["looked_up::what_is_not_there_yet"],
    ),
    mutant(
        "K10",
        "nobody writes or deletes another document's row",
        [
            (
                OWNER,
                "({stored}.lc_document in ({incoming}.lc_document, '') or {})",
                "({stored}.lc_document is not null or {} or {incoming}.lc_document is null)",
            ),
            (
                OWNER,
                "or {stored}.lc_document in ({deleted}.lc_document, '', {}))",
                "or {stored}.lc_document is not null or {} is null)",
            ),
        ],
        PROTOCOL,
        ["twins"],
    ),
    mutant(
        "K10d",
        "nor the rows below it",
        [(DELETES, "free.retain(|document| found.there.contains_key(document));", "")],
        APPLYING,
        ["owners::the_first_keeps"],
    ),
    mutant(
        "K11",
        "a row that has to stay is free",
        [(DELETES, "    disown(t, root, rows.iter().filter(locked)).await?;\n", "    let _ = locked;\n"),
         (HELD, "    deletes::disown(t, root, still.iter().filter(stays)).await?;\n", "    let _ = (still, stays);\n")],
        PROTOCOL,
        ["twins"],
    ),
    mutant(
        "C3",
        "child rows hand unique values to each other",
        [(CHILDREN, "for delete in &sql.delete_changed {", "for delete in sql.delete_changed.iter().take(0) {")],
        APPLYING,
        ["child_unique"],
    ),
    mutant(
        "D8",
        "a held row keeps no unique value from others",
        [(ROUND, "            free_held(t, check).await?;\n", "")],
        APPLYING,
        ["held_values"],
    ),
    mutant(
        "E5",
        "what the type does not see is written",
        [(SINK + "statement/columns.rs", '"({left} is distinct from {right} or {left}{cast} is distinct from {right}{cast})"', '"({left} is distinct from {right} or {left}{cast} is distinct from {left}{cast} and {right}{cast} is null)"')],
        APPLYING,
        ["equality::another_spelling_is"],
    ),
    mutant(
        "E5z",
        "the other zero is written",
        [(SINK + "statement/columns.rs", "if has_signed_zero(pg_type)", "if false && has_signed_zero(pg_type)")],
        APPLYING,
        ["equality::the_other_zero"],
    ),
    mutant(
        "E6",
        "unique values are compared in the column's own way",
        [(SINK + "statement/mod.rs", "    sql.push_str(&equality::of_target(n));\n", "    let _ = equality::of_target(n);\n")],
        APPLYING,
        ["equality::another_spelling_of"],
    ),
    mutant(
        "EB",
        "the breaker's limit holds for all consumers together",
        [(BREAKERS, "    if !was_open && seen.in_a_row <= room {", "    if true || (!was_open && seen.in_a_row <= room) {")],
        APPLYING,
        ["refused::breaker"],
    ),
    mutant(
        "E7",
        "rules that PostgreSQL refuses `on conflict` for are told",
        [(SPECIAL, "r.ev_type = '2' or", "false or")],
        APPLYING,
        ["special::rules"],
    ),
    mutant(
        "E8",
        "row security that hides rows from the user is told",
        [(SPECIAL, "    row_security_active(c.oid) and (", "    false and row_security_active(c.oid) and (")],
        APPLYING,
        ["special::row_security"],
    ),
    mutant(
        "A3",
        "batches look for tombstones once a sweep has begun",
        [(SINK + "state/offsets/again.rs", "select $1, $2, p, $4, true from", "select $1, $2, p, $4, false from"),
         (SINK + "state/offsets/again.rs", "do update set has_tombstones = true", "do update set has_tombstones = o.has_tombstones")],
        APPLYING,
        ["swept"],
    ),
    mutant(
        "A4a",
        "parked documents that are gone go too",
        [(SINK + "sweep/mod.rs", "            parked::gone(session, place, time).await?;\n", "")],
        APPLYING,
        ["swept"],
    ),
    mutant(
        "A4b",
        "dead letters of what is gone are closed",
        [(SINK + "sweep/mod.rs", "            dead_letters::gone(session, place, time).await?;\n", "")],
        APPLYING,
        ["swept"],
    ),
    mutant(
        "A4c",
        "a sweep takes only what its own collection has written",
        [(SINK + "statement/swept.rs", 'format!(" and x.lc_source = {source}")', 'format!(" and {source} is not null")')],
        APPLYING,
        ["swept"],
    ),
    mutant(
        "A6",
        "child rows are looked for though row and version are the same",
        [(ROUND, "if !stale && candidate.looks_again() {", "if !stale && candidate.may_be_incomplete() {")],
        VERBS,
        ["again::a_polled"],
    ),
]
