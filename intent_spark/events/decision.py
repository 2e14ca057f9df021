"""What becomes of candidate events: decided by what the table holds, and committed only if it still holds no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.config.log import LOGGER, step
from intent_spark.config.settings import EventsSettings
from intent_spark.config.source import SourceMapping
from intent_spark.events.batch import FILES
from intent_spark.events.contract import EVENTS
from intent_spark.events.deduplicate import (
    ACCEPTED,
    DUPLICATE,
    QUARANTINED,
    STATUSES,
    find_copies,
    is_good,
    repeated_hashes,
    tally,
    with_status,
)
from intent_spark.events.figures import RawCounts, raw_counts
from intent_spark.events.finish import Counts, stage, staging_path
from intent_spark.events.raw import RawFile
from intent_spark.events.sessions import cut_sessions
from intent_spark.events.shop import ensure_shop
from intent_spark.lakehouse.files import remove_folder
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.lakehouse import Build, Lakehouse
from intent_spark.lakehouse.shuffled import shuffled_once
from intent_spark.lakehouse.turns import Commit, Turn, append_in_turn

# A batch that still finds the table changed after so many attempts gives up; each other one got its turn meanwhile.
MOST_TURNS = 20
FEW = 2_000_000


@dataclass(frozen=True)
class Work:
    """A batch or a replay, as its commit and its ledger row tell it."""

    batch_id: str
    source: str
    mapping: SourceMapping
    learned_at: datetime
    rows: int
    files: tuple[RawFile, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    kind: str = FILES
    replayed: str | None = None  # the reason for which a replay's rows were refused
    # Rows read that are no candidates, such as repeated header lines; counted only if the others do not add up.
    uncounted: Callable[[], int] = lambda: 0


@dataclass(frozen=True)
class Decision:
    """Marked candidates with their counts; ``is_spread`` says that they lie as ``spread_candidates`` has put them."""

    marked: DataFrame
    is_spread: bool
    counts: Counts
    days: dict[date, int]
    reasons: dict[str, int]
    raw: RawCounts


def spread_candidates(candidates: DataFrame, rows: int, limits: EventsSettings) -> DataFrame:
    """The candidates, made once, as the table will hold them: a day's users together, so that later scans prune well.

    Args:
        candidates: mapped rows.
        rows: about how many they are.
        limits: how many a file should hold.
    """
    return shuffled_once(candidates, *_slice(rows, limits))


def _slice(rows: int, limits: EventsSettings) -> tuple[Column, Column]:
    # A refused row may have no user: one after the other, lest all such rows meet in one place.
    user = F.coalesce("user_id", F.col("_row").cast("string"))
    return F.col("event_date"), F.pmod(F.xxhash64(user), F.lit(max(1, rows // limits.rows_per_file)))


@contextmanager
def decided(context: JobContext, work: Work, candidates: DataFrame, turn: Turn) -> Iterator[Decision]:
    """Mark the candidates against the events that were there at a turn, and count.

    Raises:
        RuntimeError: a row was lost or doubled on the way.
    """
    limits = context.settings.events
    with ExitStack() as kept, step("ingest_events.decide", batch=work.batch_id) as told:
        known = known_events(context.lakehouse, candidates, limits, turn)
        repeated, _ = _few(_kept(repeated_hashes(candidates, known), kept))
        sums = {"rows": F.count("*"), "split": F.count_if(F.col("_part") > 0), **EVENTS.warning_counts()}
        tallied = _kept(tally(candidates, repeated, sums), kept)
        several = tallied.where(F.col("event_id").isNotNull())
        copies, is_spread = _few(_kept(find_copies(several, known, limits.lookback_days, repeated), kept))
        by_status = with_status(tallied, copies).groupBy("status", "reason", "event_date")
        groups = by_status.agg(*[F.sum(name).alias(name) for name in sums]).collect()
        decision = _counted(with_status(candidates, copies), is_spread, groups, work)
        told |= decision.counts | decision.reasons
        _warn(work, [row for row in groups if row["status"] == ACCEPTED])
        # Not before the caller is done with the decision.
        done = kept.pop_all()
    with done:
        yield decision


def _kept(rows: DataFrame, kept: ExitStack) -> DataFrame:
    """The rows, cached until the stack is left."""
    kept.callback(rows.unpersist)
    return rows.persist()


def _few(rows: DataFrame) -> tuple[DataFrame, bool]:
    """Spark cannot know beforehand that they are few, and would move all other rows to meet them."""
    are_few = rows.count() <= FEW
    return F.broadcast(rows) if are_few else rows, are_few


def _warn(work: Work, accepted: list[Row]) -> None:
    """Tell how many events are not what the contract says they should be."""
    for name in EVENTS.warnings:
        rows = sum(row[name] for row in accepted)
        if rows:
            LOGGER.warning("step=ingest_events.warning batch=%s check=%s rows=%d", work.batch_id, name, rows)


def known_events(lakehouse: Lakehouse, candidates: DataFrame, limits: EventsSettings, turn: Turn) -> DataFrame | None:
    """Id and day of the events within the look-back of any day of the candidates; the cost is bounded by it."""
    if turn.is_before_all:
        return None
    good = candidates.where(is_good())
    around = range(-limits.lookback_days, limits.lookback_days + 1)
    days = [row[0] for row in good.select("event_date").distinct().collect()]
    near = {day + timedelta(days=offset) for day in days for offset in around}
    if not near:
        return None
    events = lakehouse.read(EVENTS.name, turn.version).where(F.col("event_date").isin(sorted(near)))
    return events.select("event_id", "event_date")


def _counted(marked: DataFrame, is_spread: bool, groups: list[Row], work: Work) -> Decision:
    counts = {status: sum(row["rows"] for row in groups if row["status"] == status) for status in STATUSES}
    counts |= {"read": work.rows, "split": sum(row["split"] for row in groups)}
    missing = work.rows + counts["split"] - sum(counts[status] for status in STATUSES)
    counts[DUPLICATE] += work.uncounted() if missing else 0
    if work.rows + counts["split"] != sum(counts[status] for status in STATUSES):
        raise RuntimeError(f"batch {work.batch_id}: read {work.rows} rows, but accounted for {counts}")
    days = {row["event_date"]: row["rows"] for row in groups if row["status"] == ACCEPTED}
    reasons: dict[str, int] = {}
    for row in groups:
        if row["status"] == QUARANTINED:
            reasons[row["reason"]] = reasons.get(row["reason"], 0) + row["rows"]
    return Decision(marked, is_spread, counts, days, reasons, raw_counts(groups, work.replayed))


def check_bad_share(work: Work, decision: Decision, limit: float) -> None:
    """A wrong mapping must not fill a day with nothing.

    Raises:
        ContractError: more rows are refused than ``limit`` allows.
    """
    share = decision.counts[QUARANTINED] / max(work.rows, 1)
    if share > limit:
        reasons = ", ".join(f"{reason} {rows}" for reason, rows in sorted(decision.reasons.items()))
        raise ContractError(
            f"source {work.source}: {share:.0%} of {work.rows} rows do not fit its mapping ({reasons}), more than "
            f"events.max_bad_share of {limit:.0%}; mend the mapping or raise the limit. Nothing was written."
        )


def commit(
    context: JobContext, work: Work, decision: Decision, turn: Turn, for_quarantine: DataFrame | None
) -> Commit | None:
    """Append the accepted events, unless others came since ``turn``; None where they did and nothing was written.

    What the quarantine is to take is staged before, so that whoever finds the commit can finish it.
    """
    lakehouse, attempt = context.lakehouse, uuid4().hex
    if turn.is_before_all:
        ensure_shop(lakehouse, work.mapping.shop, work.source)
    else:
        lakehouse.create(EVENTS)  # columns that the contract gained since
    if for_quarantine is not None:
        stage(lakehouse, for_quarantine, attempt)
    build = Build("ingest_events", details=_details(work, decision, attempt, for_quarantine is not None))
    with step("ingest_events.write_events", batch=work.batch_id) as told:
        told["rows"], told["days"] = decision.counts[ACCEPTED], len(decision.days)
        accepted = stamped(decision.marked, work).where(F.col("status") == ACCEPTED)
        laid_out = _laid_out(lakehouse, accepted, work, decision, turn, context.settings.events)
        written = append_in_turn(lakehouse, laid_out, EVENTS, turn, build)
        if written is None:
            told["status"] = "overtaken"
            remove_folder(context.spark, staging_path(lakehouse, attempt))
    return written


def stamped(marked: DataFrame, work: Work) -> DataFrame:
    """The rows with the batch and the source that bring them."""
    return marked.withColumn("batch_id", F.lit(work.batch_id)).withColumn("source", F.lit(work.source))


def _details(work: Work, decision: Decision, attempt: str, staged: bool) -> dict[str, Any]:
    """The outcome as the commit keeps it: the ledger's row is made of nothing else."""
    files = [{"path": file.path, "digest": file.digest, "rows": file.rows} for file in work.files]
    days = {day.isoformat(): rows for day, rows in sorted(decision.days.items())}
    return {
        "batch": work.batch_id, "source": work.source, "kind": work.kind, "format": work.mapping.format,
        "learned_at": work.learned_at.isoformat(),
        "counts": decision.counts, "days": days, "files": files, "columns": work.columns, "attempt": attempt,
        "staged": staged, "gates": work.mapping.gates.model_dump(mode="json"),
        "raw": {day.isoformat(): counts for day, counts in sorted(decision.raw.items())},
    }  # fmt: skip


def _laid_out(
    lakehouse: Lakehouse, accepted: DataFrame, work: Work, decision: Decision, turn: Turn, limits: EventsSettings
) -> DataFrame:
    """A few files a day, sorted by user so that later scans compress and prune well; with the sessions they lack."""
    is_spread = decision.is_spread
    if work.mapping.fields.session_id is None and decision.days:
        accepted = cut_sessions(accepted, _near_by(lakehouse, work, decision, turn), work.mapping.session_gap_minutes)
        is_spread = False
    spread = accepted if is_spread else accepted.repartition(*_slice(decision.counts[ACCEPTED], limits))
    return spread.sortWithinPartitions("event_date", "user_id", "event_time", "event_id")


def _near_by(lakehouse: Lakehouse, work: Work, decision: Decision, turn: Turn) -> DataFrame | None:
    """The source's stored events on the days of the accepted ones and those beside them, with their sessions."""
    if turn.is_before_all:
        return None
    beside = {day + timedelta(days=offset) for day in decision.days for offset in (-1, 0, 1)}
    near = F.col("event_date").isin(sorted(beside)) & (F.col("source") == work.source)
    stored = lakehouse.read(EVENTS.name, turn.version).where(near & F.col("session_id").isNotNull())
    return stored.select("user_id", "event_time", "event_id", "session_id")
