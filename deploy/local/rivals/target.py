"""The rows in PostgreSQL: how many, whether they are right, and when they were committed.

A transaction's time is PostgreSQL's own (`track_commit_timestamp`), asked for when all is over. It
is the same for every contender, takes nothing from any of them, and is exact however seldom the
table was looked at. It is taken right before the commit is flushed to disk, so a contender that
waits for that flush has it uncounted.
"""

import time
from collections import namedtuple
from contextlib import contextmanager

import psycopg2

from .source import Content

COMMITTED = "pg_xact_commit_timestamp(xmin)"
# A learner's row without its key as one text: what `learner.row` writes. `{game}` and `{profile}`
# begin the names of columns where nested fields keep their parent's name.
COLUMNS = """\
email, display_name, {profile}native_language, {profile}english_proficiency,
{profile}immigration_status, financial_experience_level, {game}daily_goal_minutes, timezone,
{game}streak_count, to_char({game}streak_last_date, 'YYYY-MM-DD'), {game}total_xp,
{profile}country_of_origin, {profile}visa_type, {profile}has_ssn::text, {profile}sends_remittances::text,
to_jsonb({profile}financial_goals)::text, (extract(epoch from created_at) * 1000)::bigint,
(extract(epoch from last_active_at) * 1000)::bigint"""
SHAPES = {
    "mapped": ("uuid", "learner_id", COLUMNS.format(profile="", game="")),
    "flattened": ("hex", "_id", COLUMNS.format(profile="profile_", game="gamification_")),
}

Latency = namedtuple("Latency", "writes p50 p99 max")


class Table:
    """The table `learners` in a database of its own."""

    def __init__(self, uri, shape):
        self.uri = uri
        self.form, self.key, self.columns = SHAPES[shape]
        self.connection = psycopg2.connect(uri)
        self.connection.autocommit = True

    def ask(self, sql, *values):
        """The first row of an answer."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchone()

    def make(self, sql):
        """Make the table, where the contender does not do so itself."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql)

    def is_there(self):
        """Whether the table has been made yet."""
        return self.ask("select to_regclass('learners') is not null")[0]

    def has(self, count):
        """Whether so many rows are there."""
        return self.is_there() and self.ask("select count(*) from learners")[0] >= count

    def has_since(self, moment, count):
        """Whether so many rows bear this mark or a later one."""
        return self.ask("select count(*) from learners where last_active_at >= %s", moment)[0] >= count

    def last_commit(self):
        """When the last row was committed, in seconds since 1970."""
        return float(self.ask(f"select extract(epoch from max({COMMITTED})) from learners")[0])

    def latency(self, since):
        """From before each write, which its row tells, to its row's commit, in milliseconds."""
        late = f"extract(epoch from {COMMITTED} - last_active_at::timestamptz) * 1000"
        answer = self.ask(
            f"select count(*), percentile_cont(0.5) within group (order by late), percentile_cont(0.99)"
            f" within group (order by late), max(late) from (select ({late})::float8 as late from learners"
            f" where last_active_at >= %s) as timed",
            since,
        )
        return Latency(*answer)

    def content(self):
        """Count and checksum of all rows."""
        text = f"concat_ws('|', {self.key}, {self.columns})"
        bits = f"('x' || encode(substring(sha256(convert_to({text}, 'UTF8')) from 1 for 7), 'hex'))::bit(56)"
        rows, total = self.ask(f"select count(*), coalesce(sum({bits}::bigint), 0)::text from learners")
        return Content(rows, int(total))

    def fault(self, expected):
        """What is wrong with the rows, for a person; nothing where all are right."""
        wanted, found = expected[self.form], self.content()
        if found.rows != wanted.rows:
            return f"{found.rows:,} rows and not {wanted.rows:,}"
        return None if found == wanted else "as many rows as documents, but not the same content"

    def rest(self):
        """Let PostgreSQL do now what earlier phases have left to it."""
        with self.connection.cursor() as cursor:
            cursor.execute("vacuum (analyze)")
            cursor.execute("checkpoint")


@contextmanager
def fresh_table(servers, name, shape):
    """A contender's database, made anew and removed afterwards."""
    admin = psycopg2.connect(servers.postgres)
    admin.autocommit = True
    uri = f"{servers.postgres.rpartition('/')[0]}/{name}"
    with admin.cursor() as cursor:
        cursor.execute(f"drop database if exists {name} with (force)")
        cursor.execute(f"create database {name}")
    table = Table(uri, shape)
    try:
        yield table
    finally:
        table.connection.close()
        with admin.cursor() as cursor:
            cursor.execute(f"drop database if exists {name} with (force)")
        admin.close()


def clock():
    """The same clock as PostgreSQL's, in seconds since 1970."""
    return time.time()
