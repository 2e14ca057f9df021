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
from intent_spark.profiles.items import EventFrames, items_read, with_items
from intent_spark.profiles.profile import profiles_of
from intent_spark.profiles.state import first_instant
from intent_spark.profiles.user_days import user_days
from tests.profiles.frames import at, column, day, derived, events_frame, last_events, small_features, windowed
from tests.profiles.naive_oracle import Event
from tests.profiles.strategies import build_profile, merged_state, rolled_state

AS_OF = day("2026-03-10")


def profiles(
    spark: SparkSession, events: list[Event], features: FeaturesConfig, users: Any = None, zone: str = "UTC"
) -> dict[str, Row]:
    days = user_days(EventFrames.of(events_frame(spark, events, zone)), features)
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
    for name in ("seq_event_type", "seq_category", "seq_item", "seq_price_band", "seq_gap_seconds"):
        assert quiet[name] == []
    assert [quiet[f"top_category_5d_{n}"] for n in (1, 2, 3)] == [None, None, None]
    assert {row["as_of"] for row in found.values()} == {AS_OF}
    assert {row["definition_hash"] for row in found.values()} == {definition_hash(small_features())}


def test_gaps_between_days(spark: SparkSession) -> None:
    """Days apart, whatever happened in between and how often on one day."""
    days = {"ann": [1, 1, 3, 8], "bob": [4], "cid": [2, 5]}
    events = [
        Event(user, f"{user}{n}", "purchase", at(f"2026-03-0{number}")) for user, all_ in days.items()
        for n, number in enumerate(all_)
    ]  # fmt: skip
    features = small_features(windowed=[windowed("gap", "intervals", ["lifetime"])], derived=[])
    days_frame = user_days(EventFrames.of(events_frame(spark, events, "UTC")), features)
    built = profiles_contract(features).select(build_profile(days_frame, None, features, AS_OF, "UTC"))
    found = built.select("user_id", "gap_mean", "gap_std", "gap_min", "gap_max")
    wanted = [("ann", 3.5, 1.5, 2.0, 5.0), ("bob", None, None, None, None), ("cid", 3.0, 0.0, 3.0, 3.0)]
    ddl = "user_id string, gap_mean double, gap_std double, gap_min double, gap_max double"
    expected = spark.createDataFrame(wanted, ddl)
    assert_df_equality(found, expected, ignore_row_order=True, ignore_nullable=True, ignore_metadata=True)


def test_distinct_is_exact_up_to_the_cap_and_a_sketch_above(spark: SparkSession) -> None:
    """5,000 items against a cap of 256: within four standard errors, and the same by another way of days."""
    counts = {"few": 255, "full": 256, "many": 5000}
    rows = spark.range(max(counts.values())).crossJoin(
        spark.createDataFrame(list(counts.items()), "user_id string, most int")
    )
    events = rows.where("id < most").selectExpr(
        "user_id", "date_add(date'2026-03-01', cast(id % 9 as int)) as event_date", "'view' as event_type",
        "concat('i', id) as item_id", "cast(null as string) as category", "1L as price", "1 as quantity",
        "concat('e', id) as event_id", "timestamp'2026-03-01 12:00:00 UTC' + make_dt_interval(cast(id % 9 as int)) as event_time",
    )  # fmt: skip
    features = small_features(
        windowed=[windowed("items", "distinct", ["lifetime"], value="item_id", cap=256)], derived=[]
    )
    days_frame = user_days(EventFrames.of(events), features).localCheckpoint()
    found = {}
    for name, state in {
        "merged": merged_state(days_frame, features, AS_OF, "UTC"),
        "rolled": rolled_state(days_frame, features, [day("2026-03-03"), day("2026-03-06"), AS_OF], "UTC"),
    }.items():
        profile = profiles_of(state, None, features, AS_OF, "UTC")
        found[name] = {row["user_id"]: row["items_lifetime"] for row in profile.collect()}
    assert found["rolled"] == found["merged"]
    assert (found["merged"]["few"], found["merged"]["full"]) == (255, 256)
    assert found["merged"]["many"] == pytest.approx(5000, rel=4 / 256**0.5)
    assert found["merged"]["many"] != 5000, "a sketch, not a count"


def test_items_as_they_were_that_day(spark: SparkSession) -> None:
    """A brand changes on 2026-03-05: events before it count for the old one."""
    items = spark.createDataFrame(
        [("i", "2026-01-01", "2026-03-05", "old"), ("i", "2026-03-05", None, "new")],
        "item_id string, valid_from string, valid_to string, brand string",
    )
    dated = items.selectExpr(
        "item_id", "cast(valid_from as date) valid_from", "cast(valid_to as date) valid_to", "brand",
        "'t' as title", "5L as price", "'c' as category",
    )  # fmt: skip
    features = small_features(windowed=[windowed("seen", "count", [30], by="item_brand")], derived=[])
    assert items_read(features) and not items_read(small_features())
    assert items_read(small_features(sequence=last_events(columns=[column("seq_brand", "item_brand")])))
    events = [
        Event("ann", f"{n}", "view", at(f"2026-03-0{n}"), "c", item)
        for n, item in [(3, "i"), (4, "i"), (5, "i"), (6, "x")]
    ]
    described = with_items(events_frame(spark, events, "UTC"), dated, [date(2026, 3, 3), date(2026, 3, 6)])
    profile = build_profile(user_days(EventFrames.of(described), features), None, features, AS_OF, "UTC").collect()
    assert [row["seen_30d_by_item_brand"] for row in profile] == [{"old": 2, "new": 1}]


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
    assert [found[f"top_category_5d_{n}"] for n in (1, 2, 3)] == ["b", "a", "old"]


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


def test_a_state_of_which_nothing_rolls_is_made_anew_for_whoever_was_seen(spark: SparkSession) -> None:
    least = windowed("least", "min", [2], value="price")
    features = small_features(windowed=[least], derived=[], sequence=None)
    times = {"gone": "2026-03-01", "still": "2026-03-02", "new": "2026-03-03"}
    events = [Event(user, user, "view", at(of_day, "09:00:00"), "c", "i", 5, 1) for user, of_day in times.items()]
    days = user_days(EventFrames.of(events_frame(spark, events, "UTC")), features)
    rolled = rolled_state(days, features, [day("2026-03-03"), day("2026-03-04")], "UTC")
    told = {row["user_id"]: row["least_2d"] for row in rolled.collect()}
    assert told == {"gone": None, "still": 5, "new": 5}
