"""One batch from its files into events, quarantine and ledger."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.config.log import step
from intent_spark.config.source import SourceMapping
from intent_spark.events.batch import Batch
from intent_spark.events.contract import EVENTS, EVENTS_QUARANTINE, INGEST_LEDGER
from intent_spark.events.deduplicate import ACCEPTED, DUPLICATE, QUARANTINED, mark
from intent_spark.events.mapping import map_events
from intent_spark.events.raw import number_lines, parse, plain_path, read_raw
from intent_spark.events.shop import check_shop, ensure_shop
from intent_spark.lakehouse.job import JobContext


def ingest_batch(context: JobContext, batch: Batch, mapping: SourceMapping) -> dict[str, int]:
    """Map, de-duplicate and write; returns the rows by status.

    The ledger's row comes last and every append is known by the batch: a killed ingestion is simply done again.

    Raises:
        ContractError: the mapping does not fit the data, or the warehouse belongs to another shop.
    """
    check_shop(context.lakehouse, mapping.shop, batch.source)
    raw = read_raw(context.spark, [plain_path(file.path) for file in batch.files], mapping)
    rows = parse(raw, list(batch.files), mapping)
    candidates = map_events(rows, mapping, batch.learned_at, context.settings.events.future_tolerance_hours).persist()
    marked = mark(candidates, _known_events(context, candidates, batch.batch_id)).persist()
    try:
        return _write(context, batch, mapping, marked, raw)
    finally:
        marked.unpersist()
        candidates.unpersist()


def _known_events(context: JobContext, candidates: DataFrame, batch_id: str) -> DataFrame | None:
    """Event ids of other batches on the days around this one's; its own rows of a killed run do not count."""
    lakehouse, lookback = context.lakehouse, timedelta(days=context.settings.events.lookback_days)
    if not lakehouse.exists(EVENTS.name):
        return None
    events = lakehouse.read(EVENTS.name).where(F.col("batch_id") != batch_id)
    if events.isEmpty():
        return None
    good = candidates.where(F.col("reason").isNull())
    first, last = good.agg(F.min("event_date"), F.max("event_date")).collect()[0]
    if first is None:
        return None
    return events.where(F.col("event_date").between(first - lookback, last + lookback)).select("event_id")


def _write(
    context: JobContext, batch: Batch, mapping: SourceMapping, marked: DataFrame, raw: DataFrame
) -> dict[str, int]:
    lakehouse = context.lakehouse
    with step("ingest_events.map", batch=batch.batch_id) as logged:
        by_reason = marked.groupBy("status", "reason").count().collect()
        counts = {s: sum(r["count"] for r in by_reason if r["status"] == s) for s in (ACCEPTED, DUPLICATE, QUARANTINED)}
        logged |= counts | {r["reason"]: r["count"] for r in by_reason if r["reason"]}
    counts[DUPLICATE] += _repeated_headers(batch, raw) if batch.rows != sum(counts.values()) else 0
    _reconcile(batch, counts)
    _check_bad_share(batch, counts, by_reason, context.settings.events.max_bad_share)
    ensure_shop(lakehouse, mapping.shop, batch.source)  # only now: a refused batch leaves no table behind
    stamped = marked.withColumn("batch_id", F.lit(batch.batch_id)).withColumn("source", F.lit(batch.source))
    with step("ingest_events.write_events", batch=batch.batch_id) as logged:
        accepted = stamped.where(F.col("status") == ACCEPTED)
        lakehouse.append_once(_laid_out(accepted, counts[ACCEPTED], context), EVENTS, batch.batch_id, batch.build())
        written = lakehouse.read(EVENTS.name).where(F.col("batch_id") == batch.batch_id)
        days = {row["event_date"]: row["count"] for row in written.groupBy("event_date").count().collect()}
        logged["rows"], logged["days"] = sum(days.values()), len(days)
    if sum(days.values()) != counts[ACCEPTED]:
        raise RuntimeError(
            f"batch {batch.batch_id}: events hold {sum(days.values())} of {counts[ACCEPTED]} accepted rows"
        )
    if counts[QUARANTINED]:
        _write_quarantine(_quarantine_rows(stamped, raw, mapping, batch.learned_at), context, batch)
    _write_ledger(context, batch, counts, days)
    return counts


def _repeated_headers(batch: Batch, raw: DataFrame) -> int:
    """Header lines beyond the first of each file, as in files that were joined; they are read, and no events."""
    headers = {file.header for file in batch.files if file.header is not None}
    return raw.where(F.col("value").isin(*headers)).count() - len(batch.files) if headers else 0


def _reconcile(batch: Batch, counts: dict[str, int]) -> None:
    if batch.rows != sum(counts.values()):
        raise RuntimeError(f"batch {batch.batch_id}: read {batch.rows} rows, but accounted for {counts}")


def _check_bad_share(batch: Batch, counts: dict[str, int], by_reason: list[Row], limit: float) -> None:
    """A wrong mapping must not fill a day with nothing."""
    share = counts[QUARANTINED] / max(batch.rows, 1)
    if share > limit:
        reasons = ", ".join(f"{row['reason']} {row['count']}" for row in by_reason if row["reason"])
        raise ContractError(
            f"source {batch.source}: {share:.0%} of {batch.rows} rows do not fit its mapping ({reasons}), more than "
            f"events.max_bad_share of {limit:.0%}; mend the mapping or raise the limit. Nothing was written."
        )


def _laid_out(accepted: DataFrame, rows: int, context: JobContext) -> DataFrame:
    """A few files a day, sorted by user so that later scans compress and prune well."""
    slices = max(1, rows // context.settings.events.rows_per_file)
    spread = accepted.repartition("event_date", F.pmod(F.xxhash64("user_id"), F.lit(slices)))
    return spread.sortWithinPartitions("event_date", "user_id", "event_time", "event_id")


def _quarantine_rows(stamped: DataFrame, raw: DataFrame, mapping: SourceMapping, learned_at: datetime) -> DataFrame:
    """The refused rows in the quarantine's columns."""
    refused = number_lines(stamped.where(F.col("status") == QUARANTINED), raw, mapping)
    renamed = refused.withColumnRenamed("_raw", "raw").withColumnRenamed("_file", "file")
    return renamed.withColumn("ingest_date", F.lit(learned_at.date()))


def _write_quarantine(refused: DataFrame, context: JobContext, batch: Batch) -> None:
    with step("ingest_events.write_quarantine", batch=batch.batch_id):
        context.lakehouse.append_once(refused.coalesce(1), EVENTS_QUARANTINE, batch.batch_id)


def _write_ledger(context: JobContext, batch: Batch, counts: dict[str, int], days: dict[date, int]) -> None:
    files = [(plain_path(file.path), file.digest, file.rows) for file in batch.files]
    version = context.lakehouse.version(EVENTS.name)
    row = (
        batch.batch_id, batch.source, batch.rows, counts[ACCEPTED], counts[DUPLICATE], counts[QUARANTINED],
        days, files, version, batch.learned_at,
    )  # fmt: skip
    frame = context.spark.createDataFrame([row], INGEST_LEDGER.schema())
    context.lakehouse.append_once(frame, INGEST_LEDGER, batch.batch_id)
