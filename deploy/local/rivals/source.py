"""The learners in MongoDB: the writes that fill and change them, and the rows they have to become."""

import datetime
import hashlib
import random
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import pymongo
from pymongo import UpdateOne

from . import learner

COMMAND = 1_000  # writes in one command
TICK = 0.005  # seconds between two commands of single writes
WRITERS = 8  # commands under way at once

Content = namedtuple("Content", "rows sum")
Paced = namedtuple("Paced", "since count reached")


def now():
    """The time as MongoDB keeps it: to the millisecond, rounded down."""
    time = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


class Source:
    """One collection in a database of ours."""

    def __init__(self, uri, database, seed):
        self.client = pymongo.MongoClient(uri, w="majority")
        self.name, self.seed = database, seed
        self.learners = self.client[database].learners
        self.walk, self.revision, self.known = [], 0, None

    def fill(self, count):
        """Insert so many learners, and choose the order in which they will be updated."""
        for first in range(0, count, COMMAND):
            numbers = range(first, min(first + COMMAND, count))
            self.learners.insert_many(
                [learner.document(self.seed, number) for number in numbers], ordered=False
            )
        self.walk = random.Random(self.seed).sample(range(count), count)
        self.known = None

    def write_backlog(self, count):
        """Update so many, each once, as fast as MongoDB takes it; gives the mark that they bear now."""
        self.revision, self.known, mark = self.revision + 1, None, now()
        for first in range(0, count, COMMAND):
            numbers = self.walk[first : min(first + COMMAND, count)]
            updates = [update(number, self.change(number), mark) for number in numbers]
            self.learners.bulk_write(updates, ordered=False)
        return mark

    def write_paced(self, rate, seconds):
        """Update so many a second, each another learner, at fixed times whatever becomes of the writes before.

        Each update sets `last_active_at` to the time before it was sent.
        """
        self.revision, self.known, since = self.revision + 1, None, now()
        total, burst = rate * seconds, max(1, round(rate * TICK))
        begin = time.monotonic()
        with ThreadPoolExecutor(WRITERS) as pool:
            commands = []
            for first in range(0, total, burst):
                time.sleep(max(0, begin + first / rate - time.monotonic()))
                commands.append(pool.submit(self.write_burst, self.walk[first : min(first + burst, total)]))
            for command in commands:
                command.result()
        return Paced(since, total, total / (time.monotonic() - begin))

    def write_burst(self, numbers):
        """One command of single writes, all sent now."""
        changes = [self.change(number) for number in numbers]
        sent = now()
        updates = [update(number, change, sent) for number, change in zip(numbers, changes)]
        self.learners.bulk_write(updates, ordered=False)

    def change(self, number):
        """What the present revision changes in a learner."""
        return learner.changing(self.seed, number, self.revision, learner.EPOCH)

    def rest(self):
        """Let MongoDB do now what earlier phases have left to it."""
        self.client.admin.command("fsync", 1)

    def expected(self):
        """What a table has to hold now, by the form of its key: count and checksum of the rows."""
        if self.known is None:
            rows, sums = 0, {"uuid": 0, "hex": 0}
            for document in self.learners.find():
                text, rows = learner.row(document), rows + 1
                sums["uuid"] += number_of(f"{learner.key(document)}|{text}")
                sums["hex"] += number_of(f"{document['_id']}|{text}")
            self.known = {form: Content(rows, total) for form, total in sums.items()}
        return self.known

    def drop(self):
        """Remove the database."""
        self.client.drop_database(self.name)
        self.client.close()


def update(number, change, mark):
    """The update of a learner, which bears a mark from then on."""
    return UpdateOne({"_id": learner.identity(number)}, {"$set": {**change, "last_active_at": mark}})


def number_of(text):
    """The first 56 bits of a text's SHA-256, which PostgreSQL can add up without an overflow."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
