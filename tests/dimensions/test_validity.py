from __future__ import annotations

from datetime import date
from itertools import groupby
from typing import Any

import pytest
from chispa import assert_df_equality
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from intent_spark.dimensions.validity import date_changes, merge_versions

ARRIVING = "user_id string, valid_from date, tier int, city string"
VERSIONS = "user_id string, valid_from date, valid_to date, stated_on array<date>, tier int, city string"


def day(n: int) -> date:
    return date(2026, 3, n)


def nothing(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], VERSIONS)


def arriving(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    frame = spark.createDataFrame(list(rows), ARRIVING)
    return frame.selectExpr("*", "cast(null as date) as valid_to", "array(valid_from) as stated_on")


def versions(frame: DataFrame) -> set[tuple[Any, ...]]:
    """User, from, to and content of each version."""
    return {tuple(row) for row in frame.select("user_id", "valid_from", "valid_to", "tier", "city").collect()}


def test_versions_follow_each_other_without_gap_or_repeat(spark: SparkSession) -> None:
    rows = arriving(
        spark,
        ("a", day(9), 1, "x"), ("a", day(1), 1, "x"), ("a", day(5), 2, "x"), ("a", day(3), 1, "x"),  # day 3 repeats
        ("b", day(2), None, None), ("b", day(4), None, None), ("b", day(6), None, "y"),
    )  # fmt: skip
    expected = spark.createDataFrame(
        [
            ("a", day(1), day(5), [day(1), day(3)], 1, "x"), ("a", day(5), day(9), [day(5)], 2, "x"),
            ("a", day(9), None, [day(9)], 1, "x"),
            ("b", day(2), day(6), [day(2), day(4)], None, None), ("b", day(6), None, [day(6)], None, "y"),
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


def test_a_dated_snapshot_changes_known_users_from_its_day(spark: SparkSession) -> None:
    there = merge_versions(nothing(spark), arriving(spark, ("a", day(1), 1, "x")), "user_id")
    dated = date_changes(arriving(spark, ("a", day(1), 2, "x"), ("b", day(2), 1, "x")), there, "user_id", day(5))
    assert versions(merge_versions(there, dated, "user_id")) == {
        ("a", day(1), day(5), 1, "x"), ("a", day(5), None, 2, "x"), ("b", day(2), None, 1, "x")
    }  # fmt: skip


# Many users in one frame: a Spark run costs seconds, a user nothing.
statements = st.lists(
    st.tuples(st.integers(0, 40).map(str), st.integers(1, 6).map(day), st.integers(1, 2), st.just("x")),
    min_size=100, max_size=200, unique_by=lambda row: row[:2],
)  # fmt: skip


def naive(rows: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """The versions, by walking through each user's rows in order."""
    found = set()
    for user, group in groupby(sorted(rows), key=lambda row: row[0]):
        kept: list[tuple[Any, ...]] = []
        for row in group:
            if not kept or kept[-1][2:] != row[2:]:
                kept.append(row)
        ends = [row[1] for row in kept[1:]] + [None]
        found |= {(user, row[1], end, *row[2:]) for row, end in zip(kept, ends, strict=True)}
    return found


@pytest.mark.slow
@settings(
    max_examples=3, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(rows=statements, data=st.data())
def test_the_order_of_arrival_does_not_matter(
    spark: SparkSession, rows: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(1, len(rows) - 1), min_size=2, max_size=2)))
    there = nothing(spark)
    for batch in (order[: cuts[0]], order[cuts[0] : cuts[1]], order[cuts[1] :]):
        if batch:
            merged = merge_versions(there, arriving(spark, *batch), "user_id")
            there = spark.createDataFrame(merged.collect(), VERSIONS)
    assert versions(there) == naive(rows)
