"""The daily partials, on frames of ten rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from intent_spark.config.features import SequenceSettings
from intent_spark.config.loading import load_settings
from intent_spark.lakehouse.session import one_pass_folds
from intent_spark.profiles.contract import kept_in_days, user_days_contract
from intent_spark.profiles.fold import StoredDays
from intent_spark.profiles.items import LEVEL, EventFrames
from intent_spark.profiles.partials import all_partials
from intent_spark.profiles.sequence import kept_types, newest_of_events
from intent_spark.profiles.slots import Slots
from intent_spark.profiles.state import Base, build_state, find_way, same_slots
from intent_spark.profiles.user_days import user_days
from tests.profiles.frames import at, column, derived, events_frame, last_events, small_features, windowed
from tests.profiles.naive_oracle import Event

TEN = [
    Event("ann", "1", "view", at("2026-03-01", "23:59:59.999999"), "shoes", "i1", 100, 1),
    Event("ann", "2", "view", at("2026-03-02", "00:00:00"), "shoes", "i1", 100, 1),
    Event("ann", "3", "cart", at("2026-03-02", "00:00:00"), "hats", "i2", 250, 2),
    Event("ann", "4", "purchase", at("2026-03-02", "09:00:00"), "hats", "i2", 250, 2),
    Event("ann", "5", "purchase", at("2026-03-02", "10:00:00"), None, "i3", None, 1),
    Event("ann", "6", "return", at("2026-03-02", "11:00:00"), "hats", "i2", 250, -1),
    Event("bob", "7", "search", at("2026-03-02", "08:00:00"), "hats", None, None, None),
    Event("bob", "8", "view", at("2026-03-02", "08:00:01"), None, "i9", 7, 1),
    Event("cid", "9", "purchase", at("2026-03-01", "08:00:00"), "bags", "i4", 40, None),
    Event("cid", "10", "purchase", at("2026-03-01", "08:00:00"), "caps", "i5", 60, 3),
]


def test_partials_of_ten_events(spark: SparkSession) -> None:
    features = small_features(
        windowed=[
            windowed("n", "count", [1]),
            windowed("spend", "sum", [1], event_types=["purchase"], value="price * quantity"),
            windowed("price_mean", "mean", [1], value="price"),
            windowed("top", "max", [1], value="price", event_types=["purchase"]),
            windowed("since", "days_since_last", ["lifetime"]),
            windowed("gap", "intervals", ["lifetime"], event_types=["purchase"]),
        ],
        derived=[],
    )
    days = user_days_contract(features).select(user_days(EventFrames.of(events_frame(spark, TEN, "UTC")), features))
    found = days.withColumn("since_time", F.unix_micros("since_time")).drop(*kept_types(features.sequence), "events")
    noon = 1772323200_000_000  # 2026-03-01 00:00 UTC
    hour = 3_600_000_000
    rows: list[tuple[Any, ...]] = [
        ("2026-03-01", "ann", 1, None, 100, 1, None, noon + 24 * hour - 1, None),
        ("2026-03-02", "ann", 5, 500, 850, 4, 250, noon + 35 * hour, 1),
        ("2026-03-02", "bob", 2, None, 7, 1, None, noon + 32 * hour + 1_000_000, None),
        ("2026-03-01", "cid", 2, 180, 100, 2, 60, noon + 8 * hour, 1),
    ]
    names = [
        "event_date",
        "user_id",
        "n",
        "spend",
        "price_mean_sum",
        "price_mean_count",
        "top",
        "since_time",
        "gap_day",
    ]
    types = ["string", "string", "long", "long", "long", "long", "long", "long", "long"]
    ddl = ", ".join(f"{name} {kind}" for name, kind in zip(names, types, strict=True))
    wanted = spark.createDataFrame(rows, ddl).withColumn("event_date", F.to_date("event_date"))
    assert_df_equality(found, wanted, ignore_row_order=True, ignore_nullable=True, ignore_metadata=True)


def test_braces_in_an_expression_are_its_own(spark: SparkSession) -> None:
    features = small_features(
        windowed=[windowed("four", "count", [1], filter="category rlike '^h.{3}$'")], derived=[], sequence=None
    )
    found = user_days(EventFrames.of(events_frame(spark, TEN, "UTC")), features).select("user_id", "four")
    wanted = spark.createDataFrame([("ann", None), ("ann", 3), ("bob", 1), ("cid", None)], "user_id string, four long")
    assert_df_equality(found, wanted, ignore_row_order=True, ignore_nullable=True, ignore_metadata=True)


def test_last_events_are_bounded_and_ties_break_by_id(spark: SparkSession) -> None:
    three, one = (
        SequenceSettings.model_validate(last_events(length=n, columns=[column("seq_id", "event_id")])) for n in (3, 1)
    )
    newest = newest_of_events(events_frame(spark, TEN, "UTC"), three, "user_id", "event_date")
    found = newest.select("user_id", F.dayofmonth("event_date").alias("day"), F.col("seq_id").alias("event_id"))
    rows = [("ann", 1, ["1"]), ("ann", 2, ["6", "5", "4"]), ("bob", 2, ["8", "7"]), ("cid", 1, ["9", "10"])]
    wanted = spark.createDataFrame(rows, "user_id string, day int, event_id array<string>")
    assert_df_equality(found, wanted, ignore_row_order=True, ignore_nullable=True, ignore_metadata=True)

    shared = events_frame(spark, TEN, "UTC").where("user_id = 'ann' and event_date = '2026-03-02'")
    tie = newest_of_events(shared.where("hour(event_time) = 0"), one, "user_id").first()
    assert tie is not None
    assert tie["seq_id"] == ["3"], "of equal times the larger id is the later event"


def test_keyed_and_listed_partials(spark: SparkSession) -> None:
    features = small_features(
        windowed=[
            windowed("top", "top", [5], places=1, value="category", weights={"view": 1, "cart": 3, "purchase": 5}),
            windowed("net", "sum", [5], by="item_id", value="quantity"),
            windowed("kinds", "distinct", [5], value="event_type", cap=16),
            windowed("last_item", "last", [5], value="item_id"),
        ],
        derived=[],
    )
    days = user_days(EventFrames.of(events_frame(spark, TEN, "UTC")), features)
    told = days.selectExpr(
        "user_id", "day(event_date) as day", "to_json(top) as top", "to_json(net_by_item_id) as net", "size(kinds) as kinds",
        "last_item.value as last",
    )  # fmt: skip
    rows = [
        ("ann", 1, '{"shoes":1}', '{"i1":1}', 1, "i1"),
        # Two hats bought and one given back, beside two in the cart: 2 + 2 - 1.
        ("ann", 2, '{"hats":8,"shoes":1}', '{"i1":1,"i2":3,"i3":1}', 4, "i2"),
        ("bob", 2, None, '{"i9":1}', 2, "i9"),  # a search has no weight here, and his view has no category
        ("cid", 1, '{"bags":5,"caps":5}', '{"i5":3}', 1, "i4"),  # of two events at one instant the id decides
    ]
    wanted = spark.createDataFrame(rows, "user_id string, day int, top string, net string, kinds int, last string")
    found = told.withColumn("top", F.nullif("top", F.lit("{}")))
    assert_df_equality(found, wanted, ignore_row_order=True, ignore_nullable=True, ignore_metadata=True)


def test_events_and_days_move_before_they_are_folded(spark: SparkSession) -> None:
    """A folded row is wide: none of them is moved, neither to its day, nor to its user, nor to where it is joined."""
    features = load_settings().features
    days = user_days(EventFrames.of(events_frame(spark, TEN, "UTC").withColumn(LEVEL, F.lit(0))), features)
    state = build_state(StoredDays(days), features, find_way(Slots(features), date(2026, 3, 3), None), "UTC")
    # Once for the keyed partials, once for all others.
    assert exchanges(days) == ["hashpartitioning(user_id, event_date)"] * 2
    # Each family of slots makes its days anew here, for nothing is stored between.
    families = 4  # plain, listed, keyed, last events
    assert set(exchanges(state)) == {"hashpartitioning(user_id, event_date)", "hashpartitioning(user_id)"}
    assert exchanges(state).count("hashpartitioning(user_id)") == families
    with whole_text(spark):
        lines = state._jdf.queryExecution().executedPlan().toString().splitlines()
    # Entries of maps move as rows of their own: they are taken apart before.
    exchange = next(number for number, line in enumerate(lines) if re.search(r"Generate explode\(entries", line)) - 1
    assert "hashpartitioning(user_id" in "".join(lines[exchange - 1 : exchange + 1])


def test_a_rolled_state_is_moved_once(spark: SparkSession) -> None:
    """What is new, moved and merged, is joined to it where it lies."""
    features, before = load_settings().features, date(2026, 3, 2)
    days = user_days(EventFrames.of(events_frame(spark, TEN, "UTC").withColumn(LEVEL, F.lit(0))), features)
    first = build_state(StoredDays(days), features, find_way(Slots(features), before, None), "UTC")
    stored = spark.createDataFrame(spark.sparkContext.emptyRDD(), first.schema)
    way = find_way(Slots(features), date(2026, 3, 3), Base(before, same_slots(Slots(features))))
    assert way.rolled and way.merged
    by_user = [
        told for told in exchanges(build_state(StoredDays(days), features, way, "UTC", stored)) if "date" not in told
    ]
    families = 6  # plain, listed, keyed and last events of what moved, plain and listed of what is merged
    assert by_user.count("hashpartitioning(user_id)") == families
    assert by_user.count("hashpartitioning(user_id) for ENSURE_REQUIREMENTS") == 1
    assert len(by_user) == families + 1


def test_sorted_events_are_folded_in_one_pass(spark: SparkSession) -> None:
    """Not in a partial and a final one; but for the sums by key, whose order would be another."""
    events = events_frame(spark, TEN, "UTC").withColumn(LEVEL, F.lit(0))
    days = user_days(EventFrames.of(events), load_settings().features)
    with one_pass_folds(spark):
        plan = days._jdf.queryExecution().executedPlan().toString()
    folds = re.findall(r"(\w+Aggregate)\(keys?=\[([^\]]*)\], functions=\[(?:(partial)_)?", plan)
    told = [(kind, re.sub(r"#[0-9L]+", "", keys), part) for kind, keys, part in folds]
    by_key = "user_id, event_date, part, key"
    one_pass = ("SortAggregate", "user_id, event_date", "")
    assert told == [one_pass, one_pass, ("HashAggregate", by_key, ""), ("HashAggregate", by_key, "partial")]


def test_without_a_cap_a_heavy_day_is_folded_by_all_who_read_it(spark: SparkSession) -> None:
    """In two phases: each task folds its part, and keys of maps are moved apart from each other."""
    features, events = load_settings().features, events_frame(spark, TEN, "UTC").withColumn(LEVEL, F.lit(0))
    days = user_days(EventFrames.of(events, capped=False), features)
    by_day = "hashpartitioning(user_id, event_date) for ENSURE_REQUIREMENTS"
    by_key = "hashpartitioning(user_id, event_date, part, key) for ENSURE_REQUIREMENTS"
    assert set(exchanges(days)) == {by_day, by_key}
    with whole_text(spark):
        plan = days._jdf.queryExecution().executedPlan().toString()
    for fold in ("partial_sum", "partial_max_by", "partial_collect_set"):
        assert fold in plan, "parts are folded before they move"
    moves = [below for above, below in pairwise(plan.splitlines()) if "Exchange hashpartitioning" in above]
    assert all(re.search(r"Aggregate\(.*functions=\[partial_", below) for below in moves), "folded before they move"
    assert len(moves) == 3
    moved = user_days(EventFrames.of(events), features)
    told, wanted = (frame.orderBy("user_id", "event_date").collect() for frame in (days, moved))
    assert told == wanted


@contextmanager
def whole_text(spark: SparkSession) -> Iterator[None]:
    """Plans are told with all their columns."""
    cut = spark.conf.get("spark.sql.debug.maxToStringFields")
    spark.conf.set("spark.sql.debug.maxToStringFields", "1000")
    try:
        yield
    finally:
        spark.conf.set("spark.sql.debug.maxToStringFields", str(cut))


def exchanges(frame: DataFrame) -> list[str]:
    """The exchanges of a plan, and by which columns; those that Spark had to add by itself are told as such."""
    plan = frame._jdf.queryExecution().executedPlan().toString()
    found = re.findall(r"Exchange hashpartitioning\((.+), \d+\), (\w+)", plan)
    return [
        f"hashpartitioning({re.sub(r'#[0-9L]+', '', keys)})" + ("" if why == "REPARTITION_BY_COL" else f" for {why}")
        for keys, why in found
    ]


def test_one_definition_is_kept_once() -> None:
    """Two features over the same events share a column, whatever they are called."""
    twins = small_features(
        windowed=[
            windowed("n", "count", [1]),
            windowed("m", "count", [7]),
            windowed("days", "active_days", [1], event_types=["purchase"]),
            windowed("gap", "intervals", ["lifetime"], event_types=["purchase"]),
        ],
        derived=[],
    )
    assert [p.name for p in all_partials(twins)] == ["n", "days_day"]


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ({"derived": [derived("other", "n_7d + 1")]}, False),
        ({"windowed": [windowed("n", "count", [1, 2, 7, 30]), windowed("buys", "count", [7])]}, True),
        ({"sequence": last_events(length=9)}, True),
        ({"sequence": last_events(event_types=["view"])}, True),
        ({"sequence": last_events(columns=[column("seq_item", "category")])}, True),
        ({"sequence": last_events(window_days=60)}, False),
    ],
)
def test_days_are_only_rebuilt_for_what_they_hold(change: dict[str, Any], moves: bool) -> None:
    if "windowed" in change:
        change = change | {"derived": []}
    assert (kept_in_days(small_features(**change)) != kept_in_days(small_features())) is moves
