"""What the warehouse says of its shop: time zone, currency, default horizon; kept as properties of ``events``."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import UsageError
from intent_spark.config.shop import ShopSettings
from intent_spark.lakehouse.lakehouse import Lakehouse

SHOP_PREFIX = "intent_spark.shop."


def recorded_shop(lakehouse: Lakehouse) -> ShopSettings:
    """The shop whose events the warehouse holds.

    Raises:
        UsageError: nothing was ingested yet.
    """
    lakehouse.require("events", "ingest_events")
    properties = lakehouse.properties("events")
    values = {key.removeprefix(SHOP_PREFIX): text for key, text in properties.items() if key.startswith(SHOP_PREFIX)}
    return ShopSettings.model_validate(values)


def read_events(lakehouse: Lakehouse, version: int | None = None, known_at: datetime | None = None) -> DataFrame:
    """The events, at a version if one is given.

    Args:
        lakehouse: the warehouse.
        version: of the table ``events``; the newest if not said.
        known_at: the moment of knowledge, with its zone: only events that had come in before it, by ``ingest_time``.

    Raises:
        UsageError: nothing was ingested yet, or the moment has no zone.
    """
    lakehouse.require("events", "ingest_events")
    events = lakehouse.read("events", version)
    if known_at is None:
        return events
    if known_at.tzinfo is None:
        raise UsageError(f"instant {known_at} has no zone; write datetime(2026, 4, 23, tzinfo=UTC).")
    return events.where(F.col("ingest_time") < F.lit(known_at))


def touched_days(lakehouse: Lakehouse) -> dict[date, int]:
    """Each day with events, and the version of ``events`` that touched it last.

    Raises:
        UsageError: no ingestion was ever completed.
    """
    lakehouse.require("ingest_ledger", "ingest_events")
    newest: dict[date, int] = {}
    for row in lakehouse.rows("ingest_ledger", "events_version", "days"):
        for day, _ in row["days"] or []:
            newest[day] = max(row["events_version"], newest.get(day, 0))
    return dict(sorted(newest.items()))


def event_rows(lakehouse: Lakehouse) -> dict[date, int]:
    """How many events each day holds, by the ledger."""
    held: dict[date, int] = {}
    for ledger in lakehouse.rows("ingest_ledger", "days"):
        for day, rows in ledger["days"] or []:
            held[day] = held.get(day, 0) + rows
    return held


def touched_within(touched: dict[date, int], start: date, end: date) -> int:
    """The version of ``events`` that last touched a day of [start, end); 0 if none did."""
    return max((version for day, version in touched.items() if start <= day < end), default=0)


def data_range(lakehouse: Lakehouse) -> tuple[date, date]:
    """The days that events cover, half-open: [first day, day after the last).

    Raises:
        UsageError: the table is empty.
    """
    lakehouse.require("events", "ingest_events")
    files = lakehouse.file_statistics("events", "partition.event_date", "max.ingest_time")
    if not files:
        raise UsageError(f"warehouse {lakehouse.root}: table 'events' is empty; run ingest_events first.")
    days, learned = ([file[key] for file in files] for key in ("partition.event_date", "max.ingest_time"))
    if None in learned:  # written by something that keeps no statistics
        learned = [lakehouse.read("events").agg(F.max("ingest_time")).collect()[0][0].astimezone()]
    # An event of a clock that runs ahead does not make its day complete: none ends before it was learned of.
    known_until = max(learned).astimezone(ZoneInfo(recorded_shop(lakehouse).time_zone)).date()
    return min(days), min(max(days), known_until) + timedelta(days=1)
