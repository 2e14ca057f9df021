"""One row for each event id: the earliest wins, in the batch and against what the table holds."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from intent_spark.events.raw import POSITION

ACCEPTED, DUPLICATE, QUARANTINED, FILTERED = "accepted", "duplicate", "quarantined", "filtered"
STATUSES = (ACCEPTED, DUPLICATE, QUARANTINED, FILTERED)


def mark(
    candidates: DataFrame, known: DataFrame | None, lookback_days: int, repeated: DataFrame | None = None
) -> DataFrame:
    """Add ``status`` to candidates: accepted, duplicate, quarantined (has a ``reason``) or filtered (``_filtered``).

    An event is a duplicate where one of its id lies at most ``lookback_days`` away: a known one, or one before it in
    the batch, in the order of event_time, ingest_time, the mapping's tie_break, file and line.

    Few events share an id. So only the hashes of ids are brought together first (``repeated_hashes``); whole rows move
    only where a hash is met twice, and the real ids decide.

    Args:
        candidates: mapped rows with event_id, event_date, event_time, ingest_time, reason and their position.
        known: ``event_id`` and ``event_date`` of events that earlier batches brought, or None where there are none.
        lookback_days: how far apart the days of an event and its copy may lie.
        repeated: what ``repeated_hashes`` gives of the same rows, where the caller keeps it.
    """
    good = candidates.where(is_good())
    repeated = repeated_hashes(candidates, known) if repeated is None else repeated
    met_twice = F.xxhash64("event_id") == F.col("id_hash")
    single = good.join(repeated, on=met_twice, how="left_anti")
    several = good.join(repeated, on=met_twice, how="left_semi")
    near = None if known is None else known.join(repeated, on=met_twice, how="left_semi")
    rest = candidates.where(~is_good())
    refused_or_left = F.when(F.col("_filtered"), F.lit(FILTERED)).otherwise(F.lit(QUARANTINED))
    marked = _mark_several(several, near, lookback_days)
    accepted = single.withColumn("status", F.lit(ACCEPTED))
    return accepted.unionByName(marked).unionByName(rest.withColumn("status", refused_or_left))


def is_good() -> Column:
    """Whether a candidate is an event: neither refused nor left out."""
    return F.col("reason").isNull() & ~F.col("_filtered")


def repeated_hashes(candidates: DataFrame, known: DataFrame | None) -> DataFrame:
    """The column ``id_hash``: the hashes of ids that the batch has more than once, or that are known."""
    ours = candidates.where(is_good()).select(F.xxhash64("event_id").alias("id_hash"), F.lit(1).alias("ours"))
    met = ours if known is None else ours.unionAll(known.select(F.xxhash64("event_id"), F.lit(0)))
    counted = met.groupBy("id_hash").agg(F.sum("ours").alias("ours"), F.count("*").alias("met"))
    return counted.where("ours > 0 and met > 1").select("id_hash")


def _mark_several(good: DataFrame, known: DataFrame | None, lookback_days: int) -> DataFrame:
    ties = [name for name in good.columns if name.startswith("_tie_")]
    order = Window.partitionBy("event_id").orderBy("event_time", "ingest_time", *ties, *POSITION, "_part")
    days_since = F.datediff("event_date", F.lag("event_date").over(order))
    seen = good.withColumn("repeats", F.coalesce(days_since <= lookback_days, F.lit(False)))
    if known is not None:
        days = known.groupBy("event_id").agg(F.collect_set("event_date").alias("known_days"))
        near = F.exists("known_days", lambda day: F.abs(F.datediff("event_date", day)) <= lookback_days)
        seen = seen.join(days, on="event_id", how="left")
        seen = seen.withColumn("repeats", F.col("repeats") | F.coalesce(near, F.lit(False))).drop("known_days")
    status = F.when(F.col("repeats"), F.lit(DUPLICATE)).otherwise(F.lit(ACCEPTED))
    return seen.withColumn("status", status).drop("repeats")
