"""MongoDB, Kafka and PostgreSQL, which every contender shares, started by `deploy/local/stack`."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress

import psycopg2
from stacklib.common import REPOSITORY, STACK, StackError, shown


class Servers:
    """Where they are, and a folder for what is written beside them."""

    def __init__(self, folder):
        told = stack("env", "--json", "--dir", folder, capture=True)
        self.environment = {
            name: value for name, value in json.loads(told).items() if name.startswith("LEAFCUTTER_")
        }
        self.mongodb = self.environment["LEAFCUTTER_MONGODB_URI"]
        self.kafka = self.environment["LEAFCUTTER_KAFKA_BROKERS"]
        self.postgres = self.environment["LEAFCUTTER_POSTGRES_URI"]
        self.folder = folder
        self.work = folder / "work"

    def delete_topics(self, pattern):
        """Remove a contender's topics, so that the next one finds an idle Kafka."""
        words = ("topics", "--delete", "--if-exists", "--topic", pattern)
        with suppress(StackError):  # a topic that stays disturbs nobody; what went before it is to be told
            stack("kafka-tool", "--dir", self.folder, *words)

    def keep_commit_times(self):
        """Let PostgreSQL keep when each transaction was committed; it has to be started anew for that."""
        connection = psycopg2.connect(self.postgres)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("show track_commit_timestamp")
            if cursor.fetchone()[0] == "on":
                return connection.close()
            cursor.execute("alter system set track_commit_timestamp = on")
        connection.close()
        stack("kill", "postgres", "--signal", "INT", "--dir", self.folder)
        stack("start", "postgres", "--dir", self.folder)


def stack(*words, capture=False):
    """Call `deploy/local/stack`; its words go to the standard error, the result's place is ours."""
    output = subprocess.PIPE if capture else sys.stderr
    command = [sys.executable, str(REPOSITORY / STACK), *map(str, words)]
    done = subprocess.run(command, stdout=output, stdin=subprocess.DEVNULL, text=True)
    if done.returncode != 0:
        raise StackError(f"run {STACK} {words[0]}", "it failed, see above")
    return done.stdout


@contextmanager
def running(options):
    """The servers, up while they are used; those that somebody else had started stay."""
    if not options.theirs and (options.dir / "stack.json").exists():
        stack("down", "--wipe", "--dir", options.dir)  # what a run that was killed has left
    try:
        stack("up", "--dir", options.dir)
        servers = Servers(options.dir)
        shutil.rmtree(servers.work, ignore_errors=True)
        servers.work.mkdir(parents=True)
        servers.keep_commit_times()
        yield servers
    finally:
        if not options.theirs:
            take_down(options.dir)


def are_kept():
    """Whether a person wants to look at them afterwards."""
    return os.environ.get("KEEP") == "1"


def take_down(folder):
    """Stop the servers and remove their data, unless they are to be looked at."""
    if are_kept():
        sys.stderr.write(f"The servers stay up. To remove them: {STACK} down --wipe --dir {shown(folder)}\n")
    else:
        stack("down", "--wipe", "--dir", folder)


def remove_logs(work):
    """Remove what the programs said, and the servers' folder where it is empty now."""
    shutil.rmtree(work, ignore_errors=True)
    with suppress(OSError):  # the servers may be there still
        work.parent.rmdir()
