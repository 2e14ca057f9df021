"""What users were expected to spend beside what they spent."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from intent_spark.config.heads import SPEND
from intent_spark.feedback.outcomes import ALL, each_segment

# The share of users, by each of these columns, whose part of all spending is told.
TOP = 0.1
RANKED_BY = (SPEND.name, "calibrated_intent")


@dataclass(frozen=True)
class Spend:
    """The users of one segment who have an expected spend; money in minor units.

    ``top_share`` is the part of ``spent`` that the tenth of them with the highest expected spend has, ``top_by_intent``
    that of the tenth with the highest probability of a purchase; None where nobody spent anything.
    """

    users: int
    expected: float
    spent: int
    top_share: float | None
    top_by_intent: float | None

    @property
    def ratio(self) -> float | None:
        """What was expected for each unit that was spent; None where nothing was."""
        return self.expected / self.spent if self.spent else None


def count_spend(outcomes: DataFrame) -> dict[str, Spend]:
    """By segment, ``all`` the first; a user on the edge of the top tenth counts as in it."""
    columns = [F.col(name) for name in (*RANKED_BY, SPEND.label)]
    known = each_segment(outcomes.where(F.col(SPEND.name).isNotNull()), *columns)
    edges = [F.percentile_approx(name, 1 - TOP).alias(f"{name}_edge") for name in RANKED_BY]
    placed = known.join(F.broadcast(known.groupBy("segment").agg(*edges)), on="segment")
    tops = [_top(name).alias(f"{name}_top") for name in RANKED_BY]
    sums = [F.sum(SPEND.name).alias("expected"), F.sum(SPEND.label).alias("spent"), *tops]
    rows = placed.groupBy("segment").agg(F.count("*").alias("users"), *sums).collect()
    found = {row["segment"]: _spend(row) for row in rows}
    return {name: found[name] for name in sorted(found, key=lambda name: (name != ALL, name))}


def _top(name: str) -> Column:
    return F.sum(F.when(F.col(name) >= F.col(f"{name}_edge"), F.col(SPEND.label)))


def _spend(row: Row) -> Spend:
    shares = [row[f"{name}_top"] / row["spent"] if row["spent"] else None for name in RANKED_BY]
    return Spend(row["users"], row["expected"], row["spent"], *shares)
