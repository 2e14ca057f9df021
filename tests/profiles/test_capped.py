"""The daily cap: every way to a profile counts the same first events of a user's day."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date, timedelta

import pytest
from pyspark.sql import DataFrame, SparkSession

from intent_spark.config.features import FeaturesConfig
from intent_spark.profiles.capped import capped
from intent_spark.profiles.contract import definition_hash, kept_in_days, profiles_contract, sequence_hash
from intent_spark.profiles.profile import profiles_of
from tests.profiles.frames import derived, events_frame, small_features, windowed
from tests.profiles.naive_oracle import Event, Shop, naive_profiles
from tests.profiles.test_against_oracle import LONDON, checked, direct, long_histories, merge, roll_day_by_day

CAP, AS_OF = 3, date(2026, 4, 2)


def naively_capped(events: list[Event], cap: int, shop: Shop) -> list[Event]:
    """The first events of each user's day."""
    days: dict[tuple[str, date], list[Event]] = defaultdict(list)
    for event in events:
        days[event.user_id, shop.day(event.time)].append(event)
    return [e for found in days.values() for e in sorted(found, key=lambda e: (e.time, e.event_id))[:cap]]


def busy_histories(shop: Shop) -> list[Event]:
    """Fifty users, some with many events a day, among them many of one moment, told apart by their ids."""
    rng, events = random.Random(3), []
    for number, event in enumerate(long_histories(5, AS_OF, shop)):
        copies = rng.choice([1, 1, 1, 2, 5])
        events += [
            Event(event.user_id, f"{rng.randrange(10**6)}-{number}-{n}", event.event_type, event.time, event.category,
                  event.item_id, event.price, event.quantity)
            for n in range(copies)
        ]  # fmt: skip
    return events


def ids(frame: DataFrame) -> list[str]:
    return sorted(row["event_id"] for row in frame.select("event_id").collect())


@pytest.fixture(scope="module")
def features() -> FeaturesConfig:
    windows = [
        windowed("n", "count", [2, 7, "lifetime"]), windowed("spend", "sum", [7, "lifetime"], value="price * quantity"),
        windowed("last_category", "last", [7], value="category"), windowed("seen", "count", [7], by="category"),
        windowed("categories", "distinct", [7], value="category", cap=16),
    ]  # fmt: skip
    return small_features(windowed=windows, derived=[derived("twice", "n_7d * 2")], daily_cap=CAP)


@pytest.mark.slow
def test_every_way_counts_the_same_first_events(spark: SparkSession, features: FeaturesConfig) -> None:
    shop = Shop(LONDON)
    events = busy_histories(shop)
    kept = naively_capped(events, CAP, shop)
    assert len(kept) < len(events) * 0.8
    frame = events_frame(spark, events, LONDON)
    counted = capped(frame, CAP).localCheckpoint()
    assert counted.columns == frame.columns
    assert ids(counted) == sorted(e.event_id for e in kept)
    wanted = naive_profiles(kept, features, AS_OF, LONDON)
    for row in wanted.values():
        row["twice"] = row["n_7d"] * 2.0
    for way in (merge, direct, roll_day_by_day):
        profiles = profiles_of(way(counted, features, AS_OF), None, features, AS_OF, LONDON)
        found = profiles_contract(features).select(profiles).collect()
        checked({row["user_id"]: row.asDict() for row in found}, wanted, kept)


def test_only_suspected_days_are_looked_at(spark: SparkSession) -> None:
    shop, day = Shop(LONDON), date(2026, 3, 2)
    events = [
        Event("u", f"{n}", "view", shop.midnight(day + timedelta(days=offset)) + timedelta(hours=n))
        for offset in (0, 1)
        for n in range(5)
    ]
    frame = events_frame(spark, [Event(e.user_id, f"{e.time}", e.event_type, e.time) for e in events], LONDON)
    assert capped(frame, None) is frame
    assert capped(frame, CAP, []) is frame
    assert capped(frame, CAP, [day]).count() == 3 + 5
    assert capped(frame, 5).count() == 10


def test_another_cap_is_another_definition(features: FeaturesConfig) -> None:
    other = features.model_copy(update={"daily_cap": CAP + 1})
    assert definition_hash(other) != definition_hash(features)
    assert sequence_hash(other) != sequence_hash(features)
    assert not set(kept_in_days(other).values()) & set(kept_in_days(features).values())
