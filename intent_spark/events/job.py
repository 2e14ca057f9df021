"""``ingest_events``: raw files into events, quarantine and ledger."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import UsageError
from intent_spark.config.loading import load_source
from intent_spark.config.log import LOGGER, step
from intent_spark.config.source import FORMATS, SourceMapping
from intent_spark.events.contract import EVENTS, EVENTS_QUARANTINE, INGEST_LEDGER
from intent_spark.events.deduplicate import ACCEPTED, DUPLICATE, QUARANTINED, mark
from intent_spark.events.mapping import map_events
from intent_spark.events.raw import RawFile, inspect_files, number_lines, parse, plain_path, read_raw
from intent_spark.events.shop import check_shop, ensure_shop
from intent_spark.lakehouse.files import list_files
from intent_spark.lakehouse.job import MISSING, THERE, Job, JobContext, Plan, PlanItem, day_range, iso_day
from intent_spark.lakehouse.job_runs import Outcome


@dataclass(frozen=True)
class Batch:
    """The files of one run that were never ingested before. The id is their contents' hash."""

    source: str
    files: tuple[RawFile, ...]

    @property
    def batch_id(self) -> str:
        """The same for the same contents, whatever the files are called."""
        return hashlib.sha256(" ".join(sorted(file.digest for file in self.files)).encode()).hexdigest()[:16]

    @property
    def rows(self) -> int:
        """Data rows in the files."""
        return sum(file.rows for file in self.files)


class IngestEvents(Job):
    """Raw files to clean events; bad rows to quarantine; every batch to the ledger."""

    name: ClassVar[str] = "ingest_events"
    description: ClassVar[str] = "Read raw files by a source mapping into events, events_quarantine and ingest_ledger."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--source", required=True, help="a mapping in conf/sources/")
        parser.add_argument("--input", required=True, help="file, folder or glob of raw data")
        parser.add_argument("--format", choices=FORMATS, help="the files' format (default: the mapping's)")
        parser.add_argument("--date", type=iso_day, help="only this day's files")
        parser.add_argument("--start-date", type=iso_day, help="first day of a half-open range")
        parser.add_argument("--end-date", type=iso_day, help="day after the last")

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """Which files are new: told by their contents."""
        mapping = load_source(options.source, options.format)
        paths = _input_paths(context, options, mapping)
        raw = read_raw(context.spark, paths, mapping)
        with step("ingest_events.inspect", files=len(paths)) as counts:
            files = inspect_files(raw, mapping)
            counts["rows"] = sum(file.rows for file in files)
        known = _known_digests(context)
        fresh = [file for file in files if file.digest not in known]
        items = [_item(file, known.get(file.digest)) for file in files]
        return Plan(items, {"batch": Batch(options.source, tuple(fresh)), "mapping": mapping})

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Map, de-duplicate and write; the ledger's row comes last, so that a killed run is simply done again."""
        batch: Batch = plan.inputs["batch"]
        mapping: SourceMapping = plan.inputs["mapping"]
        check_shop(context.lakehouse, mapping.shop, batch.source)
        learned_at = datetime.now(UTC)
        raw = read_raw(context.spark, [plain_path(file.path) for file in batch.files], mapping)
        rows = parse(raw, list(batch.files), mapping)
        tolerance = context.settings.events.future_tolerance_hours
        candidates = map_events(rows, mapping, learned_at, tolerance).persist()
        marked = mark(candidates, _known_events(context, candidates, batch.batch_id)).persist()
        try:
            counts = _write(context, batch, mapping, marked, raw, learned_at)
        finally:
            marked.unpersist()
            candidates.unpersist()
        message = (
            f"batch {batch.batch_id}: read {batch.rows} = accepted {counts[ACCEPTED]} + duplicate {counts[DUPLICATE]} "
            f"+ quarantined {counts[QUARANTINED]}"
        )
        return Outcome(message, rows_in=batch.rows, rows_out=counts[ACCEPTED])


def _input_paths(context: JobContext, options: Namespace, mapping: SourceMapping) -> list[str]:
    root = options.input.rstrip("/")
    days = _days(options)
    if not days:
        pattern = f"{root}/{mapping.path}" if mapping.path else root
        return [file.path for file in list_files(context.spark, pattern)]
    if mapping.daily_path is None:
        raise UsageError(
            f"source {options.source} has no daily_path, so dates cannot choose its files; leave them out."
        )
    found, holes = [], []
    for day in days:
        try:
            found += list_files(context.spark, f"{root}/{mapping.daily_path.format(date=day.isoformat())}")
        except UsageError:
            holes.append(day)
    if not found:
        raise UsageError(f"input {root}: no file for {days[0]} to {days[-1]} ({mapping.daily_path}); check --input.")
    if holes:
        LOGGER.warning(
            "step=ingest_events.input days_without_files=%d first=%s last=%s", len(holes), holes[0], holes[-1]
        )
    return [file.path for file in found]


def _days(options: Namespace) -> list[date]:
    if options.date and (options.start_date or options.end_date):
        raise UsageError("--date is one day, --start-date and --end-date a range; use one of the two.")
    if bool(options.start_date) != bool(options.end_date):
        raise UsageError("--start-date and --end-date go together; the range is half-open [start, end).")
    if options.date:
        return [options.date]
    return day_range(options.start_date, options.end_date) if options.start_date else []


def _item(file: RawFile, batch_id: str | None) -> PlanItem:
    what = f"{plain_path(file.path)} ({file.rows} rows)"
    return PlanItem(what, THERE, f"in batch {batch_id}") if batch_id else PlanItem(what, MISSING)


def _known_digests(context: JobContext) -> dict[str, str]:
    if not context.lakehouse.exists(INGEST_LEDGER.name):
        return {}
    ledger = context.lakehouse.read(INGEST_LEDGER.name)
    rows = ledger.select("batch_id", F.explode("files.digest").alias("digest")).collect()
    return {row["digest"]: row["batch_id"] for row in rows}


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
    context: JobContext,
    batch: Batch,
    mapping: SourceMapping,
    marked: DataFrame,
    raw: DataFrame,
    learned_at: datetime,
) -> dict[str, int]:
    lakehouse = context.lakehouse
    with step("ingest_events.map", batch=batch.batch_id) as logged:
        by_reason = marked.groupBy("status", "reason").count().collect()
        counts = {s: sum(r["count"] for r in by_reason if r["status"] == s) for s in (ACCEPTED, DUPLICATE, QUARANTINED)}
        logged |= counts | {r["reason"]: r["count"] for r in by_reason if r["reason"]}
    counts[DUPLICATE] += _repeated_headers(batch, raw) if batch.rows != sum(counts.values()) else 0
    _reconcile(batch, counts)
    ensure_shop(lakehouse, mapping.shop, batch.source)  # only now: a refused batch leaves no table behind
    stamped = marked.withColumn("batch_id", F.lit(batch.batch_id)).withColumn("source", F.lit(batch.source))
    with step("ingest_events.write_events", batch=batch.batch_id) as logged:
        accepted = stamped.where(F.col("status") == ACCEPTED)
        lakehouse.append_once(_laid_out(accepted, counts[ACCEPTED], context), EVENTS, batch.batch_id)
        written = lakehouse.read(EVENTS.name).where(F.col("batch_id") == batch.batch_id)
        days = {row["event_date"]: row["count"] for row in written.groupBy("event_date").count().collect()}
        logged["rows"], logged["days"] = sum(days.values()), len(days)
    if sum(days.values()) != counts[ACCEPTED]:
        raise RuntimeError(
            f"batch {batch.batch_id}: events hold {sum(days.values())} of {counts[ACCEPTED]} accepted rows"
        )
    if counts[QUARANTINED]:
        _write_quarantine(_quarantine_rows(stamped, raw, mapping, learned_at), context, batch)
    _write_ledger(context, batch, counts, days, learned_at)
    return counts


def _repeated_headers(batch: Batch, raw: DataFrame) -> int:
    """Header lines beyond the first of each file, as in files that were joined; they are read, and no events."""
    headers = {file.header for file in batch.files if file.header is not None}
    return raw.where(F.col("value").isin(*headers)).count() - len(batch.files) if headers else 0


def _reconcile(batch: Batch, counts: dict[str, int]) -> None:
    if batch.rows != sum(counts.values()):
        raise RuntimeError(f"batch {batch.batch_id}: read {batch.rows} rows, but accounted for {counts}")


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


def _write_ledger(
    context: JobContext, batch: Batch, counts: dict[str, int], days: dict[date, int], learned_at: datetime
) -> None:
    files = [(plain_path(file.path), file.digest, file.rows) for file in batch.files]
    version = context.lakehouse.version(EVENTS.name)
    row = (
        batch.batch_id, batch.source, batch.rows, counts[ACCEPTED], counts[DUPLICATE], counts[QUARANTINED],
        days, files, version, learned_at,
    )  # fmt: skip
    frame = context.spark.createDataFrame([row], INGEST_LEDGER.schema())
    context.lakehouse.append_once(frame, INGEST_LEDGER, batch.batch_id)
