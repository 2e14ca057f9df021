"""A look at a source before it is ingested: what a few rows would become, in seconds whatever the files' size."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from intent_spark.config.settings import EventsSettings
from intent_spark.config.source import SourceMapping
from intent_spark.events.deduplicate import ACCEPTED, DUPLICATE, FILTERED, QUARANTINED, mark
from intent_spark.events.mapping import map_events, unknown_types
from intent_spark.events.parse import parse
from intent_spark.events.raw import inspect_files, read_raw, readable
from intent_spark.events.sessions import cut_sessions
from intent_spark.reports.table import text_table

FILES, SHOWN = 3, 10
CELL, LINE = 20, 60  # characters
COLUMNS = ("event_id", "user_id", "event_type", "item_id", "category", "price", "quantity", "session_id", "event_time")


def head(spark: SparkSession, paths: list[str], mapping: SourceMapping, rows: int) -> DataFrame:
    """The first raw rows of the first, the middle and the last file, some ``rows`` in all."""
    chosen = [paths[place] for place in sorted({0, len(paths) // 2, len(paths) - 1})][:FILES]
    each = -(-rows // len(chosen))
    # Through the driver: limit alone would read the beginning of every block of a file.
    parts = [read_raw(spark, [path], mapping).limit(each) for path in chosen]
    local = [spark.createDataFrame(part.toArrow(), part.schema) for part in parts]
    whole = local[0]
    for part in local[1:]:
        whole = whole.unionByName(part, allowMissingColumns=True)
    return whole


def sample_report(
    spark: SparkSession, paths: list[str], mapping: SourceMapping, limits: EventsSettings, rows: int
) -> str:
    """Ten mapped rows, raw types that the mapping does not know, and what would be refused, as text.

    Raises:
        ContractError: the mapping does not fit the data.
    """
    with readable(paths):
        raw = head(spark, paths, mapping, rows)
    files = [file for file in inspect_files(raw, mapping) if file.rows]
    if not files:
        return "sample: no rows in the files that were looked into"
    parsed = parse(raw, files, mapping)
    marked = mark(map_events(parsed, mapping, datetime.now(UTC), limits), None, limits.lookback_days).persist()
    try:
        counts = {row["status"]: row["count"] for row in marked.groupBy("status").count().collect()}
        sections = [
            ("as events", _mapped(marked, mapping)),
            ("types that event_types does not name", _types(parsed, mapping)),
            ("would be refused", _refused(marked)),
        ]
    finally:
        marked.unpersist()
    fits = counts.get(ACCEPTED, 0) + counts.get(DUPLICATE, 0)
    told = (
        f"sample: {sum(file.rows for file in files)} rows of {len(files)} files: {fits} fit "
        f"({counts.get(DUPLICATE, 0)} of them copies), {counts.get(QUARANTINED, 0)} would be refused, "
        f"{counts.get(FILTERED, 0)} are left out"
    )
    return "\n\n".join([told, *(f"{name}:\n{text_table(rows) if rows else 'none'}" for name, rows in sections)])


def _mapped(marked: DataFrame, mapping: SourceMapping) -> list[dict[str, Any]]:
    good = marked.where(F.col("status") == ACCEPTED)
    if mapping.fields.session_id is None:
        good = cut_sessions(good, None, mapping.session_gap_minutes)
    first = good.orderBy("_file", "_block", "_row", "_part").limit(SHOWN)
    shown = first.select(*COLUMNS[:-1], F.col("event_time").cast("string").alias("event_time (UTC)"))
    return [{name: _short(value, CELL) for name, value in row.asDict().items()} for row in shown.collect()]


def _types(parsed: DataFrame, mapping: SourceMapping) -> list[dict[str, Any]]:
    rows = unknown_types(parsed, mapping).groupBy("type").count().orderBy(F.desc("count"), "type").limit(SHOWN)
    return [{"type": _short(row["type"], LINE), "rows": row["count"]} for row in rows.collect()]


def _refused(marked: DataFrame) -> list[dict[str, Any]]:
    groups = marked.where(F.col("status") == QUARANTINED).groupBy("reason")
    rows = groups.agg(F.count("*").alias("rows"), F.min("_raw").alias("for example")).orderBy(F.desc("rows"), "reason")
    return [{name: _short(value, LINE) for name, value in row.asDict().items()} for row in rows.collect()]


def _short(value: Any, longest: int) -> Any:
    text = str(value)
    return value if len(text) <= longest else f"{text[: longest - 1]}…"
