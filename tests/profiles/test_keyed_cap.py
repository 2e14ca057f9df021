"""A breakdown over the lifetime keeps so many keys and no more: the same ones by every way, with exact numbers."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from intent_spark.profiles.items import EventFrames
from intent_spark.profiles.profile import profiles_of
from intent_spark.profiles.slots import Slots
from intent_spark.profiles.user_days import user_days
from tests.profiles.frames import day, events_frame, small_features, windowed
from tests.profiles.naive_oracle import Event, Shop
from tests.profiles.strategies import direct_state, merged_state, rolled_state

pytestmark = pytest.mark.slow

CAP, FIRST, DAYS = 16, day("2026-03-02"), 8
AS_OF = FIRST + timedelta(days=DAYS)
FEATURES = small_features(
    windowed=[
        windowed("seen", "count", [2, "lifetime"], by="category", cap=CAP),
        windowed("paid", "sum", ["lifetime"], by="category", value="price", cap=CAP),
        windowed("best", "top", ["lifetime"], places=3, value="category", cap=CAP),
    ],
    derived=[],
)


def drawn(seed: int, users: int) -> list[Event]:
    """Users of 1 to 60 categories; prices of either sign, so that some categories add up to nothing for a while."""
    rng, events = random.Random(seed), []
    for user in range(users):
        for number in range(rng.randint(1, 90)):
            at = datetime.fromisoformat(f"{FIRST + timedelta(days=rng.randrange(DAYS))}T12:00:00+00:00")
            category = f"c{rng.randrange(rng.choice([3, 60]))}"
            events.append(Event(f"u{user}", f"{user}-{number}", "view", at, category, "i", rng.choice([-5, 5, 10])))
    return events


def places(spark: SparkSession, names: set[str]) -> dict[str, int]:
    """Each key's place among all keys."""
    frame = spark.createDataFrame([(name,) for name in sorted(names)], "name string")
    return {row[0]: row[1] for row in frame.select("name", F.xxhash64("name")).collect()}


def expected(events: list[Event], place: dict[str, int]) -> dict[str, dict[str, Any]]:
    """From each user's whole history at once."""
    found = {}
    for user in {event.user_id for event in events}:
        mine = [event for event in events if event.user_id == user]
        days = {(Shop("UTC").day(e.time), str(e.category)) for e in mine}
        earned = {key: sum(e.price or 0 for e in mine if (Shop("UTC").day(e.time), e.category) == key) for key in days}
        # A category of whose prices each day adds up to nothing was never told of.
        paid = _smallest({category for (_, category), total in earned.items() if total}, place)
        counted = Counter(str(e.category) for e in mine)
        seen = {c: counted[c] for c in _smallest(set(counted), place)}
        total = Counter({c: sum(e.price or 0 for e in mine if e.category == c) for c in paid})
        best = sorted(seen, key=lambda c: (seen[c], c), reverse=True)[:3]
        found[user] = {
            "seen_lifetime_by_category": seen,
            "paid_lifetime_by_category": {c: number for c, number in total.items() if number},
            **{f"best_lifetime_{n}": best[n - 1] if n <= len(best) else None for n in (1, 2, 3)},
        }
    return found


def _smallest(names: set[str], place: dict[str, int]) -> list[str]:
    return sorted(names, key=lambda name: place[name])[:CAP]


def test_every_way_keeps_the_same_keys(spark: SparkSession) -> None:
    events = drawn(3, 40)
    wanted = expected(events, places(spark, {str(event.category) for event in events}))
    frame = events_frame(spark, events, "UTC").cache()
    days = user_days(EventFrames.of(frame), FEATURES).cache()
    dates = [FIRST + timedelta(days=n) for n in (1, 2, 5, 6, DAYS)]
    ways = {
        "merge": merged_state(days, FEATURES, AS_OF, "UTC"),
        "direct": direct_state(frame, FEATURES, AS_OF, "UTC"),
        "roll": rolled_state(days, FEATURES, dates, "UTC"),
    }
    assert max(len(row["seen_lifetime_by_category"]) for row in wanted.values()) == CAP
    assert any(len(row["paid_lifetime_by_category"]) < CAP for row in wanted.values())
    for way, state in ways.items():
        assert _profiles(state, AS_OF) == wanted, way
        kept = [slot.name for slot in Slots(FEATURES) if slot.most_keys]
        most = state.agg(*[F.max(F.size(name)) for name in kept]).collect()[0]
        assert len(kept) == 2 and max(most) == CAP, way


def _profiles(state: DataFrame, as_of: date) -> dict[str, dict[str, Any]]:
    names = ["seen_lifetime_by_category", "paid_lifetime_by_category", *[f"best_lifetime_{n}" for n in (1, 2, 3)]]
    rows = profiles_of(state, None, FEATURES, as_of, "UTC").select("user_id", *names).collect()
    return {row["user_id"]: {name: row[name] for name in names} for row in rows}
