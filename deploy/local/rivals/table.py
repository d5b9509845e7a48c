"""The figures for a person, in at most 80 columns, and for a program."""

import os
import statistics
import textwrap

from .learner import BYTES

WIDTH = 79
NAMES = {"leafcutter": "Leafcutter", "debezium": "Debezium", "script": "Python script"}
# What is told: title, unit, the contender's figure, and how it is written.
ROWS = (
    ("snapshot", "docs/s", "snapshot", "{:,.0f}"),
    ("  with a warm JVM", "", "snapshot_warm", "{:,.0f}"),
    ("backlog of updates", "per s", "updates", "{:,.0f}"),
    ("latency p50", "ms", "p50", "{:,.1f}"),
    ("latency p99", "ms", "p99", "{:,.1f}"),
    ("  writes reached", "per s", "reached", "{:,.0f}"),
    ("peak memory", "MB", "peak_mb", "{:,.0f}"),
)
# Leafcutter's figure beside which another's stands, where it is not the one of the same name.
BESIDE = {"snapshot_warm": "snapshot"}
WITHOUT_RATIO = ("reached",)


def summary(options, rounds):
    """Everything: what was asked for, medians, what was wrong, and each round."""
    for figures in rounds:
        for name in options.only:
            figures[name]["peak_mb"] = peak(figures[name].pop("peaks", {}))
    wrong = [
        f"round {number}, {NAMES[name]}, {fault}"
        for number, figures in enumerate(rounds, 1)
        for name in options.only
        for fault in figures[name]["wrong"]
    ]
    keys = ("documents", "updates", "rate", "seconds")
    return {
        **{key: getattr(options, key) for key in keys},
        "bytes": BYTES,
        "processors": len(os.sched_getaffinity(0)),
        "medians": {name: medians([figures[name] for figures in rounds]) for name in options.only},
        "wrong": wrong,
        "rounds": rounds,
    }


def peak(peaks):
    """The memory of all programs of a contender that run at one time, in megabytes."""
    by_role = {}
    for program, held in peaks.items():
        role = program.partition(",")[0].rstrip(" 0123456789")
        by_role[role] = max(by_role.get(role, 0), held)
    return sum(by_role.values()) / 1e6 or None


def medians(rounds):
    """Of each figure that a contender has."""
    found = {}
    for _, _, key, _ in ROWS:
        values = [figures[key] for figures in rounds if figures.get(key) is not None]
        if values:
            found[key] = statistics.median(values)
    return found


def render(result):
    """The table."""
    names = list(result["medians"])
    median = "median" if len(result["rounds"]) > 1 else ""
    lines = [line(median, "", [(NAMES[name], "") for name in names]), "─" * WIDTH]
    for title, unit, key, form in ROWS:
        cells = [cell(result["medians"], name, key, form) for name in names]
        if any(figure for figure, _ in cells):
            lines.append(line(title, unit, cells))
    return "\n".join([*lines, "─" * WIDTH, *notes(result)]) + "\n"


def cell(medians, name, key, form):
    """A figure, and how many times Leafcutter's it is."""
    value = medians[name].get(key)
    if value is None:
        return "", ""
    ours = medians.get("leafcutter", {}).get(BESIDE.get(key, key))
    if name == "leafcutter" or not ours or key in WITHOUT_RATIO:
        return form.format(value), ""
    return form.format(value), f"{value / ours:.2f}×" if value < 10 * ours else f"{value / ours:,.0f}×"


def line(title, unit, cells):
    """One line: a figure and a ratio for each contender; the first has no ratio."""
    text = f"{title:<19}{unit:<6}"
    for number, (figure, ratio) in enumerate(cells):
        text += f"{figure:>12}" if number == 0 else f"{figure:>14} {ratio:>6}"
    return text.rstrip()


def notes(result):
    """What the figures are of, and whether the rows were right."""
    rounds = len(result["rounds"])
    load = result["rounds"][0]["load"]
    asked = (
        f"{result['documents']:,} documents of {result['bytes']} bytes, {result['updates']:,} updates, "
        f"{result['rate']:,} writes/s for {result['seconds']} s; {rounds} round{'s' if rounds > 1 else ''} "
        f"in alternation; {result['processors']} processors for everything, load {load:.1f} before. "
        "Beside a figure: how many times Leafcutter's it is."
    )
    yield from textwrap.wrap(asked, WIDTH)
    for fault in result["wrong"]:
        yield from textwrap.wrap(f"WRONG  {fault}", WIDTH, subsequent_indent=" " * 7)
    if not result["wrong"]:
        yield "Every table was compared with the documents after each phase: all rows right."
