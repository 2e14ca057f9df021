"""The contracts of what is measured of each day's events: figures and gates, who accepted them, heavy users."""

from __future__ import annotations

from intent_spark.lakehouse.contract import Column, TableContract

COUNTS = (
    Column("rows", "bigint", "the day's events of the source", "events"),
    Column("read", "bigint", "the batch's rows that claim the day", "rows"),
    Column("duplicates", "bigint", "of these, whose event was there already", "rows"),
    Column("unknown_types", "bigint", "of these, of a type that is not mapped", "rows"),
    Column("nulls", "map<string,bigint>", "events without a value, of the columns that a gate asks for", "events"),
    Column("priced", "bigint", "events with a price", "events"),
    Column("price_outside", "bigint", "of these, outside the declared range", "events"),
    Column("hours", "array<bigint>", "events in each hour of the shop's day", "events"),
    Column("top_user_events", "bigint", "events of the source from its most active user", "events"),
    Column("most_events", "bigint", "events from the most active user, of all sources", "events"),
)

DAY_FIGURES = TableContract(
    name="day_figures",
    row="one day of one source as a batch left it; that of the newest version of events counts",
    written_by="ingest_events",
    keys=("event_date", "source", "batch_id"),
    columns=(
        Column("event_date", "date", "the day in the shop's time zone", nullable=False),
        Column("source", "string", "the source mapping", nullable=False),
        Column("batch_id", "string", "the batch after which the day was measured", nullable=False),
        Column("events_version", "bigint", "version of events that was measured", nullable=False),
        Column("measured_at", "timestamp", "when the batch was begun", nullable=False),
        Column("is_over", "boolean", "whether the day was over by then; else its volume is not judged"),
        *COUNTS,
        Column(
            "gates",
            "array<struct<gate:string,value:double,warn:double,fail:double,status:string>>",
            "each declared gate: its figure, its limits, and pass, warn, fail or open (not judged)",
        ),
    ),
)

GATE_ACCEPTANCES = TableContract(
    name="gate_acceptances",
    row="one failed gate that somebody let pass",
    written_by="ingest_events --accept-gate",
    keys=("event_date", "source", "gate", "accepted_at"),
    columns=(
        Column("event_date", "date", "the day", nullable=False),
        Column("source", "string", "the source mapping", nullable=False),
        Column("gate", "string", "the gate", nullable=False),
        Column("value", "double", "the figure that was accepted; a worse one is not", nullable=False),
        Column("accepted_by", "string", "who accepted it", nullable=False),
        Column("because", "string", "why, in their words"),
        Column("accepted_at", "timestamp", "when", nullable=False),
    ),
)

HEAVY_USERS = TableContract(
    name="heavy_users",
    row="one user's day above the daily cap, as a batch left it",
    written_by="ingest_events",
    keys=("event_date", "user_id", "batch_id"),
    columns=(
        Column("event_date", "date", "the day in the shop's time zone", nullable=False),
        Column("user_id", "string", "the user", nullable=False),
        Column("batch_id", "string", "the batch after which the day was counted", nullable=False),
        Column("events", "bigint", "the user's events of the day, all of them in events", "events", nullable=False),
        Column("counted", "bigint", "how many of them features count: features.daily_cap", "events", nullable=False),
    ),
)
