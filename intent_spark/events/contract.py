"""The contracts of the tables that ingestion writes."""

from __future__ import annotations

from intent_spark.config.source import EVENT_TYPES
from intent_spark.lakehouse.contract import Column, TableContract

EVENTS = TableContract(
    name="events",
    row="one accepted event",
    written_by="ingest_events",
    keys=("event_id",),
    partition_by=("event_date",),
    checks={"known_event_type": f"event_type in ({', '.join(repr(t) for t in EVENT_TYPES)})"},
    columns=(
        Column("event_date", "date", "day of event_time in the shop's time zone", nullable=False),
        Column("event_id", "string", "the source's id, or a hash of its declared columns", nullable=False),
        Column("user_id", "string", "who did it", nullable=False),
        Column("event_type", "string", f"one of {', '.join(EVENT_TYPES)}", nullable=False),
        Column("item_id", "string", "what it was done to"),
        Column("category", "string", "the item's category, a path where the source has one"),
        Column("price", "bigint", "unit price in the shop's currency", "minor units"),
        Column("quantity", "int", "how many", "items"),
        Column("session_id", "string", "the source's session"),
        Column("event_time", "timestamp", "when it happened", nullable=False),
        Column("ingest_time", "timestamp", "when we learned it", nullable=False),
        Column("batch_id", "string", "the batch that brought it", nullable=False),
        Column("source", "string", "the source mapping that read it", nullable=False),
    ),
)

EVENTS_QUARANTINE = TableContract(
    name="events_quarantine",
    row="one refused raw row",
    written_by="ingest_events",
    keys=("file", "line"),
    partition_by=("ingest_date",),
    columns=(
        Column("ingest_date", "date", "day of the ingestion in UTC", nullable=False),
        Column("batch_id", "string", "the batch that brought it", nullable=False),
        Column("source", "string", "the source mapping that refused it", nullable=False),
        Column("reason", "string", "why it was refused", nullable=False),
        Column("file", "string", "the file it stands in"),
        Column("line", "bigint", "its line in a text file, its row in a Parquet file; from 1"),
        Column("raw", "string", "the line as it was, or the row as JSON"),
    ),
)

INGEST_LEDGER = TableContract(
    name="ingest_ledger",
    row="one ingested batch: read = accepted + duplicate + quarantined",
    written_by="ingest_events",
    keys=("batch_id",),
    checks={"counts_reconcile": "`read` = accepted + duplicate + quarantined"},
    columns=(
        Column("batch_id", "string", "hash of the files' contents", nullable=False),
        Column("source", "string", "the source mapping", nullable=False),
        Column("read", "bigint", "rows in the files", "rows", nullable=False),
        Column("accepted", "bigint", "rows now in events", "rows", nullable=False),
        Column("duplicate", "bigint", "rows whose event was there already", "rows", nullable=False),
        Column("quarantined", "bigint", "rows now in events_quarantine", "rows", nullable=False),
        Column("days", "map<date,bigint>", "accepted rows by event_date: the days the batch touched"),
        Column(
            "files",
            "array<struct<path:string,digest:string,rows:bigint>>",
            "the files and their contents' hash",
        ),
        Column("events_version", "bigint", "version of events that first holds the batch"),
        Column("ingested_at", "timestamp", "when the batch was done"),
    ),
)
