from __future__ import annotations

from datetime import date
from itertools import groupby
from typing import Any

import pytest
from chispa import assert_df_equality
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from intent_spark.dimensions.validity import merge_versions

ARRIVING = "user_id string, valid_from date, tier int, city string"
VERSIONS = "user_id string, valid_from date, valid_to date, tier int, city string"


def day(n: int) -> date:
    return date(2026, 3, n)


def nothing(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame([], VERSIONS)


def arriving(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return spark.createDataFrame(list(rows), ARRIVING).selectExpr("*", "cast(null as date) as valid_to")


def test_versions_follow_each_other_without_gap_or_repeat(spark: SparkSession) -> None:
    rows = arriving(
        spark,
        ("a", day(9), 1, "x"), ("a", day(1), 1, "x"), ("a", day(5), 2, "x"), ("a", day(3), 1, "x"),  # day 3 repeats
        ("b", day(2), None, None), ("b", day(4), None, None), ("b", day(6), None, "y"),
    )  # fmt: skip
    expected = spark.createDataFrame(
        [
            ("a", day(1), day(5), 1, "x"), ("a", day(5), day(9), 2, "x"), ("a", day(9), None, 1, "x"),
            ("b", day(2), day(6), None, None), ("b", day(6), None, None, "y"),
        ],
        VERSIONS,
    )  # fmt: skip
    assert_df_equality(
        merge_versions(nothing(spark), rows, "user_id"), expected, ignore_row_order=True, ignore_nullable=True
    )


def test_an_earlier_version_that_arrives_late_ends_where_the_next_begins(spark: SparkSession) -> None:
    there = merge_versions(nothing(spark), arriving(spark, ("a", day(5), 2, "x")), "user_id")
    late = merge_versions(there, arriving(spark, ("a", day(1), 1, "x")), "user_id")
    expected = spark.createDataFrame([("a", day(1), day(5), 1, "x"), ("a", day(5), None, 2, "x")], VERSIONS)
    assert_df_equality(late, expected, ignore_row_order=True, ignore_nullable=True)
    assert_df_equality(
        merge_versions(late, arriving(spark, ("a", day(5), 2, "x")), "user_id"), late, ignore_row_order=True
    )


def test_two_contents_for_one_day_are_settled_alike_in_any_order(spark: SparkSession) -> None:
    rows = [("a", day(1), 1, "x"), ("a", day(1), 2, "x")]
    one = merge_versions(nothing(spark), arriving(spark, *rows), "user_id")
    other = merge_versions(
        merge_versions(nothing(spark), arriving(spark, rows[1]), "user_id"), arriving(spark, rows[0]), "user_id"
    )
    assert one.count() == 1
    assert_df_equality(one, other)


snapshots = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 6).map(day), st.integers(1, 2), st.just("x")),
    min_size=2, max_size=8, unique_by=lambda row: row[:2],
)  # fmt: skip


def naive(rows: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """The versions, by walking through each user's rows in order."""
    versions = set()
    for user, group in groupby(sorted(rows), key=lambda row: row[0]):
        kept: list[tuple[Any, ...]] = []
        for row in group:
            if not kept or kept[-1][2:] != row[2:]:
                kept.append(row)
        ends = [row[1] for row in kept[1:]] + [None]
        versions |= {(user, row[1], end, *row[2:]) for row, end in zip(kept, ends, strict=True)}
    return versions


@pytest.mark.slow
@settings(max_examples=6, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_the_order_of_arrival_does_not_matter(spark: SparkSession, data: st.DataObject) -> None:
    rows = data.draw(snapshots)
    order = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(1, len(rows) - 1))
    first = merge_versions(nothing(spark), arriving(spark, *order[:cut]), "user_id")
    known = spark.createDataFrame(first.collect(), VERSIONS)
    both = merge_versions(known, arriving(spark, *order[cut:]), "user_id")
    at_once = merge_versions(nothing(spark), arriving(spark, *rows), "user_id")
    assert {tuple(row) for row in at_once.collect()} == naive(rows)
    assert {tuple(row) for row in both.collect()} == _with_cut(order[:cut], order[cut:])


def _with_cut(first: list[tuple[Any, ...]], then: list[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    return naive([*first, *then])
