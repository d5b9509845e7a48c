"""Copies FinLit's learners from MongoDB to PostgreSQL once: pymongo, psycopg2, COPY.

What a person writes in an afternoon and would not be ashamed of: large batches into a table without
indexes, keys added behind the data, all in one transaction. It knows one collection, and no changes.

  copy_learners.py MONGODB_URI DATABASE POSTGRES_URI
"""

import csv
import io
import json
import sys
import uuid

import psycopg2
import pymongo

BATCH = 10_000
TABLE = """
create table learners (
    learner_id uuid not null, email varchar(255) not null, display_name varchar(255),
    native_language varchar(50), english_proficiency varchar(50), immigration_status varchar(50),
    financial_experience_level varchar(50), daily_goal_minutes integer, timezone varchar(50),
    streak_count integer, streak_last_date date, total_xp integer, country_of_origin varchar(100),
    visa_type varchar(50), has_ssn boolean, sends_remittances boolean, financial_goals json,
    created_at timestamp, last_active_at timestamp
)"""
KEYS = "alter table learners add primary key (learner_id), add unique (email)"


def row(document):
    """A document's row; a field that is missing becomes null."""
    profile, game = document.get("profile", {}), document.get("gamification", {})
    goals, day = profile.get("financial_goals"), game.get("streak_last_date")
    return (
        uuid.uuid5(uuid.NAMESPACE_OID, str(document["_id"])),
        document["email"],
        document.get("display_name"),
        profile.get("native_language"),
        profile.get("english_proficiency"),
        profile.get("immigration_status"),
        document.get("financial_experience_level"),
        game.get("daily_goal_minutes"),
        document.get("timezone"),
        game.get("streak_count"),
        day and day.date(),
        game.get("total_xp"),
        profile.get("country_of_origin"),
        profile.get("visa_type"),
        profile.get("has_ssn"),
        profile.get("sends_remittances"),
        goals and json.dumps(goals, ensure_ascii=False),
        document.get("created_at"),
        document.get("last_active_at"),
    )


def batches(documents):
    """The documents, many at a time."""
    batch = []
    for document in documents:
        batch.append(document)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def copy(documents, cursor):
    """Send all documents' rows."""
    for batch in batches(documents):
        text = io.StringIO()
        csv.writer(text).writerows(map(row, batch))
        text.seek(0)
        cursor.copy_expert("copy learners from stdin (format csv)", text)


def main(mongodb, database, postgres):
    """One transaction: all or nothing."""
    learners = pymongo.MongoClient(mongodb)[database].learners
    with psycopg2.connect(postgres) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        copy(learners.find(batch_size=BATCH), cursor)
        cursor.execute(KEYS)


if __name__ == "__main__":
    main(*sys.argv[1:])
