"""``ingest_events``: raw files into events, quarantine and ledger."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import ClassVar

from intent_spark.config.errors import UsageError
from intent_spark.config.loading import load_source
from intent_spark.config.log import LOGGER, step
from intent_spark.config.source import FORMATS, SourceMapping
from intent_spark.events.batch import Batch, known_digests, unfinished_batches
from intent_spark.events.deduplicate import ACCEPTED, DUPLICATE, QUARANTINED
from intent_spark.events.ingestion import ingest_batch
from intent_spark.events.raw import RawFile, inspect_files, plain_path, read_raw
from intent_spark.lakehouse.files import InputFile, find_files, list_files
from intent_spark.lakehouse.job import (
    MISSING,
    NO_ROWS,
    STALE,
    THERE,
    Job,
    JobContext,
    Plan,
    PlanItem,
    day_range,
    iso_day,
)
from intent_spark.lakehouse.job_runs import Outcome


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
        known = known_digests(context.lakehouse)
        here = {file.digest: file for file in files}
        begun_before = unfinished_batches(context.lakehouse, set(known.values()))
        # A file may have been renamed since; its contents are what it was known by.
        unfinished = [replace(b, files=tuple(here.get(f.digest, f) for f in b.files)) for b in begun_before]
        begun = {file.digest: batch.batch_id for batch in unfinished for file in batch.files}
        fresh = tuple(f for f in files if not _is_blank(f) and f.digest not in known and f.digest not in begun)
        batches = [*unfinished, *([Batch(options.source, mapping.format, fresh, datetime.now(UTC))] if fresh else [])]
        items = [PlanItem(f"batch {batch.batch_id}", STALE, "was left unfinished") for batch in unfinished]
        items += [_item(file, known.get(file.digest)) for file in files if file.digest not in begun]
        return Plan(items, {"batches": batches})

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Finish what was begun, then the new files as one batch."""
        done, told = Outcome(), []
        for batch in plan.inputs["batches"]:
            counts = ingest_batch(context, batch, load_source(batch.source, batch.format))
            done.rows_in += batch.rows
            done.rows_out += counts[ACCEPTED]
            told.append(
                f"batch {batch.batch_id}: read {batch.rows} = accepted {counts[ACCEPTED]} "
                f"+ duplicate {counts[DUPLICATE]} + quarantined {counts[QUARANTINED]}"
            )
        done.message = "; ".join(told)
        return done


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
    found: list[InputFile] = []
    holes: list[date] = []
    for day in days:
        of_day = find_files(context.spark, f"{root}/{mapping.daily_path.format(date=day.isoformat())}")
        found += of_day
        holes += [] if of_day else [day]
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
    if batch_id:
        return PlanItem(what, THERE, f"in batch {batch_id}")
    return PlanItem(what, THERE, NO_ROWS) if _is_blank(file) else PlanItem(what, MISSING)


def _is_blank(file: RawFile) -> bool:
    """Nothing but blank lines. A header alone is an empty day, which the ledger keeps."""
    return file.rows == 0 and file.header is None
