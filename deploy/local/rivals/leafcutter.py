"""Leafcutter itself: snapshot and backlog by `leafcutter-bench`, the latency as with every rival."""

import json
import subprocess
import sys
from contextlib import ExitStack

from stacklib.common import REPOSITORY, StackError

from .latency import measure_latency
from .program import Program, until
from .target import fresh_table

PROGRAMS = ("leafcutter-producer", "leafcutter-consumer", "leafcutter-bench")
MAPPING = REPOSITORY / "schemas" / "examples" / "finlit" / "mapping.yaml"


def measure(bench):
    """All its figures of one round."""
    figures = measure_throughput(bench)
    if bench.options.seconds:
        with ExitStack() as closing:
            measure_latency_of_programs(bench, figures, closing)
    return figures


def measure_throughput(bench):
    """Let `leafcutter-bench` carry as many documents and updates, and compare every row."""
    options = bench.options
    words = ["--workload", "learners", "--documents", options.documents]
    words += ["--updates", options.updates, "--seconds", 0]
    command = [bench.programs / "leafcutter-bench", *words, "--seed", options.seed, "--json"]
    told = bench.servers.work / "leafcutter-bench.json"
    with open(told, "w") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=sys.stderr,
            env=bench.environment(),
            start_new_session=True,
        )
        try:
            code = process.wait(options.deadline * 5)
        finally:
            if process.poll() is None:
                process.terminate()  # it stops its own programs
                process.wait()
    if code not in (0, 1) or not told.read_text().strip():
        raise StackError("run leafcutter-bench", f"it ended with exit code {code}")
    return figures_of(json.loads(told.read_text()))


def figures_of(told):
    """The figures that rivals have too."""
    learners = told["workloads"][0]
    speeds = {phase["name"]: phase["per_second"] for phase in learners["phases"]}
    peaks = {}
    for phase in learners["phases"]:
        for used in phase["used"]:
            peaks[used["program"]] = max(peaks.get(used["program"], 0), used["peak_kib"] * 1024)
    figures = {
        "snapshot": speeds.get("snapshot"),
        "updates": speeds.get("updates"),
        "peaks": peaks,
        "wrong": [],
    }
    if learners["wrong"]:
        figures["wrong"].append(learners["wrong"])
    return figures


def measure_latency_of_programs(bench, figures, closing):
    """Migrate the learners with one producer and one consumer, and time single writes."""
    name, prefix = bench.own_name("leafcutter"), bench.own_name("leafcutter")
    table = closing.enter_context(fresh_table(bench.servers, name, "mapped"))
    closing.callback(bench.servers.delete_topics, f"{prefix}.*")
    common = ["run", "--mapping", mapping(bench), "--prefix", prefix, "--admin", "127.0.0.1:0"]
    environment = {**bench.environment(), "LEAFCUTTER_POSTGRES_URI": table.uri}
    programs = {}
    for role, more in (("producer", []), ("consumer", ["--group", name])):
        command = [bench.programs / f"leafcutter-{role}", *common, *more]
        log = bench.servers.work / f"{role}.log"
        programs[role] = closing.enter_context(Program(role, command, log, environment))

    def check():
        for program in programs.values():
            program.check()

    documents, deadline = bench.options.documents, bench.options.deadline
    until("Leafcutter's rows", deadline, lambda: table.has(documents), check=check)
    measure_latency(bench, table, figures, check)
    for program, peak in ((f"{role}, in the latency", one.peak()) for role, one in programs.items()):
        figures["peaks"][program] = peak


def mapping(bench):
    """FinLit's mapping with nothing in it but the learners, for our database."""
    text = MAPPING.read_text()
    begin = text.index("\n  learners:\n")
    alone = text[: text.index("\n\n", begin) + 1]
    file = bench.servers.work / "mapping.yaml"
    file.write_text(alone.replace("\ndatabase: finlit\n", f"\ndatabase: {bench.source.name}\n"))
    return file
