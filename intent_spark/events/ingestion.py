"""One batch from its files into events, quarantine and ledger, each event once however many ingest at the same time."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.log import LOGGER, step
from intent_spark.config.source import SourceMapping
from intent_spark.events.batch import Batch, decided_since, digests_of, known_digests, unfinished
from intent_spark.events.contract import EVENTS, EVENTS_QUARANTINE
from intent_spark.events.decision import (
    MOST_TURNS,
    Decision,
    Work,
    check_bad_share,
    commit,
    decided,
    spread_candidates,
    stamped,
)
from intent_spark.events.deduplicate import ACCEPTED, QUARANTINED, STATUSES
from intent_spark.events.drift import Columns, check_columns, columns_of
from intent_spark.events.finish import Counts, finish, finish_all
from intent_spark.events.mapping import map_events
from intent_spark.events.parse import parse
from intent_spark.events.quality import JudgedDay, Measuring, preview
from intent_spark.events.quarantine import refused_rows
from intent_spark.events.raw import (
    RawFile,
    count_repeated_headers,
    has_header,
    inspect_files,
    named_files,
    numbered_files,
    plain_path,
    read_raw,
    readable,
)
from intent_spark.events.shop import check_shop
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.turns import Commit, Turn, current_turn

NOTHING: Counts = dict.fromkeys(("read", "split", *STATUSES), 0)


def ingest_files(context: JobContext, source: str, mapping: SourceMapping, paths: list[str]) -> tuple[str, Counts]:
    """Ingest those of the files that are new, after what other runs have left unfinished; gives batch and counts.

    Raises:
        ContractError: the mapping does not fit the data, or the warehouse belongs to another shop.
    """
    since = current_turn(context.lakehouse, EVENTS.name).version
    finish_all(context, unfinished(context.lakehouse))
    with readable(paths):
        files = inspect_files(read_raw(context.spark, paths, mapping), mapping)
    batch = new_batch(source, files, known_digests(context.lakehouse), since)
    return batch.batch_id, ingest_batch(context, batch, mapping) if batch.files else dict(NOTHING)


def new_batch(source: str, files: list[RawFile], known: Container[str], since: int) -> Batch:
    """The batch of those files whose digests are not known; ``since`` is a version read before asking what is."""
    fresh = tuple(file for file in files if file.digest not in known and not is_blank(file))
    return Batch(source, fresh, datetime.now(UTC), since)


def is_blank(file: RawFile) -> bool:
    """Nothing but blank lines. A header alone is an empty day, which the ledger keeps."""
    return file.rows == 0 and file.layout is None


def ingest_batch(context: JobContext, batch: Batch, mapping: SourceMapping, accept_columns: bool = False) -> Counts:
    """Map, de-duplicate and write; returns the rows by status.

    ``accept_columns`` goes on where the source has lost or retyped a column that the mapping reads.

    Raises:
        ContractError: the mapping does not fit the data, or the warehouse belongs to another shop.
    """
    check_shop(context.lakehouse, mapping.shop, batch.source)
    rows = _mapped(context, batch, mapping, accept_columns)
    for _ in range(MOST_TURNS):
        turn = current_turn(context.lakehouse, EVENTS.name)
        rivals = [c for c in decided_since(context.lakehouse, batch.since) if digests_of(c) & batch.digests]
        if rivals:
            break
        done = _attempt(context, batch, rows, turn)
        if done:
            return finish(context, done)
        LOGGER.info("step=ingest_events.overtaken batch=%s", batch.batch_id)
    else:
        raise RuntimeError(f"batch {batch.batch_id}: other ingestions came first {MOST_TURNS} times; run it again")
    return _after_rivals(context, batch, mapping, rivals)


def preview_gates(context: JobContext, batch: Batch, mapping: SourceMapping) -> list[JudgedDay]:
    """The days as they would be with the batch; nothing is written.

    Raises:
        ContractError: the mapping does not fit the data, or the warehouse belongs to another shop.
    """
    check_shop(context.lakehouse, mapping.shop, batch.source)
    zone, turn = mapping.shop.time_zone, current_turn(context.lakehouse, EVENTS.name)
    measuring = Measuring(batch.source, mapping.gates, zone, batch.batch_id, batch.learned_at)
    rows = _mapped(context, batch, mapping, accept_columns=True)
    with decided(context, rows.work, rows.candidates, turn) as decision:
        accepted = stamped(decision.marked, rows.work).where(F.col("status") == ACCEPTED)
        return preview(context.lakehouse, accepted, measuring, decision.raw)


def _after_rivals(context: JobContext, batch: Batch, mapping: SourceMapping, rivals: list[Commit]) -> Counts:
    """Others have brought some of the files meanwhile: see that they are finished, and do the rest."""
    finish_all(context, rivals)
    twins = [rival.build.details["counts"] for rival in rivals if rival.build.details["batch"] == batch.batch_id]
    if twins:
        return dict(twins[0])
    rest = batch.without({digest for rival in rivals for digest in digests_of(rival)})
    return ingest_batch(context, rest, mapping, accept_columns=True) if rest.files else dict(NOTHING)


@dataclass(frozen=True)
class Mapped:
    """A batch's raw rows and the candidate events made of them."""

    raw: DataFrame
    candidates: DataFrame
    work: Work


def _mapped(context: JobContext, batch: Batch, mapping: SourceMapping, accept_columns: bool) -> Mapped:
    raw = read_raw(context.spark, [plain_path(file.path) for file in batch.files], mapping)
    columns = columns_of(raw, batch.files, mapping)
    check_columns(context.lakehouse, batch.source, mapping, columns, accept_columns)
    rows = parse(raw, list(batch.files), mapping)
    candidates = map_events(rows, mapping, batch.learned_at, context.settings.events)
    with step("ingest_events.map", batch=batch.batch_id, rows=batch.rows):
        light = numbered_files(candidates, batch.files)
        spread = spread_candidates(light, batch.rows, context.settings.events)
    return Mapped(raw, spread, _work(batch, mapping, raw, columns))


def _work(batch: Batch, mapping: SourceMapping, raw: DataFrame, columns: Columns) -> Work:
    files = tuple(replace(file, path=plain_path(file.path)) for file in batch.files)

    def repeated() -> int:
        return count_repeated_headers(raw, files) if has_header(mapping) else 0

    return Work(
        batch.batch_id, batch.source, mapping, batch.learned_at, batch.rows, files, columns, uncounted=repeated
    )  # fmt: skip


def _attempt(context: JobContext, batch: Batch, rows: Mapped, turn: Turn) -> Commit | None:
    """Decide by what the table holds, look at the result, commit; None where another ingestion came first."""
    with decided(context, rows.work, rows.candidates, turn) as decision:
        check_bad_share(rows.work, decision, context.settings.events.max_bad_share)
        refused = _for_quarantine(batch, rows, decision) if decision.counts[QUARANTINED] else None
        return commit(context, rows.work, decision, turn, refused)


def _for_quarantine(batch: Batch, rows: Mapped, decision: Decision) -> DataFrame:
    refused = stamped(decision.marked, rows.work).where(F.col("status") == QUARANTINED)
    refused = named_files(refused, batch.files)
    return EVENTS_QUARANTINE.select(refused_rows(refused, rows.raw, batch.files, rows.work.mapping, batch.learned_at))
