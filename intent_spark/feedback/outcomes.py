"""Matured scores beside what happened, and the counts from which every metric follows."""

from __future__ import annotations

from datetime import date

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.models.metrics import ScoreHistogram

# Scores are counted to the sixth decimal: a bounded number of rows reaches the driver, whatever the users' number.
STEPS = 1_000_000
NEW_DAYS = DORMANT_DAYS = 30


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


def count_scores(outcomes: DataFrame, score: str) -> dict[str, ScoreHistogram]:
    """Histograms of a score column by segment, and ``all`` of them together. Users without the score are left out."""
    known = outcomes.where(F.col(score).isNotNull())
    # Never 0 or 1: rounding must not make a small probability an impossible one.
    rounded = F.round(F.col(score) * STEPS).cast("int")
    bucket = F.greatest(F.lit(1), F.least(F.lit(STEPS - 1), rounded)).alias("bucket")
    positives = F.sum(F.col("label").cast("bigint")).alias("positives")
    rows = known.groupBy("segment", bucket).agg(positives, F.count("*").alias("users")).collect()
    groups = {"all": rows} | {
        name: [r for r in rows if r["segment"] == name] for name in sorted({r["segment"] for r in rows})
    }
    return {name: _histogram(group) for name, group in groups.items() if group}


def _histogram(rows: list) -> ScoreHistogram:  # type: ignore[type-arg]
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
