"""Debezium: its MongoDB source and its JDBC sink in one worker of Kafka Connect.

Tuned as far as its documentation goes without other servers: large fetches, queues and batches, rows
rewritten into statements of many, one write for a key that a batch has twice, compressed topics of
eight partitions for two tasks. Connect's heap is that of its own start script. A registry for Avro
would be one more server; records are JSON with their schema, as Connect has it by itself.
"""

import json
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager, suppress

from stacklib.common import StackError, choose_ports, java

from . import pieces
from .latency import measure_latency
from .program import Program, until
from .target import clock, fresh_table

FIGURES = {"cold": "snapshot", "warm": "snapshot_warm"}
START = 120  # seconds in which the worker has to answer
HEAP = ("-Xms256m", "-Xmx2g")
COLLECTOR = ("-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35")
LOGGING = """\
log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %m (%c{1})%n
"""
SOURCE = {
    "connector.class": "io.debezium.connector.mongodb.MongoDbConnector",
    "tasks.max": 1,
    "snapshot.mode": "initial",
    "snapshot.fetch.size": 10_000,
    "max.batch.size": 8_192,
    "max.queue.size": 32_768,
    "poll.interval.ms": 10,
    "topic.creation.default.partitions": 8,
    "topic.creation.default.replication.factor": 1,
    "producer.override.batch.size": 262_144,
    "producer.override.linger.ms": 5,
    "producer.override.compression.type": "lz4",
}
SINK = {
    "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
    "tasks.max": 2,
    "connection.password": "none",
    "collection.name.format": "learners",
    "insert.mode": "upsert",
    "delete.enabled": True,
    "primary.key.mode": "record_key",
    "schema.evolution": "none",
    "batch.size": 3_000,
    "use.reduction.buffer": True,
    "consumer.override.max.poll.records": 3_000,
    "consumer.override.fetch.max.bytes": 67_108_864,
    "transforms": "unwrap",
    "transforms.unwrap.type": "io.debezium.connector.mongodb.transforms.ExtractNewDocumentState",
    "transforms.unwrap.flatten.struct": True,
    "transforms.unwrap.array.encoding": "array",
    "transforms.unwrap.delete.tombstone.handling.mode": "tombstone",
}

# The table as the sink would make it. Two tasks that both make it get in each other's way, and the
# one that loses waits a second before it tries again.
TABLE = """
create table learners (
    id text primary key, _id text, email text, display_name text,
    profile_native_language text, profile_english_proficiency text, profile_immigration_status text,
    profile_country_of_origin text, profile_visa_type text, profile_has_ssn boolean,
    profile_sends_remittances boolean, profile_financial_goals text[],
    gamification_total_xp integer, gamification_streak_count integer,
    gamification_streak_last_date timestamp(6), gamification_daily_goal_minutes integer,
    financial_experience_level text, timezone text, created_at timestamp(6), last_active_at timestamp(6),
    note text
)"""


class Worker:
    """A worker of Kafka Connect, and its REST interface."""

    def __init__(self, bench, name):
        self.name, self.work = name, bench.servers.work
        (port,) = choose_ports(1)
        self.address = f"http://127.0.0.1:{port}"
        settings = self.work / f"{name}.properties"
        settings.write_text("".join(f"{key}={value}\n" for key, value in self.settings(bench).items()))
        logging = self.work / "log4j.properties"
        logging.write_text(LOGGING)
        program = [java(), *HEAP, *COLLECTOR, f"-Dlog4j.configuration=file:{logging}"]
        main = ["-cp", f"{pieces.connect()}/*", "org.apache.kafka.connect.cli.ConnectDistributed"]
        self.program = Program("Kafka Connect", [*program, *main, settings], self.work / f"{name}.log")

    def settings(self, bench):
        """The worker's settings."""
        stores = {}
        for store in ("config", "offset", "status"):
            stores[f"{store}.storage.topic"] = f"{self.name}.{store}"
            stores[f"{store}.storage.replication.factor"] = 1
        converters = {
            f"{part}.converter": "org.apache.kafka.connect.json.JsonConverter" for part in ("key", "value")
        }
        return {
            "bootstrap.servers": bench.servers.kafka,
            "group.id": self.name,
            "listeners": self.address,
            "plugin.path": pieces.plugins(),
            "plugin.discovery": "service_load",
            "connector.client.config.override.policy": "All",
            **converters,
            **stores,
        }

    def call(self, method, path, body=None):
        """One request; nothing where the answer has no body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.address}/{path}", data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                answer = reply.read()
        except urllib.error.HTTPError as error:
            raise self.refused(
                method, path, f"{error.code} {error.read().decode(errors='replace')[:300]}"
            ) from None
        except OSError as error:
            raise self.refused(method, path, error) from None
        return json.loads(answer) if answer else None

    def refused(self, method, path, why):
        """What is to be told of a request that failed."""
        return StackError(f"ask Kafka Connect: {method} {path}", why, log=self.program.log)

    def answers(self):
        """Whether it is ready."""
        try:
            return self.call("GET", "connectors") is not None
        except StackError:
            return False

    def status(self, connector):
        """The connector's state and its tasks'."""
        try:
            told = self.call("GET", f"connectors/{connector}/status")
        except StackError:
            return None, []  # the worker has not heard of it yet
        return told["connector"]["state"], told["tasks"]

    def check(self, *connectors):
        """Say so when the worker has ended or a task has failed."""
        self.program.check()
        for connector in connectors:
            for task in self.status(connector)[1]:
                if task["state"] == "FAILED":
                    raise StackError(f"run {connector}", cause(task.get("trace", "")), log=self.program.log)


def cause(trace):
    """The deepest reason that a Java trace tells."""
    lines = [line for line in trace.splitlines() if not line.startswith("\t")]
    return (lines or ["it failed"])[-1].removeprefix("Caused by: ")[:300]


class Pipeline:
    """The two connectors of one migration."""

    def __init__(self, bench, worker, name, table):
        self.worker, self.name = worker, name
        self.source, self.sink = f"{name}-source", f"{name}-sink"
        self.settings = self.of_source(bench), self.of_sink(bench, table)

    def of_source(self, bench):
        """The source's settings."""
        return {
            **SOURCE,
            "mongodb.connection.string": bench.servers.mongodb,
            "topic.prefix": self.name,
            "collection.include.list": f"{bench.source.name}.learners",
        }

    def of_sink(self, bench, table):
        """The sink's settings."""
        user, _, place = table.uri.partition("//")[2].rpartition("@")
        return {
            **SINK,
            "topics": f"{self.name}.{bench.source.name}.learners",
            "connection.url": f"jdbc:postgresql://{place}?reWriteBatchedInserts=true",
            "connection.username": user,
        }

    def start(self):
        """Make both; gives the time before."""
        began = clock()
        for connector, settings in zip((self.source, self.sink), self.settings):
            self.worker.call("PUT", f"connectors/{connector}/config", settings)
        return began

    def check(self):
        """Say so when something of it has failed."""
        self.worker.check(self.source, self.sink)

    def stop_source(self):
        """End the source's task, as a producer is stopped; it keeps its place."""
        self.worker.call("PUT", f"connectors/{self.source}/stop")
        until("the source to stop", START, lambda: self.worker.status(self.source) == ("STOPPED", []), 0.1)

    def resume_source(self):
        """Let it go on where it was; gives the time before."""
        began = clock()
        self.worker.call("PUT", f"connectors/{self.source}/resume")
        return began

    def remove(self):
        """End both; where the worker is gone they are too."""
        for connector in (self.source, self.sink):
            with suppress(StackError):
                self.worker.call("DELETE", f"connectors/{connector}")


@contextmanager
def running_worker(bench):
    """A new worker, a JVM that has done nothing yet, and its topics removed with it."""
    name = bench.own_name("connect")
    with ExitStack() as closing:
        closing.callback(bench.servers.delete_topics, f"{name}.*")
        worker = Worker(bench, name)
        closing.enter_context(worker.program)
        began = clock()
        until("Kafka Connect to answer", START, worker.answers, 0.1, worker.program.check)
        yield worker, clock() - began


def measure(bench):
    """All its figures of one round."""
    figures = {"wrong": []}
    with running_worker(bench) as (worker, started):
        figures["start_seconds"] = started
        migrate(bench, worker, figures, "cold")
        migrate(bench, worker, figures, "warm", measure_stream)
        figures["peaks"] = {"Kafka Connect": worker.program.peak()}
    return figures


def migrate(bench, worker, figures, state, then=lambda *_: None):
    """A snapshot into a new table, and what is to be measured behind it."""
    bench.tell(f"  snapshot, JVM {state}")
    name = bench.own_name(f"debezium_{state}")
    with ExitStack() as closing:
        table = closing.enter_context(fresh_table(bench.servers, name, "flattened"))
        closing.callback(bench.servers.delete_topics, f"{name}.*")
        table.make(TABLE)
        pipeline = Pipeline(bench, worker, name, table)
        began = pipeline.start()
        closing.callback(pipeline.remove)
        documents, deadline = bench.options.documents, bench.options.deadline
        until("Debezium's rows", deadline, lambda: table.has(documents), check=pipeline.check)
        figures[FIGURES[state]] = documents / (table.last_commit() - began)
        bench.compare(table, figures, f"the snapshot, JVM {state}")
        then(bench, table, pipeline, figures)


def measure_stream(bench, table, pipeline, figures):
    """A backlog that is written while the source is stopped, and the latency of single writes."""
    options = bench.options
    if options.updates:
        bench.tell(f"  backlog of {options.updates} updates")
        pipeline.stop_source()
        mark = bench.source.write_backlog(options.updates)
        began = pipeline.resume_source()
        look = lambda: table.has_since(mark, options.updates)  # noqa: E731
        until("the backlog", options.deadline, look, check=pipeline.check)
        figures["updates"] = options.updates / (table.last_commit() - began)
        bench.compare(table, figures, "the backlog")
    if options.seconds:
        measure_latency(bench, table, figures, pipeline.check)
