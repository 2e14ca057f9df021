"""Matured scores beside what happened, and the counts from which every metric follows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import numpy as np
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.models.metrics import ScoreHistogram

# Scores are counted to the sixth decimal: a bounded number of rows reaches the driver, whatever the users' number.
STEPS = 1_000_000
NEW_DAYS = DORMANT_DAYS = 30
ALL = "all"
ACTIVITY, CATEGORY, CATEGORIES = "event_count_30d", "top_category_90d_1", 5


def segments(columns: list[str], categories: Iterable[str] = ()) -> Column:
    """The names of the groups that a profile is in, an array: its stage, its activity and its category.

    ``activity: 10 to 99`` counts events of 30 days. ``category: …`` is the one met most, where it is one of
    ``categories``, else ``category: other``. What is not declared or not known gives no name.
    """
    names = [segment(columns)]
    if ACTIVITY in columns:
        bands = F.when(F.col(ACTIVITY) == 0, "0").when(F.col(ACTIVITY) < 10, "1 to 9")
        bands = bands.when(F.col(ACTIVITY) < 100, "10 to 99").otherwise("100 and more")
        names.append(F.concat(F.lit("activity: "), bands))
    if CATEGORY in columns:
        known = F.when(F.col(CATEGORY).isin(*categories), F.col(CATEGORY)).when(F.col(CATEGORY).isNotNull(), "other")
        names.append(F.concat(F.lit("category: "), known))
    return F.array_compact(F.array(*names))


def common_categories(profiles: DataFrame) -> list[str]:
    """The categories that most users meet most, the commonest first."""
    if CATEGORY not in profiles.columns:
        return []
    counted = profiles.where(F.col(CATEGORY).isNotNull()).groupBy(CATEGORY).count()
    return [row[0] for row in counted.orderBy(F.desc("count"), CATEGORY).limit(CATEGORIES).collect()]


def segment(columns: list[str]) -> Column:
    """``new``, ``dormant`` or ``regular`` by a profile's tenure and recency; ``regular`` where neither is declared."""
    rules = [("days_since_first_event", F.col("days_since_first_event") <= NEW_DAYS, "new")]
    rules += (
        [("days_since_event", F.col("days_since_event") > DORMANT_DAYS, "dormant")]
        if "days_since_event" in columns
        else []
    )
    declared = [F.when(condition, F.lit(name)) for column, condition, name in rules if column in columns]
    return F.coalesce(*declared, F.lit("regular"))


def count_scores(outcomes: DataFrame, score: str, label: str = "label") -> dict[str, ScoreHistogram]:
    """Histograms of a score column by segment, ``all`` the first. Users without the score are left out."""
    known = outcomes.where(F.col(score).isNotNull())
    # Never 0 or 1: rounding must not make a small probability an impossible one.
    rounded = F.round(F.col(score) * STEPS).cast("int")
    bucket = F.greatest(F.lit(1), F.least(F.lit(STEPS - 1), rounded)).alias("bucket")
    each = each_segment(known, bucket, F.col(label).alias("label"))
    positives = F.sum(F.col("label").cast("bigint")).alias("positives")
    groups: dict[str, list[Row]] = {}
    for row in each.groupBy("segment", "bucket").agg(positives, F.count("*").alias("users")).collect():
        groups.setdefault(row["segment"], []).append(row)
    return {name: _histogram(groups[name]) for name in sorted(groups, key=lambda name: (name != ALL, name))}


def each_segment(outcomes: DataFrame, *columns: Column) -> DataFrame:
    """Columns of each outcome once for each ``segment`` that its user is in, ``all`` among them."""
    segments_of = F.explode(F.concat(F.array(F.lit(ALL)), "segments")).alias("segment")
    return outcomes.select(*columns, segments_of)


def _histogram(rows: list[Row]) -> ScoreHistogram:
    positives = np.array([row["positives"] for row in rows], dtype=np.float64)
    users = np.array([row["users"] for row in rows], dtype=np.float64)
    return ScoreHistogram.from_counts(np.array([row["bucket"] for row in rows]) / STEPS, positives, users - positives)


def check_both_outcomes(outcomes: DataFrame, as_of: date, horizon: int) -> None:
    """Refuse outcomes of one kind.

    Raises:
        ContractError: nobody bought, or everybody.
    """
    users, buyers = outcomes.agg(F.count("*"), F.sum("label")).collect()[0]
    if buyers in (0, users):
        raise ContractError(
            f"of {users} users {buyers} bought within {horizon} days of {as_of}, so no ranking can be measured; "
            "evaluate a date with buyers and others, or a longer horizon."
        )
