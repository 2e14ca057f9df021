"""Profiles out of user_days, on frames of ten rows."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from intent_spark.config.features import FeaturesConfig
from intent_spark.profiles.contract import definition_hash, profiles_contract
from intent_spark.profiles.merge import build_profile, first_instant, interval_statistics
from intent_spark.profiles.user_days import user_days
from tests.profiles.frames import at, day, derived, events_frame, small_features, windowed
from tests.profiles.naive_oracle import Event

AS_OF = day("2026-03-10")


def profiles(
    spark: SparkSession, events: list[Event], features: FeaturesConfig, users: Any = None, zone: str = "UTC"
) -> dict[str, Row]:
    days = user_days(events_frame(spark, events, zone), features)
    built = profiles_contract(features).select(build_profile(days, users, features, AS_OF, zone))
    return {row["user_id"]: row for row in built.collect()}


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("Asia/Shanghai", "2017-12-02T16:00:00+00:00"),
        ("Europe/London", "2017-12-03T00:00:00+00:00"),
        ("America/New_York", "2017-12-03T05:00:00+00:00"),
    ],
)
def test_first_instant(zone: str, text: str) -> None:
    assert first_instant(date(2017, 12, 3), zone).isoformat() == text


def test_windows_are_half_open_and_quiet_users_stay(spark: SparkSession) -> None:
    """Whoever was seen before as_of has a profile: zeros to count, nulls to measure, empty sequences."""
    instants = {
        "first_of_window": at("2026-03-03", "00:00:00"),
        "before_window": at("2026-03-02", "23:59:59.999999"),
        "last_instant": at("2026-03-09", "23:59:59.999999"),
        "at_as_of": at("2026-03-10", "00:00:00"),
    }
    events = [Event(user, f"e-{user}", "purchase", time, "c", "i", 5, 2) for user, time in instants.items()]
    found = profiles(spark, events, small_features())
    assert {user: row["n_7d"] for user, row in found.items()} == {
        "first_of_window": 1,
        "before_window": 0,
        "last_instant": 1,
    }
    assert {user: row["n_1d"] for user, row in found.items()} == {
        "first_of_window": 0,
        "before_window": 0,
        "last_instant": 1,
    }
    assert found["last_instant"]["since"] == 1 / 86_400_000_000
    assert found["first_of_window"]["since"] == 7.0
    quiet = found["before_window"]
    assert (quiet["n_lifetime"], quiet["spend_7d"], quiet["spend_lifetime"], quiet["days_7d"]) == (1, 0, 10, 0)
    assert (quiet["spend_mean_7d"], quiet["price_min_7d"], quiet["buys_per_event"]) == (None, None, None)
    for column in ("seq_event_type", "seq_category", "seq_item", "seq_price_band", "seq_gap_seconds"):
        assert quiet[column] == []
    assert [quiet[f"top_category_{n}"] for n in (1, 2, 3)] == [None, None, None]
    assert {row["as_of"] for row in found.values()} == {AS_OF}
    assert {row["definition_hash"] for row in found.values()} == {definition_hash(small_features())}


def test_interval_statistics(spark: SparkSession) -> None:
    rows = [
        ("none", []),
        ("one", [day("2026-01-01")]),
        ("two", [day("2026-01-01"), day("2026-01-05")]),
        ("three", [day("2026-02-27"), day("2026-03-01"), day("2026-03-07")]),
    ]
    frame = spark.createDataFrame(rows, "user_id string, gap array<date>")
    wanted = [
        ("none", None, None, None, None),
        ("one", None, None, None, None),
        ("two", 4.0, 0.0, 4.0, 4.0),
        ("three", 4.0, 2.0, 2.0, 6.0),
    ]
    ddl = "user_id string, gap_mean double, gap_std double, gap_min double, gap_max double"
    found = frame.select("user_id", *interval_statistics("gap"))
    assert_df_equality(found, spark.createDataFrame(wanted, ddl), ignore_row_order=True, ignore_nullable=True)


def test_sequence_and_preferred_categories(spark: SparkSession) -> None:
    """Six events over two days: the four last ones, oldest first, and categories of equal weight."""
    events = [
        Event("ann", "f", "view", at("2026-03-08", "10:00:00"), "old", "i0", 9),
        Event("ann", "e", "view", at("2026-03-08", "23:59:59.9"), "a", "i1", 0),
        Event("ann", "d", "cart", at("2026-03-09", "00:00:00.1"), "b", "i2", 1),
        Event("ann", "c", "view", at("2026-03-09", "12:00:00"), "a", "i3", 1023),
        Event("ann", "b", "view", at("2026-03-09", "12:00:00"), None, None, None),
        Event("ann", "z", "return", at("2026-03-09", "12:00:00"), "never", "i4", 1024),
        Event("ann", "y", "purchase", at("2026-03-01", "12:00:00"), "too old", "i5", 1),
    ]
    found = profiles(spark, events, small_features())["ann"]
    assert found["seq_item"] == ["i2", None, "i3", "i4"]
    assert found["seq_event_type"] == ["cart", "view", "view", "return"]
    assert found["seq_category"] == ["b", None, "a", "never"]
    assert found["seq_price_band"] == [1, None, 10, 11]
    assert found["seq_gap_seconds"] == [43200, 0, 0, 43200]
    assert [found[f"top_category_{n}"] for n in (1, 2, 3)] == ["b", "a", "old"]


def test_users_and_derived_in_order(spark: SparkSession) -> None:
    """A user's attributes may be derived from; one who is not in the users table has nulls."""
    declared = [
        ("age", "age", "numeric"),
        ("member_days", "datediff(as_of, registration_date)", "numeric"),
        ("city", "cast(city_tier as string)", "categorical"),
    ]
    rest = {"unit": "", "description": "", "owner": ""}
    user = [{"name": name, "expression": text, "role": role, **rest} for name, text, role in declared]
    features = small_features(
        windowed=[windowed("n", "count", [7])],
        user=user,
        derived=[derived("first", "member_days / 2"), derived("second", "first + n_7d")],
    )
    known = spark.createDataFrame([("ann", 30, 2, "2026-03-01")], "user_id string, age int, city_tier int, day string")
    known = known.withColumn("registration_date", F.to_date("day")).drop("day")
    events = [Event(user, user, "view", at("2026-03-09")) for user in ("ann", "bob")]
    found = profiles(spark, events, features, known)
    ann = found["ann"]
    assert (ann["age"], ann["member_days"], ann["city"], ann["first"], ann["second"]) == (30.0, 9.0, "2", 4.5, 5.5)
    assert [found["bob"][name] for name in ("age", "member_days", "city", "first", "second")] == [None] * 5
    nobody = profiles(spark, events, features)
    assert [nobody["ann"][name] for name in ("age", "member_days", "city", "first", "second")] == [None] * 5
