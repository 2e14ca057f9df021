"""One row for each event id: the earliest wins, in the batch and against what the table holds."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

ACCEPTED, DUPLICATE, QUARANTINED = "accepted", "duplicate", "quarantined"


def mark(candidates: DataFrame, known: DataFrame | None) -> DataFrame:
    """Add ``status`` to candidates that carry ``reason``: accepted, duplicate or quarantined.

    Args:
        candidates: mapped rows with event_id, event_time, ingest_time, reason and their position.
        known: ``event_id`` of events that earlier batches brought, or None where there are none.
    """
    order = Window.partitionBy("event_id").orderBy("event_time", "ingest_time", "_file", "_block", "_row")
    good = candidates.where(F.col("reason").isNull()).withColumn("nth", F.row_number().over(order))
    if known is None:
        seen = good.withColumn("is_known", F.lit(False))
    else:
        flags = known.select("event_id").distinct().withColumn("is_known", F.lit(True))
        seen = good.join(flags, on="event_id", how="left").fillna(False, subset=["is_known"])
    is_first = (F.col("nth") == 1) & ~F.col("is_known")
    marked = seen.withColumn("status", F.when(is_first, F.lit(ACCEPTED)).otherwise(F.lit(DUPLICATE)))
    refused = candidates.where(F.col("reason").isNotNull()).withColumn("status", F.lit(QUARANTINED))
    return marked.drop("nth", "is_known").unionByName(refused)
