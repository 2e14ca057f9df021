"""Matured scores beside what happened, and the counts from which every metric follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.models.metrics import ScoreHistogram

# Scores are counted to the sixth decimal: a bounded number of rows reaches the driver, whatever the users' number.
STEPS = 1_000_000
NEW_DAYS = DORMANT_DAYS = 30
ALL = "all"
ACTIVITY, CATEGORY, CATEGORIES = "event_count_30d", "top_category_90d_1", 5


@dataclass(frozen=True)
class Scored:
    """Where a score lies, and what it should have told of: 1 where that came to pass."""

    score: str
    label: str = "label"


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


def count_scores(outcomes: DataFrame, scores: Mapping[str, Scored]) -> dict[str, dict[str, ScoreHistogram]]:
    """Histograms of scores by name and segment, ``all`` the first. Users without a score are left out of it.

    The outcomes are read once for all scores; the driver holds one score's counts at a time.
    """
    each = [
        F.struct(F.lit(place).alias("place"), F.col(one.score).alias("score"), F.col(one.label).alias("label"))
        for place, one in enumerate(scores.values())
    ]
    known = outcomes.select("segments", F.explode(F.array(*each)).alias("one")).where("one.score is not null")
    # Never 0 or 1: rounding must not make a small probability an impossible one.
    rounded = F.round(F.col("one.score") * STEPS).cast("int")
    bucket = F.greatest(F.lit(1), F.least(F.lit(STEPS - 1), rounded)).alias("bucket")
    rows = each_segment(known, F.col("one.place"), bucket, F.col("one.label"))
    sums = (F.sum(F.col("label").cast("bigint")).alias("positives"), F.count("*").alias("users"))
    counted = rows.groupBy("place", "segment", "bucket").agg(*sums).persist()
    try:
        return {name: _by_segment(counted.where(F.col("place") == place)) for place, name in enumerate(scores)}
    finally:
        counted.unpersist()


def _by_segment(counted: DataFrame) -> dict[str, ScoreHistogram]:
    parts = dict(iter(counted.toArrow().to_pandas().groupby("segment")))
    return {name: _histogram(parts[name]) for name in sorted(parts, key=lambda name: (name != ALL, name))}


def each_segment(outcomes: DataFrame, *columns: Column) -> DataFrame:
    """Columns of each outcome once for each ``segment`` that its user is in, ``all`` among them."""
    segments_of = F.explode(F.concat(F.array(F.lit(ALL)), "segments")).alias("segment")
    return outcomes.select(*columns, segments_of)


def _histogram(counted: pd.DataFrame) -> ScoreHistogram:
    positives, users = (counted[name].to_numpy(np.float64) for name in ("positives", "users"))
    return ScoreHistogram.from_counts(counted["bucket"].to_numpy() / STEPS, positives, users - positives)


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
