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
    skip_by=("user_id", "event_time", "ingest_time"),
    checks={"known_event_type": f"event_type in ({', '.join(repr(t) for t in EVENT_TYPES)})"},
    warnings={
        "purchase_of_nothing": "event_type <> 'purchase' or quantity > 0",
        "learned_before_it_happened": "event_time <= ingest_time",
    },
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
    keys=("batch_id", "file", "line"),
    partition_by=("ingest_date",),
    columns=(
        Column("ingest_date", "date", "day of the ingestion in UTC", nullable=False),
        Column("batch_id", "string", "the batch that brought it", nullable=False),
        Column("source", "string", "the source mapping that refused it", nullable=False),
        Column("reason", "string", "why it was refused", nullable=False),
        Column("file", "string", "the file it stands in"),
        Column("line", "bigint", "its line in a text file, its row in a Parquet or Avro file; from 1"),
        Column("raw", "string", "the line as it was, or the row as JSON"),
        Column("format", "string", "the format of its file"),
        Column("layout", "string", "what raw is read by: the header line of a csv file, the schema of a typed one"),
    ),
)

INGEST_LEDGER = TableContract(
    name="ingest_ledger",
    row="one batch, or one replay of refused rows: read + split = accepted + duplicate + quarantined + filtered",
    written_by="ingest_events",
    keys=("batch_id",),
    checks={"counts_reconcile": "`read` + split = accepted + duplicate + quarantined + filtered"},
    columns=(
        Column("batch_id", "string", "hash of the files' contents", nullable=False),
        Column("source", "string", "the source mapping", nullable=False),
        Column("kind", "string", "files, or replay of rows from the quarantine", nullable=False),
        Column("format", "string", "the format of the files"),
        Column(
            "read", "bigint", "rows in the files; of a replay rows taken from the quarantine", "rows", nullable=False
        ),
        Column("split", "bigint", "events beyond the first that the mapping split rows into", "rows", nullable=False),
        Column("accepted", "bigint", "events now in the table", "rows", nullable=False),
        Column("duplicate", "bigint", "events that were there already", "rows", nullable=False),
        Column("quarantined", "bigint", "rows refused; of a replay rows refused again", "rows", nullable=False),
        Column("filtered", "bigint", "rows that the mapping's filter leaves out", "rows", nullable=False),
        Column("days", "map<date,bigint>", "accepted events by event_date: the days the batch touched"),
        Column(
            "files",
            "array<struct<path:string,digest:string,rows:bigint>>",
            "the files and their contents' hash",
        ),
        Column("columns", "map<string,string>", "what the source looked like: its columns and their types"),
        Column("events_version", "bigint", "version of events that first holds the batch"),
        Column("ingested_at", "timestamp", "when the batch was begun"),
    ),
)
