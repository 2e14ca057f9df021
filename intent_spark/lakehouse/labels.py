"""What happened after a snapshot: the label of an example."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def label(
    profiles: DataFrame, events: DataFrame, as_of: date, horizon_days: int, event_types: Iterable[str]
) -> DataFrame:
    """Add ``label``: 1 where the user has such an event in [as_of, as_of + horizon), else 0.

    Args:
        profiles: one row a user, all of them kept.
        events: rows with user_id, event_date and event_type.
    """
    end = as_of + timedelta(days=horizon_days)
    inside = (F.col("event_date") >= F.lit(as_of)) & (F.col("event_date") < F.lit(end))
    buyers = events.where(inside & F.col("event_type").isin(*event_types)).select("user_id").distinct()
    flagged = profiles.join(buyers.withColumn("label", F.lit(1)), on="user_id", how="left")
    return flagged.withColumn("label", F.coalesce("label", F.lit(0)))
