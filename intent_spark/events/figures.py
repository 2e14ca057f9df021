"""Counting each day's events: what the gates judge, and the users with more of them than the daily cap."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from intent_spark.config.gates import GateSettings
from intent_spark.events.deduplicate import DUPLICATE, FILTERED
from intent_spark.events.gates import HOURS, DayCounts

RawCounts = dict[date, tuple[int, int, int]]
UNKNOWN, WITHOUT_DAY = "unknown_event_type", ("malformed", "bad_encoding", "bad_event_time")
QUARTER = 900
USER_DAY = ("event_date", "user_id")


def count_days(events: DataFrame, source: str, gates: GateSettings, zone: str) -> dict[date, DayCounts]:
    """The counts of each day; raw rows are not among events, and stay 0.

    Args:
        events: rows of the events contract, of all sources, of whole days.
        source: the source that is counted; the most active user is that of all.
        gates: the declared range of prices, and the columns whose absence is counted.
        zone: the shop's time zone, whose hours are counted.
    """
    mine = F.col("source") == source
    users = events.groupBy(*USER_DAY).agg(F.count("*").alias("events"), *_counts(mine, gates))
    names = ("rows", "priced", "price_outside", *(f"no_{column}" for column in gates.null_share))
    summed = [F.sum(name).alias(name) for name in names]
    most = [F.max("events").alias("most_events"), F.max("rows").alias("top_user_events")]
    per_day = users.groupBy("event_date").agg(*summed, *most).collect()
    # Zones differ by quarters of an hour: only as many times, and not those of all events, are asked for their hour.
    seconds = F.unix_seconds("event_time")
    quarter = (seconds - F.pmod(seconds, F.lit(QUARTER))).alias("quarter")
    quarters = events.where(mine).groupBy("event_date", quarter).agg(F.count("*").alias("events"))
    begins = F.timestamp_seconds("quarter")
    hour = F.hour(F.from_utc_timestamp(begins, zone)).alias("hour")
    hours = quarters.groupBy("event_date", hour).agg(F.sum("events").alias("events")).collect()
    by_hour = {(row["event_date"], row["hour"]): row["events"] for row in hours}
    return {
        row["event_date"]: DayCounts(
            row["event_date"],
            rows=row["rows"],
            nulls={column: row[f"no_{column}"] for column in gates.null_share},
            priced=row["priced"],
            price_outside=row["price_outside"],
            hours=tuple(by_hour.get((row["event_date"], hour), 0) for hour in range(HOURS)),
            top_user_events=row["top_user_events"],
            most_events=row["most_events"],
        )
        for row in per_day
    }


def _counts(mine: Column, gates: GateSettings) -> list[Column]:
    price, limits = F.col("price"), gates.price_outside
    outside = ~price.between(limits.lowest, limits.highest) if limits else F.lit(False)
    # Only of the columns that a gate asks for: the others need not be read.
    missing = [F.count_if(mine & F.col(column).isNull()).alias(f"no_{column}") for column in gates.null_share]
    return [
        F.count_if(mine).alias("rows"),
        F.count_if(mine & price.isNotNull()).alias("priced"),
        F.count_if(mine & price.isNotNull() & outside).alias("price_outside"),
        *missing,
    ]


def raw_counts(groups: Iterable[Row], replayed: str | None = None) -> RawCounts:
    """By day that a raw row claims: rows, duplicates, rows of an unknown type.

    Args:
        groups: rows by event_date, status and reason.
        replayed: where they come from the quarantine, what they were refused for: the day has counted them already.
    """
    found: RawCounts = {}
    for row in groups:
        if row["event_date"] is None or row["status"] == FILTERED:
            continue
        rows = row["rows"]
        duplicates = rows if row["status"] == DUPLICATE else 0
        unknown = rows if row["reason"] == UNKNOWN else 0
        if replayed is not None:
            unknown -= rows if replayed == UNKNOWN else 0
            rows = rows if replayed in WITHOUT_DAY else 0
        before = found.get(row["event_date"], (0, 0, 0))
        found[row["event_date"]] = (before[0] + rows, before[1] + duplicates, before[2] + unknown)
    return found


def heavy_users(events: DataFrame, days: Iterable[date], cap: int) -> DataFrame:
    """The users with more than ``cap`` events on one of some days."""
    counted = events.where(F.col("event_date").isin(list(days))).groupBy(*USER_DAY).agg(F.count("*").alias("events"))
    return counted.where(F.col("events") > cap).withColumn("counted", F.lit(cap))
