from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from chispa import assert_df_equality
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from intent_spark.dimensions.validity import dated, first_changed_day, merge_versions

ARRIVING = "user_id string, valid_from date, tier int, city string"
WITH_GONE = (
    "user_id string, valid_from date, valid_to date, stated_on array<date>, said_from date, tier int, gone boolean"
)
VERSIONS = (
    "user_id string, valid_from date, valid_to date, stated_on array<date>, said_from date, tier int, city string"
)


def day(n: int) -> date:
    return date(2026, 3, n)


def nothing(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], VERSIONS)


def arriving(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    frame = spark.createDataFrame(list(rows), ARRIVING)
    return frame.selectExpr(
        "*", "cast(null as date) as valid_to", "array(valid_from) as stated_on", "cast(null as date) as said_from"
    )


def versions(frame: DataFrame) -> set[tuple[Any, ...]]:
    """User, from, to and content of each version."""
    return {tuple(row) for row in frame.select("user_id", "valid_from", "valid_to", "tier", "city").collect()}


def test_the_first_day_of_which_something_else_is_known(spark: SparkSession) -> None:
    before = merge_versions(nothing(spark), arriving(spark, ("a", day(1), 1, "x"), ("b", day(2), 2, "y")), "user_id")

    def changed(*rows: tuple[Any, ...]) -> date | None:
        return first_changed_day(before, merge_versions(before, arriving(spark, *rows), "user_id"), "user_id")

    assert changed(("a", day(7), 1, "x")) is None, "the same once more"
    assert changed(("a", day(7), 1, "z"), ("b", day(9), 3, "y")) == day(7)
    assert changed(("c", day(5), 1, "x")) == day(5)
    assert changed(("a", day(1), 4, "x")) == day(1), "a correction"
    assert first_changed_day(nothing(spark), before, "user_id") == day(1)


def test_versions_follow_each_other_without_gap_or_repeat(spark: SparkSession) -> None:
    rows = arriving(
        spark,
        ("a", day(9), 1, "x"), ("a", day(1), 1, "x"), ("a", day(5), 2, "x"), ("a", day(3), 1, "x"),  # day 3 repeats
        ("b", day(2), None, None), ("b", day(4), None, None), ("b", day(6), None, "y"),
    )  # fmt: skip
    expected = spark.createDataFrame(
        [
            ("a", day(1), day(5), [day(1), day(3)], day(1), 1, "x"), ("a", day(5), day(9), [day(5)], None, 2, "x"),
            ("a", day(9), None, [day(9)], None, 1, "x"),
            ("b", day(2), day(6), [day(2), day(4)], day(2), None, None), ("b", day(6), None, [day(6)], None, None, "y"),
        ],
        VERSIONS,
    )  # fmt: skip
    merged = merge_versions(nothing(spark), rows, "user_id")
    assert_df_equality(merged, expected, ignore_row_order=True, ignore_nullable=True)
    assert_df_equality(merge_versions(merged, rows, "user_id"), expected, ignore_row_order=True, ignore_nullable=True)


def test_a_late_statement_parts_two_equal_ones(spark: SparkSession) -> None:
    there = merge_versions(nothing(spark), arriving(spark, ("a", day(1), 2, "x"), ("a", day(3), 2, "x")), "user_id")
    assert versions(there) == {("a", day(1), None, 2, "x")}
    late = merge_versions(there, arriving(spark, ("a", day(2), 1, "x")), "user_id")
    assert versions(late) == {
        ("a", day(1), day(2), 2, "x"), ("a", day(2), day(3), 1, "x"), ("a", day(3), None, 2, "x")
    }  # fmt: skip


def test_a_later_arrival_corrects_its_day(spark: SparkSession) -> None:
    rows = [("a", day(1), 2, "x"), ("a", day(1), 1, "x")]
    one = merge_versions(nothing(spark), arriving(spark, *rows), "user_id")
    assert versions(one) == {("a", day(1), None, 2, "x")}, "together the larger wins"
    corrected = merge_versions(one, arriving(spark, rows[1]), "user_id")
    assert versions(corrected) == {("a", day(1), None, 1, "x")}


def test_a_dated_file_says_what_holds_on_its_day(spark: SparkSession) -> None:
    there = merge_versions(nothing(spark), arriving(spark, ("a", day(1), 1, "x")), "user_id")
    of_day_5 = dated(arriving(spark, ("a", day(1), 2, "x"), ("b", day(2), 1, "x")), day(5))
    merged = merge_versions(there, of_day_5, "user_id")
    assert versions(merged) == {
        ("a", day(1), day(5), 1, "x"), ("a", day(5), None, 2, "x"), ("b", day(2), None, 1, "x")
    }  # fmt: skip
    of_day_3 = dated(arriving(spark, ("a", day(1), 3, "x"), ("b", day(2), 4, "x")), day(3))
    assert versions(merge_versions(merged, of_day_3, "user_id")) == {
        ("a", day(1), day(3), 1, "x"), ("a", day(3), day(5), 3, "x"), ("a", day(5), None, 2, "x"),
        ("b", day(2), day(5), 4, "x"), ("b", day(5), None, 1, "x"),
    }, "a file of an earlier day that comes later"  # fmt: skip


@dataclass(frozen=True)
class Delivery:
    """One file: a full snapshot of a day, or changes; by user what is said: day, since when, tier (None: gone)."""

    snapshot: date | None
    rows: dict[str, tuple[date, date, int | None]]


def naive(deliveries: list[Delivery]) -> set[tuple[Any, ...]]:
    """The versions, by walking through each user's statements in order."""
    taken = [d.snapshot for d in deliveries if d.snapshot]
    said: dict[str, dict[date, int | None]] = defaultdict(dict)
    since: dict[str, date] = {}
    for delivery in deliveries:
        for user, (stated, begun, tier) in delivery.rows.items():
            said[user][stated] = tier
            since[user] = min(since.get(user, begun), begun)
    found = set()
    for user, statements in said.items():
        first = min(statements)
        if any(since[user] <= s < first for s in taken):
            since[user] = first
        statements |= {s: None for s in taken if s > first and s not in statements}
        kept = [(d, tier) for d, tier in sorted(statements.items())]
        kept = [kept[0], *[now for last, now in pairwise(kept) if now[1] != last[1]]]
        kept[0] = (min(since[user], kept[0][0]), kept[0][1])
        ends = [d for d, _ in kept[1:]] + [None]
        found |= {(user, d, end, tier) for (d, tier), end in zip(kept, ends, strict=True)}
    return found


USERS = [str(n) for n in range(60)]


@st.composite
def deliveries(draw: st.DrawFn) -> list[Delivery]:
    """Snapshots of even days and changes of odd ones, for many users at a time: a Spark run costs seconds."""
    found = []
    for n in draw(st.lists(st.integers(2, 12), min_size=4, max_size=6, unique=True)):
        users = draw(st.lists(st.sampled_from(USERS), min_size=20, max_size=50, unique=True))
        tiers = draw(st.lists(st.one_of(st.integers(1, 2), st.none()), min_size=60, max_size=60))
        ages = draw(st.lists(st.integers(0, 3), min_size=60, max_size=60))
        is_full = n % 2 == 0
        rows = {
            user: (day(n), day(max(1, n - age)) if is_full else day(n), (tier or 1) if is_full else tier)
            for user, tier, age in zip(users, tiers, ages, strict=False)
        }
        found.append(Delivery(day(n) if is_full else None, rows))
    return found


@pytest.mark.slow
@settings(
    max_examples=4, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(in_time=deliveries(), data=st.data())
def test_the_order_of_arrival_does_not_matter(
    spark: SparkSession, in_time: list[Delivery], data: st.DataObject
) -> None:
    there, taken = spark.createDataFrame([], WITH_GONE), []
    for delivery in data.draw(st.permutations(in_time)):
        rows = [
            (user, begun, None, [stated], None, tier, None if tier else True)
            for user, (stated, begun, tier) in delivery.rows.items()
        ]
        merged = merge_versions(there, spark.createDataFrame(rows, WITH_GONE), "user_id", delivery.snapshot, taken)
        there = spark.createDataFrame(merged.collect(), WITH_GONE)
        taken += [delivery.snapshot] if delivery.snapshot else []
    rows = there.collect()
    assert all((row["tier"] is None) == bool(row["gone"]) for row in rows)
    assert {(r["user_id"], r["valid_from"], r["valid_to"], r["tier"]) for r in rows} == naive(in_time)


def test_a_day_that_was_said_outlives_an_absence(spark: SparkSession) -> None:
    """Said to be there since the third and not in the fourth's snapshot; then said to be there since the fifth."""

    def full(n: int, since: int) -> DataFrame:
        return spark.createDataFrame([("a", day(since), None, [day(n)], None, 1, None)], WITH_GONE)

    nobody = spark.createDataFrame([], WITH_GONE)
    taken: list[date] = []
    there = nobody
    for n, arriving_now in ((6, full(6, 3)), (4, nobody), (8, full(8, 5))):
        there = spark.createDataFrame(
            merge_versions(there, arriving_now, "user_id", day(n), taken).collect(), WITH_GONE
        )
        taken.append(day(n))
    assert [(r["valid_from"], r["said_from"]) for r in there.collect()] == [(day(6), day(3))]


def test_a_corrected_snapshot_takes_back_who_was_in_it(spark: SparkSession) -> None:
    def full(*users: str) -> DataFrame:
        rows = [(user, day(1), None, [day(5)], None, 1, None) for user in users]
        return spark.createDataFrame(rows, WITH_GONE)

    first = merge_versions(spark.createDataFrame([], WITH_GONE), full("a", "b", "c"), "user_id", day(3))
    first = first.withColumn("stated_on", F.array(F.lit(day(3))))
    wrong = merge_versions(first, full("a", "b"), "user_id", day(5), [day(3)])
    gone = {(r["user_id"], r["valid_from"]) for r in wrong.collect() if r["gone"]}
    assert gone == {("c", day(5))}
    right = merge_versions(wrong, full("b", "c"), "user_id", day(5), [day(3), day(5)])
    assert {(r["user_id"], r["valid_from"]) for r in right.collect() if r["gone"]} == {("a", day(5))}
