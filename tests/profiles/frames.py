"""Event frames and small event tables for the tests of what is made of events."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from intent_spark.config.features import FeaturesConfig
from intent_spark.events.contract import EVENTS, INGEST_LEDGER
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.shop import SHOP_PREFIX
from tests.profiles.naive_oracle import Event, Shop

RAW = (
    "user_id string, event_id string, event_type string, event_time timestamp, category string, item_id string, "
    "price bigint, quantity int"
)


DAYS = ("event_date", "as_of")  # what tables are partitioned by
LEARNED = datetime(2026, 12, 1, tzinfo=UTC)


def events_frame(spark: SparkSession, events: Iterable[Event], zone: str, learned: datetime = LEARNED) -> DataFrame:
    """Events of the contract's columns; their day is told as ingestion tells it."""
    rows = [(e.user_id, e.event_id, e.event_type, e.time, e.category, e.item_id, e.price, e.quantity) for e in events]
    frame = spark.createDataFrame(rows, RAW)
    stamps = {
        "ingest_time": F.lit(learned),
        "session_id": F.lit(None),
        "batch_id": F.lit("b"),
        "source": F.lit("test"),
    }
    stamps["event_date"] = F.to_date(F.from_utc_timestamp("event_time", zone))
    return EVENTS.select(frame.withColumns(stamps))


def add_events(
    lakehouse: Lakehouse, events: list[Event], batch_id: str, zone: str = "UTC", horizon: int = 3,
    learned: datetime = LEARNED,
) -> None:  # fmt: skip
    """What ingestion leaves behind: the events, their shop, and the ledger's row."""
    shop = {"time_zone": zone, "currency": "EUR", "horizon_days": str(horizon)}
    lakehouse.create(EVENTS, {f"{SHOP_PREFIX}{key}": text for key, text in shop.items()})
    frame = events_frame(lakehouse.spark, events, zone, learned).withColumn("batch_id", F.lit(batch_id)).coalesce(1)
    lakehouse.append_once(frame, EVENTS, batch_id)
    days = dict(Counter(Shop(zone).day(e.time) for e in events))
    row = (
        batch_id, "test", "files", "csv", len(events), 0, len(events), 0, 0, 0, days, [], {}, lakehouse.version("events"),
        datetime.now(UTC),
    )  # fmt: skip
    lakehouse.append_rows([INGEST_LEDGER.named(row)], INGEST_LEDGER, once=batch_id)


def at(day: str, clock: str = "12:00:00") -> datetime:
    """An instant in UTC."""
    return datetime.fromisoformat(f"{day}T{clock}+00:00")


def files_by_partition(lakehouse: Lakehouse, table: str) -> dict[str, frozenset[str]]:
    """The live data files of each partition of a table."""
    files = [path.removeprefix("file://") for path in lakehouse.read(table).inputFiles()]
    found: dict[str, set[str]] = {}
    for path in files:
        partition, name = path.split("/")[-2:]
        found.setdefault(partition.split("=")[1], set()).add(name)
    return {partition: frozenset(names) for partition, names in found.items()}


def bytes_by_partition(lakehouse: Lakehouse, table: str) -> dict[str, list[str]]:
    """The hashes of the data in the live files of each partition, whatever the files are called."""
    folder, [column] = Path(lakehouse.path(table)), [f.name for f in lakehouse.read(table).schema if f.name in DAYS]
    return {
        partition: sorted(data_hash(folder / f"{column}={partition}" / name) for name in names)
        for partition, names in files_by_partition(lakehouse, table).items()
    }


def data_hash(path: Path) -> str:
    """Of all bytes of a Parquet file before its footer: that lists encodings in an order that differs from JVM to JVM."""
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    return hashlib.sha256(content[:-footer]).hexdigest()


def windowed(name: str, aggregate: str, windows: list[Any], **more: Any) -> dict[str, Any]:
    """One declaration with what tests do not care about filled in."""
    return {
        "name": name,
        "aggregate": aggregate,
        "windows": windows,
        "unit": "",
        "description": name,
        "owner": "t",
        **more,
    }


def top_category() -> dict[str, Any]:
    """A declaration whose columns are categorical."""
    return windowed(
        "top_category", "top", [5], places=3, value="category", weights={"view": 1, "cart": 2, "purchase": 4}
    )


def derived(name: str, expression: str) -> dict[str, Any]:
    """One derived feature's declaration."""
    return {"name": name, "expression": expression, "unit": "", "description": name, "owner": "t"}


def column(name: str, value: str | None = None, kind: str = "string") -> dict[str, Any]:
    """One column of the last events; a gap where no value is given."""
    told = {"value": value, "type": kind} if value else {"gap": True, "type": "bigint"}
    return {"name": name, "unit": "", "description": name, "owner": "t"} | told


def last_events(**more: Any) -> dict[str, Any]:
    """The last four events within six days, by the columns of the default declarations."""
    columns = [
        column("seq_event_type", "event_type"),
        column("seq_category", "category"),
        column("seq_item", "item_id"),
        column("seq_price_band", "length(bin(price))", "int"),
        column("seq_gap_seconds"),
    ]
    return {"length": 4, "window_days": 6, "columns": columns} | more


def small_features(**sections: Any) -> FeaturesConfig:
    """A small configuration with every aggregate; ``sections`` replace its own."""
    buys = {"event_types": ["purchase"]}
    spent = buys | {"value": "price * quantity"}
    tree: dict[str, Any] = {
        "windowed": [
            windowed("n", "count", [1, 2, 7, "lifetime"]),
            windowed("buys", "count", [1, 7, "lifetime"], **buys),
            windowed("moves", "count", [2], event_types=["cart", "view"]),
            windowed("spend", "sum", [1, 7, "lifetime"], **spent),
            windowed("spend_mean", "mean", [7, "lifetime"], **spent),
            windowed("price_mean", "mean", [2, 7], value="price"),
            windowed("price_min", "min", [2, 7, "lifetime"], value="price"),
            windowed("price_max", "max", [2, 7, "lifetime"], value="price", event_types=["view", "purchase"]),
            windowed("items", "sum", [7], value="quantity"),
            windowed("days", "active_days", [1, 2, 7, "lifetime"]),
            windowed("buy_days", "active_days", [7, "lifetime"], **buys),
            windowed("since", "days_since_last", ["lifetime"]),
            windowed("since_buy", "days_since_last", ["lifetime"], **buys),
            windowed("since_first", "days_since_first", ["lifetime"]),
            windowed("price_std", "std", [2, 7, "lifetime"], value="price"),
            windowed("first_category", "first", [2, "lifetime"], value="category", **buys),
            windowed("last_category", "last", [2, "lifetime"], value="category"),
            windowed("categories", "distinct", [2, 7, "lifetime"], value="category", cap=16),
            windowed("seen", "count", [2, 7, "lifetime"], by="category", cap=16),
            windowed("paid", "sum", [7], by="event_type", value="price"),
            windowed("dear", "count", [2, "lifetime"], filter="price > 1000"),
            windowed("recent_spend", "decayed_sum", [2, 7], half_life_days=1.5, **spent),
            top_category(),
            windowed("top_type", "top", ["lifetime"], places=2, value="event_type", cap=16),
            windowed("buy_gap", "intervals", ["lifetime"], **buys),
            windowed("gap", "intervals", [7, "lifetime"], event_types=["view", "cart", "purchase"]),
        ],
        "derived": [
            derived("buys_per_event", "try_divide(buys_7d, n_7d)"),
            derived("doubled", "buys_per_event * 2"),
        ],
        "user": [],
        "sequence": last_events(),
    }
    return FeaturesConfig.model_validate(tree | sections)


def day(text: str) -> date:
    """An ISO day."""
    return date.fromisoformat(text)
