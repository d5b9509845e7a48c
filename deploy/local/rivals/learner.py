"""FinLit's learners as `leafcutter-bench` makes them: the same documents for the same seed.

`tests/bench/src/workload/learners.rs` and `tests/harness/src/dice.rs` say the same in Rust, and both are
held to `learners.rows` beside the former. A learner is a function of (seed, number, revision); an update
raises the revision, and with it some fields.
"""

import datetime
import json
import uuid

import bson
from bson.objectid import ObjectId
from stacklib.common import REPOSITORY, StackError

BYTES = 540
EPOCH = datetime.datetime(2024, 1, 1)
LARGEST = 2**31 - 1
BITS = 2**64 - 1
STEP = 0x9E37_79B9_7F4A_7C15


def mix(number):
    """Spread a number over 64 bits."""
    number = (number ^ (number >> 30)) * 0xBF58_476D_1CE4_E5B9 & BITS
    number = (number ^ (number >> 27)) * 0x94D0_49BB_1331_11EB & BITS
    return number ^ (number >> 31)


class Dice:
    """SplitMix64, seeded with what the throws are for."""

    def __init__(self, *parts):
        self.state = 0
        for part in parts:
            self.state = mix((self.state + STEP & BITS) ^ mix(part))

    def below(self, end):
        """A number from 0 to below `end`."""
        self.state = self.state + STEP & BITS
        return mix(self.state) % end

    def pick(self, *of):
        """One of these."""
        return of[self.below(len(of))]


def identity(number):
    """The `_id`: ascending, as a driver would make them."""
    return ObjectId(bytes((0x66, 0x5A, 0x10, 0x20, 1, 2, 3, 4)) + number.to_bytes(4, "big"))


def after(milliseconds):
    """So long after the beginning of 2024."""
    return EPOCH + datetime.timedelta(milliseconds=milliseconds)


def changing(seed, number, revision, created):
    """The fields that an update sets."""
    dice = Dice(seed, number, revision)
    streak, day, points = dice.below(365), dice.below(31), dice.below(1_000_000)
    return {
        "gamification.total_xp": points,
        "gamification.streak_count": streak,
        "gamification.streak_last_date": EPOCH + datetime.timedelta(days=day),
        "last_active_at": created + datetime.timedelta(milliseconds=dice.below(LARGEST)),
    }


def document(seed, number):
    """The document of a new learner, filled up to its size with what nobody maps."""
    dice = Dice(seed, number)
    language = dice.pick("Spanish", "Tiếng Việt", "Arabic", "Português")
    english = dice.pick("basic", "medium", "fluent")
    status = dice.pick("H1B", "F1", "L1", "citizen")
    level = dice.pick("novice", "some", "expert")
    zone = dice.pick("Asia/Tokyo", "Asia/Seoul", "UTC")
    country = dice.pick("Mexico", "Việt Nam", "India")
    visa = dice.pick("H1B", "L2", "none")
    first = dice.pick("Ada", "Zoë", "Omar", "佐藤")
    name = f"{first} {dice.pick('García', 'Okafor', 'Kim')}"
    minutes, has_ssn, remits = dice.below(60), dice.below(100) < 60, dice.below(100) < 40
    goal = dice.pick("save", "invest", "travel", "a house")
    created = after(dice.below(LARGEST))
    change = changing(seed, number, 0, created)
    learner = {
        "_id": identity(number),
        "email": f"l{number}@f.example",
        "display_name": name,
        "profile": {
            "native_language": language,
            "english_proficiency": english,
            "immigration_status": status,
            "country_of_origin": country,
            "visa_type": visa,
            "has_ssn": has_ssn,
            "sends_remittances": remits,
            "financial_goals": [goal],
        },
        "gamification": {
            "total_xp": change["gamification.total_xp"],
            "streak_count": change["gamification.streak_count"],
            "streak_last_date": change["gamification.streak_last_date"],
            "daily_goal_minutes": minutes,
        },
        "financial_experience_level": level,
        "timezone": zone,
        "created_at": created,
        "last_active_at": change["last_active_at"],
        "note": "",
    }
    learner["note"] = "." * (BYTES - len(bson.encode(learner)))
    return learner


def key(learner):
    """The key that FinLit's mapping makes of an `_id`."""
    return uuid.uuid5(uuid.NAMESPACE_OID, str(learner["_id"]))


def row(learner):
    """A learner's row without its key as one text, as `target.COLUMNS` has PostgreSQL write it."""
    profile, game = learner["profile"], learner["gamification"]
    cells = (
        learner["email"],
        learner["display_name"],
        profile["native_language"],
        profile["english_proficiency"],
        profile["immigration_status"],
        learner["financial_experience_level"],
        game["daily_goal_minutes"],
        learner["timezone"],
        game["streak_count"],
        game["streak_last_date"].date(),
        game["total_xp"],
        profile["country_of_origin"],
        profile["visa_type"],
        str(profile["has_ssn"]).lower(),
        str(profile["sends_remittances"]).lower(),
        json.dumps(profile["financial_goals"], ensure_ascii=False),
        milliseconds(learner["created_at"]),
        milliseconds(learner["last_active_at"]),
    )
    return "|".join(map(str, cells))


def check():
    """See that the first learners are those of `leafcutter-bench`."""
    known = REPOSITORY / "tests" / "bench" / "src" / "workload" / "learners.rows"
    for number, line in enumerate(known.read_text().splitlines()):
        learner = document(1, number)
        if f"{key(learner)}|{row(learner)}" != line:
            raise StackError("make the learners of leafcutter-bench", f"number {number} is another one here")


def milliseconds(time):
    """Since 1970, exactly; a fraction of seconds as a float would not be."""
    return (time - datetime.datetime(1970, 1, 1)) // datetime.timedelta(milliseconds=1)
