"""From a decided batch to quarantine and ledger: all that is left to do once its events are in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from pyspark.sql import DataFrame

from intent_spark.config.errors import ContractError
from intent_spark.config.log import step
from intent_spark.events.batch import REPLAY, unfinished
from intent_spark.events.contract import EVENTS_QUARANTINE, INGEST_LEDGER
from intent_spark.events.deduplicate import ACCEPTED, DUPLICATE, FILTERED, QUARANTINED
from intent_spark.events.quality import record
from intent_spark.events.quarantine import KEY, add_refused, apply_outcome
from intent_spark.lakehouse.files import old_folders, remove_folder
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.turns import Commit

Counts = dict[str, int]
STAGING, STAGED_HOURS = "_staging", 48


def staging_path(lakehouse: Lakehouse, attempt: str) -> str:
    """Where an attempt leaves the rows for the quarantine before it commits its events."""
    return lakehouse.path(f"{STAGING}/{attempt}")


def stage(lakehouse: Lakehouse, rows: DataFrame, attempt: str) -> None:
    """Write them there: from the commit of the events on they are the truth, whatever becomes of the files."""
    rows.coalesce(1).write.parquet(staging_path(lakehouse, attempt))


def finish(context: JobContext, commit: Commit) -> Counts:
    """Write quarantine and ledger of a decided batch, whoever decided it; done twice it changes nothing.

    Raises:
        ContractError: tables and counts do not agree.
    """
    lakehouse, details = context.lakehouse, commit.build.details
    counts: Counts = details["counts"]
    if commit.rows != counts[ACCEPTED]:
        raise ContractError(f"batch {details['batch']}: events took {commit.rows} of {counts[ACCEPTED]} accepted rows.")
    if details["staged"]:
        with step("ingest_events.write_quarantine", batch=details["batch"]) as told:
            told["rows"] = _write_quarantine(context, details)
    record(context, commit)  # before the ledger's row: no day that it tells of is without its figures
    lakehouse.append_rows([INGEST_LEDGER.named(_ledger_row(commit))], INGEST_LEDGER, once=details["batch"])
    remove_folder(context.spark, staging_path(lakehouse, details["attempt"]))
    return counts


def finish_all(context: JobContext, commits: Iterable[Commit]) -> None:
    """Finish what runs that were killed, or are just ahead of this one, have decided."""
    for commit in commits:
        with step("ingest_events.finish", batch=commit.build.details["batch"]) as told:
            told |= finish(context, commit)


def sweep(context: JobContext) -> None:
    """Remove what attempts that came to no commit have staged, once it is too old for them to be still at work."""
    old = old_folders(context.spark, context.lakehouse.path(STAGING), STAGED_HOURS)
    needed = {commit.build.details["attempt"] for commit in unfinished(context.lakehouse)} if old else set()
    for folder in old:
        if folder.rsplit("/", 1)[-1] not in needed:
            remove_folder(context.spark, folder)


def _write_quarantine(context: JobContext, details: dict[str, Any]) -> int:
    lakehouse, wanted = context.lakehouse, details["counts"][QUARANTINED]
    try:
        left = _apply_staged(context, details)
    except Exception:
        if is_finished(lakehouse, details["batch"]):  # somebody else was quicker, and has taken away what was staged
            return int(wanted)
        raise
    if left != wanted and not is_finished(lakehouse, details["batch"]):
        raise ContractError(f"batch {details['batch']}: the quarantine holds {left} of its {wanted} refused rows.")
    return left


def _apply_staged(context: JobContext, details: dict[str, Any]) -> int:
    """Bring the staged rows into the quarantine, or a replay's good rows out of it; gives the rows that are in it."""
    lakehouse = context.lakehouse
    staged = context.spark.read.parquet(staging_path(lakehouse, details["attempt"]))
    if details["kind"] == REPLAY:
        apply_outcome(lakehouse, staged)
        return lakehouse.read(EVENTS_QUARANTINE.name).join(staged, on=list(KEY), how="left_semi").count()
    add_refused(lakehouse, staged, details["batch"])
    return staged.count()


def is_finished(lakehouse: Lakehouse, batch_id: str) -> bool:
    """Whether a batch is in the ledger."""
    return batch_id in {row["batch_id"] for row in lakehouse.rows(INGEST_LEDGER.name, "batch_id")}


def _ledger_row(commit: Commit) -> tuple[Any, ...]:
    details = commit.build.details
    counts = details["counts"]
    days = {date.fromisoformat(day): rows for day, rows in details["days"].items()}
    files = [{key: file[key] for key in ("path", "digest", "rows")} for file in details["files"]]
    return (
        details["batch"], details["source"], details["kind"], details["format"], counts["read"], counts["split"],
        counts[ACCEPTED], counts[DUPLICATE], counts[QUARANTINED], counts[FILTERED], days, files, details["columns"],
        commit.version,
        datetime.fromisoformat(details["learned_at"]),
    )  # fmt: skip
