"""The daily cap: of a user's day with more events than it, features count the first ones, in one order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from intent_spark.profiles.user_days import DAY

PLACE = ("event_time", "event_id")
PARTS = 16


def capped(events: DataFrame, cap: int | None, days: Sequence[date] | None = None) -> DataFrame:
    """The events that features count: the first ``cap`` of each user's day by (event_time, event_id).

    Only events of users above the cap are ever sorted. They are few: what is told of them is broadcast.

    Args:
        events: rows of the events contract, of whole days.
        cap: None where nothing is capped.
        days: the days on which some user may be above the cap; all days if not said.
    """
    if cap is None or (days is not None and not days):
        return events
    suspected = events if days is None else events.where(F.col("event_date").isin(list(days)))
    told = events.join(F.broadcast(last_counted(suspected, cap)), on=list(DAY), how="left")
    counts = F.col("last_counted").isNull() | (F.struct(*PLACE) <= F.col("last_counted"))
    return told.where(counts).select(*events.columns)


def last_counted(events: DataFrame, cap: int) -> DataFrame:
    """For each user's day above the cap the time and id of the last event that counts."""
    heavy = events.groupBy(*DAY).count().where(F.col("count") > cap).select(*DAY)
    places = events.select(*DAY, F.struct(*PLACE).alias("last_counted"))
    theirs = places.join(F.broadcast(heavy), on=list(DAY), how="left_semi")
    # In two phases: no task sorts the whole day of a user, however large. Who is not among the first of a part by hash
    # is not among the first of all.
    part = F.pmod(F.xxhash64("last_counted"), F.lit(PARTS))
    few = _numbered(theirs.withColumn("part", part), *DAY, "part").where(F.col("nth") <= cap)
    return _numbered(few, *DAY).where(F.col("nth") == cap).drop("nth", "part")


def _numbered(places: DataFrame, *by: str) -> DataFrame:
    in_order = Window.partitionBy(*by).orderBy("last_counted")
    return places.withColumn("nth", F.row_number().over(in_order))
