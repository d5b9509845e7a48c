"""The rounds: every contender in turn, in another order each time."""

import json
import os
import subprocess
import sys

import psycopg2
from pymongo.errors import PyMongoError
from stacklib.common import REPOSITORY, StackError, shown

from . import debezium, leafcutter, learner, pieces, script, servers, table
from .source import Source

MEASURES = {"leafcutter": leafcutter.measure, "debezium": debezium.measure, "script": script.measure}


class Bench:
    """What every contender is given."""

    def __init__(self, options, where, programs):
        self.options, self.servers, self.programs = options, where, programs
        self.mark, self.names = f"rivals_{os.getpid()}", 0
        self.source = Source(where.mongodb, self.mark, options.seed)

    def environment(self):
        """What Leafcutter's programs read of where the servers are."""
        return {**os.environ, **self.servers.environment}

    def own_name(self, what):
        """A name that nothing else on the servers has."""
        self.names += 1
        return f"{self.mark}_{self.names}_{what}"

    def tell(self, line):
        """Progress, beside the result."""
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def compare(self, rows, figures, phase):
        """Compare a table with the documents, and keep what is wrong."""
        fault = rows.fault(self.source.expected())
        if fault:
            figures["wrong"].append(f"after {phase}: {fault}")
        self.tell(f"  {phase}: {'WRONG, ' + fault if fault else 'every row is right'}")


def run(options):
    """Everything; gives the exit code."""
    say = sys.stderr.write
    learner.check()
    say("1/4  Install what is missing\n")
    servers.stack("install")
    if "debezium" in options.only:
        pieces.debezium()
    say("2/4  Build\n" if not options.programs else f"2/4  Use the programs in {shown(options.programs)}\n")
    programs = find_programs(options)
    say("3/4  Start MongoDB, Kafka and PostgreSQL\n")
    with servers.running(options) as where:
        bench = Bench(options, where, programs)
        say(f"4/4  Measure: {options.rounds} rounds\n")
        try:
            rounds = measure(bench)
        finally:
            bench.source.drop()
    result = table.summary(options, rounds)
    sys.stdout.write(json.dumps(result, indent=2) + "\n" if options.json else table.render(result))
    if result["wrong"]:
        bench.tell(f"What the programs said is in {shown(where.work)}")
        return 1
    if not servers.are_kept():
        servers.remove_logs(where.work)
    return 0


def find_programs(options):
    """The folder with Leafcutter's programs, built where none was named."""
    if "leafcutter" not in options.only:
        return None
    if not options.programs:
        built = subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bins"], cwd=REPOSITORY)
        if built.returncode != 0:
            raise StackError("build Leafcutter", f"cargo ended with exit code {built.returncode}")
    target = os.environ.get("CARGO_TARGET_DIR") or "target"
    folder = (options.programs or REPOSITORY / target / "debug").absolute()
    for name in leafcutter.PROGRAMS:
        if not (folder / name).exists():
            raise StackError("find Leafcutter's programs", f"{shown(folder)} has no {name}")
    return folder


def measure(bench):
    """The figures of each round, by contender."""
    bench.tell(f"{bench.options.documents} documents into MongoDB")
    bench.source.fill(bench.options.documents)
    rounds, names = [], bench.options.only
    for number in range(bench.options.rounds):
        # Who comes first meets other servers than who comes last, so each does once.
        turn = number % len(names)
        figures = {"load": os.getloadavg()[0]}
        for name in names[turn:] + names[:turn]:
            bench.tell(f"round {number + 1}, {name}")
            figures[name] = attempt(bench, name)
        rounds.append(figures)
    return rounds


def attempt(bench, name):
    """A contender's figures. One that fails is told of, and the others go on."""
    try:
        return MEASURES[name](bench)
    except StackError as error:
        bench.tell(f"  {error}")
        return {"wrong": [f"failed to {error.attempted}: {error.why}"]}
    except (psycopg2.Error, PyMongoError) as error:
        why = str(error).strip().splitlines()[0]
        bench.tell(f"  {why}")
        return {"wrong": [f"failed: {why}"]}
