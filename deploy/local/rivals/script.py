"""The Python script that one writes instead: a snapshot, and nothing after it."""

import sys
from pathlib import Path

from .program import Program
from .target import clock, fresh_table

COPY = Path(__file__).with_name("copy_learners.py")


def measure(bench):
    """Its figures of one round: from the start of its process to its last commit."""
    figures = {"wrong": []}
    with fresh_table(bench.servers, bench.own_name("script"), "mapped") as table:
        command = [sys.executable, COPY, bench.servers.mongodb, bench.source.name, table.uri]
        began = clock()
        with Program("the script", command, bench.servers.work / "script.log") as program:
            figures["peaks"] = {"the script": program.finish(bench.options.deadline)}
        figures["snapshot"] = bench.options.documents / (table.last_commit() - began)
        bench.compare(table, figures, "the snapshot")
    return figures
