"""What the benchmark can be told."""

import argparse
import os
from pathlib import Path

from stacklib.common import REPOSITORY

PURPOSE = (
    "Measures Leafcutter, Debezium with its JDBC sink, and a Python script on the\n"
    "same servers with the same documents, in alternation, and compares every row."
)
CONTENDERS = ("leafcutter", "debezium", "script")

EXAMPLES = """\
examples:
  make bench-rivals                       three rounds, 15 to 20 minutes
  ROUNDS=1 make bench-rivals              one
  deploy/local/bench-rivals --documents 50000 --updates 20000 --seconds 10
                                          a short run; says little of Debezium
  deploy/local/bench-rivals --only leafcutter,script --updates 0 --seconds 0
                                          snapshots alone, without Debezium
  deploy/local/bench-rivals --json > figures.json

Rivals are fetched when they are first needed: Kafka Connect and Debezium with
Maven, a Python environment with pip. They stay in the cache (LEAFCUTTER_CACHE,
else .cache/). The servers are started and removed again; KEEP=1 leaves them up.

exit codes: 0 every row was right; 1 one was not, or a contender failed;
2 wrong usage. A slow run is no failure."""


def counts(least):
    """A whole number from `least` on."""

    def number(text):
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{least} at least")
        return value

    return number


def contenders(text):
    """Some of the contenders, in their own order."""
    names = {name for name in text.split(",") if name}
    if not names or names - set(CONTENDERS):
        raise argparse.ArgumentTypeError(f"choose from {','.join(CONTENDERS)}")
    return [name for name in CONTENDERS if name in names]


def command_line():
    """The parser."""
    parser = argparse.ArgumentParser(
        prog="bench-rivals",
        description=PURPOSE,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    number = {"metavar": "COUNT"}
    add("--documents", type=counts(10_000), default=300_000, help="learners of 540 bytes (300000)", **number)
    add(
        "--updates",
        type=counts(0),
        default=100_000,
        help="updates of the backlog; 0: none (100000)",
        **number,
    )
    add("--rate", type=counts(1), default=2_000, help="writes a second for the latency (2000)", **number)
    add("--seconds", type=counts(0), default=20, metavar="SECS", help="for so long; 0: no latency (20)")
    rounds = os.environ.get("ROUNDS") or "3"
    add("--rounds", type=counts(1), default=rounds, help="rounds, in alternation (ROUNDS, else 3)", **number)
    add(
        "--only",
        type=contenders,
        default=list(CONTENDERS),
        metavar="NAMES",
        help=f"some of {','.join(CONTENDERS)}",
    )
    add("--json", action="store_true", help="print every round's figures as JSON")
    add("--seed", type=counts(0), default=1, metavar="NUMBER", help="which data (1)")
    add(
        "--programs",
        type=Path,
        metavar="DIR",
        help="a folder with Leafcutter's programs and leafcutter-bench; without it cargo builds them",
    )
    add(
        "--dir",
        type=Path,
        metavar="DIR",
        help="the servers' folder (.stack/rivals/). Servers that are there already are used and stay; "
        "their PostgreSQL is started anew once, to keep the times of commits",
    )
    add("--deadline", type=counts(1), default=900, metavar="SECS", help="gives up a phase after it (900)")
    return parser


def parse():
    """The options; ends the program where they make no sense."""
    parser = command_line()
    options = parser.parse_args()
    for name, wanted in (
        ("--updates", options.updates),
        ("--rate × --seconds", options.rate * options.seconds),
    ):
        if wanted > options.documents:
            parser.error(f"{name}: each write needs a learner of its own: more --documents")
    options.theirs = options.dir is not None and (options.dir / "stack.json").exists()
    options.dir = (options.dir or REPOSITORY / ".stack" / "rivals").absolute()
    return options
