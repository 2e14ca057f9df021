"""One row for each event id: the earliest wins, in the batch and against what the table holds."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from intent_spark.events.raw import POSITION

ACCEPTED, DUPLICATE, QUARANTINED, FILTERED = "accepted", "duplicate", "quarantined", "filtered"
STATUSES = (ACCEPTED, DUPLICATE, QUARANTINED, FILTERED)
PLACE = (*POSITION, "_part")


def mark(candidates: DataFrame, known: DataFrame | None, lookback_days: int) -> DataFrame:
    """Add ``status`` to candidates: accepted, duplicate, quarantined (has a ``reason``) or filtered (``_filtered``).

    An event is a duplicate where one of its id lies at most ``lookback_days`` away: a known one, or one before it in
    the batch, in the order of event_time, ingest_time, the mapping's tie_break, file and line.

    Few events share an id. So only the hashes of ids are brought together first (``repeated_hashes``); whole rows move
    only where a hash is met twice, and the real ids decide (``find_copies``).

    Args:
        candidates: mapped rows with event_id, event_date, event_time, ingest_time, reason and their position.
        known: ``event_id`` and ``event_date`` of events that earlier batches brought, or None where there are none.
        lookback_days: how far apart the days of an event and its copy may lie.
    """
    repeated = repeated_hashes(candidates, known)
    several = candidates.where(is_good()).join(repeated, on=met_twice(), how="left_semi")
    return with_status(candidates, find_copies(several, known, lookback_days, repeated))


def with_status(candidates: DataFrame, copies: DataFrame) -> DataFrame:
    """The candidates, each where it lies, with their status; ``copies`` are what ``find_copies`` gives."""
    same_row = met_twice() & (F.xxhash64(*PLACE) == F.col("place_hash"))
    told = candidates.join(copies, on=same_row, how="left")
    status = (
        F.when(F.col("_filtered"), F.lit(FILTERED))
        .when(F.col("reason").isNotNull(), F.lit(QUARANTINED))
        .when(F.col("place_hash").isNotNull(), F.lit(DUPLICATE))
        .otherwise(F.lit(ACCEPTED))
    )
    return told.withColumn("status", status).drop("id_hash", "place_hash")


def is_good() -> Column:
    """Whether a candidate is an event: neither refused nor left out."""
    return F.col("reason").isNull() & ~F.col("_filtered")


def met_twice() -> Column:
    """What joins a row to the hash of its id."""
    return F.xxhash64("event_id") == F.col("id_hash")


def repeated_hashes(candidates: DataFrame, known: DataFrame | None) -> DataFrame:
    """The column ``id_hash``: the hashes of ids that the batch has more than once, or that are known."""
    ours = candidates.where(is_good()).select(F.xxhash64("event_id").alias("id_hash"), F.lit(1).alias("ours"))
    met = ours if known is None else ours.unionAll(known.select(F.xxhash64("event_id"), F.lit(0)))
    counted = met.groupBy("id_hash").agg(F.sum("ours").alias("ours"), F.count("*").alias("met"))
    return counted.where("ours > 0 and met > 1").select("id_hash")


def tally(candidates: DataFrame, repeated: DataFrame, sums: Mapping[str, Column]) -> DataFrame:
    """``sums`` by ``_filtered``, ``reason`` and ``event_date``, in one pass over the candidates.

    A good row whose id's hash is one of ``repeated`` stands for itself, with what ``find_copies`` asks of it; of all
    others that is null.
    """
    ties = [name for name in candidates.columns if name.startswith("_tie_")]
    itself = F.struct("event_id", "event_time", "ingest_time", *ties, *PLACE)
    told = candidates.join(repeated.withColumn("_met", F.lit(True)), on=met_twice(), how="left")
    alone = F.when(F.col("_met") & is_good(), itself).alias("itself")
    return (
        told.groupBy("_filtered", "reason", "event_date", alone)
        .agg(*[total.alias(name) for name, total in sums.items()])
        .select("*", "itself.*")
        .drop("itself")
    )


def find_copies(several: DataFrame, known: DataFrame | None, lookback_days: int, repeated: DataFrame) -> DataFrame:
    """``id_hash`` and ``place_hash`` of the duplicates among ``several``: the good rows whose id's hash is repeated."""
    ties = [name for name in several.columns if name.startswith("_tie_")]
    order = Window.partitionBy("event_id").orderBy("event_time", "ingest_time", *ties, *PLACE)
    days_since = F.datediff("event_date", F.lag("event_date").over(order))
    seen = several.withColumn("_copy", F.coalesce(days_since <= lookback_days, F.lit(False)))
    if known is not None:
        near_by = known.join(repeated, on=met_twice(), how="left_semi")
        days = near_by.groupBy("event_id").agg(F.collect_set("event_date").alias("known_days"))
        near = F.exists("known_days", lambda day: F.abs(F.datediff("event_date", day)) <= lookback_days)
        seen = seen.join(days, on="event_id", how="left")
        seen = seen.withColumn("_copy", F.col("_copy") | F.coalesce(near, F.lit(False)))
    # Two numbers of 64 bits stand for a row: to compare its id and place would take as long as all the rest.
    return seen.where("_copy").select(F.xxhash64("event_id").alias("id_hash"), F.xxhash64(*PLACE).alias("place_hash"))
