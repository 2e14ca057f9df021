"""What the warehouse says of its shop: time zone, currency, default horizon; kept as properties of ``events``."""

from __future__ import annotations

from datetime import date, timedelta

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


def data_range(lakehouse: Lakehouse) -> tuple[date, date]:
    """The days that events cover, half-open: [first day, day after the last).

    Raises:
        UsageError: the table is empty.
    """
    lakehouse.require("events", "ingest_events")
    first, last = lakehouse.read("events").agg(F.min("event_date"), F.max("event_date")).collect()[0]
    if first is None:
        raise UsageError(f"warehouse {lakehouse.root}: table 'events' is empty; run ingest_events first.")
    return first, last + timedelta(days=1)
