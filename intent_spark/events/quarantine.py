"""The quarantine: refused rows on their way into it, and those that a replay takes out."""

from __future__ import annotations

from datetime import datetime

from delta.tables import DeltaTable
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.source import SourceMapping
from intent_spark.events.contract import EVENTS_QUARANTINE
from intent_spark.events.parse import BAD_ENCODING
from intent_spark.events.raw import RawFile, decoded, number_lines
from intent_spark.lakehouse.conflicts import retried
from intent_spark.lakehouse.lakehouse import Lakehouse

KEY = ("batch_id", "file", "line")


def refused_rows(
    refused: DataFrame, raw: DataFrame, files: tuple[RawFile, ...], mapping: SourceMapping, learned_at: datetime
) -> DataFrame:
    """Refused candidates in the quarantine's columns; they carry batch_id and source."""
    numbered = number_lines(refused, raw, mapping)
    told = {"ingest_date": F.lit(learned_at.date()), "format": F.lit(mapping.format)}
    renamed = numbered.withColumnsRenamed({"_raw": "raw", "_file": "file"}).withColumns(told)
    layouts = {file.layout for file in files}
    if len(layouts) == 1:
        return renamed.withColumn("layout", F.lit(layouts.pop()).cast("string"))
    known = refused.sparkSession.createDataFrame([(f.path, f.layout) for f in files], "file string, layout string")
    return renamed.join(F.broadcast(known), on="file", how="left")


def add_refused(lakehouse: Lakehouse, refused: DataFrame, batch_id: str) -> None:
    """Append a batch's refused rows; the same batch again adds nothing."""
    lakehouse.append_once(refused, EVENTS_QUARANTINE, batch_id)


def refused_for(quarantine: DataFrame, reason: str, source: str | None) -> DataFrame:
    """The rows that were refused for a reason, of one source or of all."""
    rows = quarantine.where(F.col("reason") == reason)
    return rows if source is None else rows.where(F.col("source") == source)


def as_raw(rows: DataFrame, mapping: SourceMapping) -> DataFrame:
    """Rows of the quarantine as raw rows: ``value``, position, and the ``layout`` that value is read by."""
    # What was refused for its encoding is kept byte by byte; all else was decoded when it was read.
    value = F.when(F.col("reason") == BAD_ENCODING, decoded(F.col("raw"), mapping)).otherwise(F.col("raw"))
    return rows.select(
        value.alias("value"),
        "layout",
        F.col("batch_id").alias("_batch"),
        F.col("file").alias("_file"),
        F.lit(0).cast("bigint").alias("_block"),
        (F.col("line") - 1).alias("_row"),
    )


def replay_outcome(marked: DataFrame) -> DataFrame:
    """What becomes of each replayed row: its key, and ``reason``, null where it leaves the quarantine."""
    line = (F.col("_row") + 1).alias("line")
    first = marked.where(F.col("_part") == 0)
    return first.select(F.col("_batch").alias("batch_id"), F.col("_file").alias("file"), line, "reason")


def apply_outcome(lakehouse: Lakehouse, outcome: DataFrame) -> None:
    """Take the good rows out of the quarantine and give the others their new reason; again it changes nothing."""
    same = " and ".join(f"there.{name} <=> replayed.{name}" for name in KEY)

    def merge() -> None:
        table = DeltaTable.forPath(lakehouse.spark, lakehouse.path(EVENTS_QUARANTINE.name))
        work = table.alias("there").merge(outcome.alias("replayed"), same)
        work = work.whenMatchedDelete("replayed.reason is null")
        work.whenMatchedUpdate("there.reason <> replayed.reason", {"reason": "replayed.reason"}).execute()

    retried(merge)
