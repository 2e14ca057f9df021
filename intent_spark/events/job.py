"""``ingest_events``: raw files into events, quarantine and ledger."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from datetime import date
from typing import ClassVar

from intent_spark.config.errors import UsageError
from intent_spark.config.loading import load_source
from intent_spark.config.log import LOGGER, step
from intent_spark.config.source import FORMATS, SourceMapping
from intent_spark.events.acceptance import add_acceptance_options, plan_acceptance, run_acceptance
from intent_spark.events.available import add_available_options, plan_available, run_available
from intent_spark.events.batch import Batch, digests_of, known_digests, unfinished
from intent_spark.events.contract import EVENTS
from intent_spark.events.deduplicate import ACCEPTED, DUPLICATE, FILTERED, QUARANTINED
from intent_spark.events.finish import Counts, finish_all, sweep
from intent_spark.events.ingestion import ingest_batch, is_blank, new_batch, preview_gates
from intent_spark.events.modes import check_mode
from intent_spark.events.quality import gate_lines
from intent_spark.events.raw import RawFile, inspect_files, plain_path, read_raw, readable
from intent_spark.events.replay import Refused, find_refused, known_reasons, replay
from intent_spark.events.sample import sample_report
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
    positive,
)
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.turns import Commit, current_turn


class IngestEvents(Job):
    """Raw files to clean events; bad rows to quarantine; every batch to the ledger."""

    name: ClassVar[str] = "ingest_events"
    description: ClassVar[str] = "Read raw files by a source mapping into events, events_quarantine and ingest_ledger."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--source", help="a mapping in conf/sources/")
        parser.add_argument("--input", help="file, folder or glob of raw data")
        parser.add_argument("--format", choices=FORMATS, help="the files' format (default: the mapping's)")
        parser.add_argument("--date", type=iso_day, help="only this day's files")
        parser.add_argument("--start-date", type=iso_day, help="first day of a half-open range")
        parser.add_argument("--end-date", type=iso_day, help="day after the last")
        parser.add_argument("--sample", type=positive, help="with --dry-run: show what so many rows would become")
        parser.add_argument(
            "--accept-columns", action="store_true",
            help="go on where the source has lost or retyped a column that the mapping reads",
        )  # fmt: skip
        parser.add_argument("--replay", action="store_true", help="run rows of the quarantine again instead of files")
        parser.add_argument("--reason", help="with --replay: only rows that were refused for this")
        add_available_options(parser)
        add_acceptance_options(parser)

    def check_options(self, options: Namespace) -> None:
        """Files need a source and an input, a replay a reason, an acceptance a name; what is not read is refused."""
        check_mode(options)

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """Which files are new, told by their contents, and what runs before left unfinished."""
        if options.accept_gate:
            return plan_acceptance(context, options)
        if options.available_now:
            return plan_available(context, options)
        since = current_turn(context.lakehouse, EVENTS.name).version
        begun = unfinished(context.lakehouse)
        items = [PlanItem(f"batch {commit.build.details['batch']}", STALE, "was left unfinished") for commit in begun]
        if options.replay:
            refused = find_refused(context, options.reason, options.source)
            return Plan(items + _replay_items(context, options, refused), {"begun": begun, "refused": refused})
        mapping = load_source(options.source, options.format)
        paths = _input_paths(context, options, mapping)
        if options.sample:
            report = sample_report(context.spark, paths, mapping, context.settings.events, options.sample)
            return Plan([PlanItem(f"{len(paths)} files", MISSING, "only looked into")], report=report)
        with step("ingest_events.inspect", files=len(paths)) as counts, readable(paths):
            files = inspect_files(read_raw(context.spark, paths, mapping), mapping)
            counts["rows"] = sum(file.rows for file in files)
        known = known_digests(context.lakehouse)
        known |= {digest: commit.build.details["batch"] for commit in begun for digest in digests_of(commit)}
        batch = new_batch(options.source, files, known, since)
        items += [_item(file, known.get(file.digest)) for file in files]
        judged = preview_gates(context, batch, mapping) if options.dry_run and batch.files else []
        told = [f"source {options.source}: {mapping.description}", *(gate_lines(judged) if judged else [])]
        return Plan(items, {"begun": begun, "batch": batch}, "\n".join(told))

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Finish what was begun, then the new files as one batch, or the replay."""
        if options.accept_gate:
            return run_acceptance(context, options, plan)
        if options.available_now:
            return _outcome(run_available(context, options, plan))
        begun: list[Commit] = plan.inputs["begun"]
        finish_all(context, begun)
        told = {commit.build.details["batch"]: commit.build.details["counts"] for commit in begun}
        told |= dict(_replays(context, plan.inputs["refused"]) if options.replay else _files(context, options, plan))
        sweep(context)
        return _outcome(told)


def _outcome(told: dict[str, Counts]) -> Outcome:
    if not told:
        return Outcome("nothing to do: nothing is new", status="nothing_to_do")
    message = "; ".join(describe(batch_id, counts) for batch_id, counts in told.items())
    read, accepted = (sum(counts[key] for counts in told.values()) for key in ("read", ACCEPTED))
    return Outcome(message, read, accepted)


def _files(context: JobContext, options: Namespace, plan: Plan) -> Iterator[tuple[str, Counts]]:
    batch: Batch = plan.inputs["batch"]
    mapping = load_source(options.source, options.format)
    if batch.files:
        yield batch.batch_id, ingest_batch(context, batch, mapping, options.accept_columns)


def _replays(context: JobContext, refused: list[Refused]) -> Iterator[tuple[str, Counts]]:
    for rows in refused:
        done = replay(context, rows)
        if done:
            yield done


def _replay_items(context: JobContext, options: Namespace, refused: list[Refused]) -> list[PlanItem]:
    items = [PlanItem(f"{r.rows} rows of {r.source} ({r.format})", MISSING, f"refused for {r.reason}") for r in refused]
    if items:
        return items
    held = ", ".join(f"{reason} {rows}" for reason, rows in known_reasons(context).items())
    return [PlanItem(f"rows refused for {options.reason}", THERE, f"none; the quarantine holds {held or 'nothing'}")]


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
    return PlanItem(what, THERE, NO_ROWS) if is_blank(file) else PlanItem(what, MISSING)


def describe(batch_id: str, counts: Counts) -> str:
    """A batch's counts for a person: what does not occur is left out, but the three that always add up."""
    told = f"batch {batch_id}: read {counts['read']}" + (f" + split {counts['split']}" if counts["split"] else "")
    told += f" = accepted {counts[ACCEPTED]} + duplicate {counts[DUPLICATE]} + quarantined {counts[QUARANTINED]}"
    return told + (f" + filtered {counts[FILTERED]}" if counts[FILTERED] else "")
