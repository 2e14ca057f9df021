"""Measuring the days that a batch touched, and keeping what was found: figures, gates, heavy users, acceptances."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import UsageError
from intent_spark.config.gates import GateSettings
from intent_spark.config.log import LOGGER, step
from intent_spark.events.contract import EVENTS
from intent_spark.events.figures import RawCounts, count_days, heavy_users
from intent_spark.events.gates import FAIL, OPEN, PASS, DayCounts, Figure, judge
from intent_spark.events.quality_contract import DAY_FIGURES, GATE_ACCEPTANCES, HEAVY_USERS
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.quality import FIGURE_ORDER, FailedGate, failed_gates, newest_of
from intent_spark.lakehouse.shop import recorded_shop
from intent_spark.lakehouse.turns import Commit

SHOWN = 20
FIGURES = (
    "event_date", "source", *FIGURE_ORDER, "is_over", "rows", "hours", "most_events", "read", "duplicates",
    "unknown_types",
)  # fmt: skip


@dataclass(frozen=True)
class Measuring:
    """Whose days are measured by which gates, and when the batch was begun; ``zone`` is the shop's."""

    source: str
    gates: GateSettings
    zone: str
    batch_id: str
    learned_at: datetime

    @property
    def today(self) -> date:
        """The shop's day on which the batch came in: days before it are over."""
        return self.learned_at.astimezone(ZoneInfo(self.zone)).date()


@dataclass(frozen=True)
class JudgedDay:
    """A day's counts, those of the batch alone, and its gates."""

    counts: DayCounts
    raw: tuple[int, int, int]
    is_over: bool
    figures: list[Figure]


def measure(
    lakehouse: Lakehouse, events: DataFrame, measuring: Measuring, raw: RawCounts, touched: Iterable[date]
) -> list[JudgedDay]:
    """Judge the days that a batch touched, and those that were not over when they were last measured.

    Args:
        lakehouse: where earlier figures lie; they say what is usual.
        events: rows of the events contract with those of the batch.
        measuring: the source and its gates.
        raw: the batch's raw rows by day.
        touched: the days that the batch brought events of.
    """
    stored = [row for row in lakehouse.rows(DAY_FIGURES.name, *FIGURES) if row["source"] == measuring.source]
    before = {row["event_date"]: row for row in newest_of(stored)}
    waiting = {day for day, row in before.items() if not row["is_over"] and day < measuring.today}
    days = sorted({*touched, *waiting})
    gates = measuring.gates
    chosen = events.where(F.col("event_date").isin(days))
    counted = count_days(chosen, measuring.source, gates, measuring.zone) if days else {}
    earlier_raw = _earlier_raw(stored, measuring)
    known = {day: _counts(row) for day, row in before.items()}
    for day in days:
        total = [sum(parts) for parts in zip(earlier_raw.get(day, (0, 0, 0)), raw.get(day, (0, 0, 0)), strict=True)]
        known[day] = counted.get(day, DayCounts(day)).with_raw(*total)
    return [
        JudgedDay(known[day], raw.get(day, (0, 0, 0)), day < measuring.today,
                  judge(known[day], known.values(), gates, day < measuring.today))
        for day in days
    ]  # fmt: skip


def _earlier_raw(stored: list[dict[str, Any]], measuring: Measuring) -> RawCounts:
    """The raw rows of other batches."""
    summed: RawCounts = {}
    for row in stored:
        if row["batch_id"] != measuring.batch_id:
            read, duplicates, unknown = summed.get(row["event_date"], (0, 0, 0))
            summed[row["event_date"]] = (
                read + row["read"], duplicates + row["duplicates"], unknown + row["unknown_types"]
            )  # fmt: skip
    return summed


def _counts(row: dict[str, Any]) -> DayCounts:
    """A stored day as it serves as history: its events and their hours."""
    return DayCounts(row["event_date"], rows=row["rows"], hours=tuple(row["hours"]), most_events=row["most_events"])


def record(context: JobContext, commit: Commit) -> list[JudgedDay]:
    """Measure the days that a decided batch touched, and keep it; done twice it changes nothing.

    All that is asked is in the commit: whoever finishes the batch of a run that was killed measures the same.
    """
    lakehouse, cap, details = context.lakehouse, context.settings.features.daily_cap, commit.build.details
    measuring = Measuring(
        details["source"],
        GateSettings.model_validate(details["gates"]),
        recorded_shop(lakehouse).time_zone,
        details["batch"],
        datetime.fromisoformat(details["learned_at"]),
    )
    events = lakehouse.read(EVENTS.name, commit.version)
    raw: RawCounts = {date.fromisoformat(day): (c[0], c[1], c[2]) for day, c in details["raw"].items()}
    with step("ingest_events.measure", batch=measuring.batch_id) as told:
        judged = measure(lakehouse, events, measuring, raw, map(date.fromisoformat, details["days"]))
        told["days"], told["failed_gates"] = len(judged), sum(f.status == FAIL for d in judged for f in d.figures)
        if judged:
            rows = [DAY_FIGURES.named(_row(day, measuring, commit.version)) for day in judged]
            lakehouse.append_rows(rows, DAY_FIGURES, once=measuring.batch_id)
    over = [day.counts.day for day in judged if cap is not None and day.counts.most_events > cap]
    if cap is not None and over:
        _record_heavy(lakehouse, heavy_users(events, over, cap), measuring)
    tell(judged)
    return judged


def preview(lakehouse: Lakehouse, accepted: DataFrame, measuring: Measuring, raw: RawCounts) -> list[JudgedDay]:
    """The days as they would be with a batch that was decided and not written.

    Args:
        lakehouse: the tables as they are.
        accepted: the batch's events, in the contract's columns.
        measuring: the source and its gates.
        raw: the batch's raw rows by day.
    """
    events = EVENTS.select(accepted)
    if lakehouse.exists(EVENTS.name):
        events = lakehouse.read(EVENTS.name).select(events.columns).unionByName(events)
    touched = [row[0] for row in accepted.select("event_date").distinct().collect()]
    return measure(lakehouse, events, measuring, raw, touched)


def _row(day: JudgedDay, measuring: Measuring, version: int) -> tuple[object, ...]:
    c = day.counts
    gates = [
        {"gate": f.gate, "value": f.value, "warn": f.limits.warn, "fail": f.limits.fail, "status": f.status}
        for f in day.figures
    ]
    return (
        c.day, measuring.source, measuring.batch_id, version, measuring.learned_at, day.is_over, c.rows, *day.raw,
        dict(c.nulls), c.priced, c.price_outside, list(c.hours), c.top_user_events, c.most_events, gates,
    )  # fmt: skip


def _record_heavy(lakehouse: Lakehouse, heavy: DataFrame, measuring: Measuring) -> None:
    with step("ingest_events.heavy_users", batch=measuring.batch_id) as counts:
        frame = heavy.withColumn("batch_id", F.lit(measuring.batch_id)).coalesce(1)
        lakehouse.append_once(frame, HEAVY_USERS, measuring.batch_id)
        mine = lakehouse.read(HEAVY_USERS.name).where(F.col("batch_id") == measuring.batch_id)
        found = mine.agg(F.countDistinct("user_id"), F.count("*"), F.sum("events"), F.max("events")).collect()[0]
        counts |= dict(zip(("users", "user_days", "events", "most"), found, strict=True))


def tell(judged: list[JudgedDay]) -> None:
    """Log each figure beyond its limit, the first few of many."""
    beyond = [(day.counts.day, f) for day in judged for f in day.figures if f.status not in (PASS, OPEN)]
    for day, figure in beyond[:SHOWN]:
        LOGGER.warning('step=ingest_events.gate day=%s status=%s figure="%s"', day, figure.status, figure.describe())
    if len(beyond) > SHOWN:
        LOGGER.warning("step=ingest_events.gate more=%d", len(beyond) - SHOWN)


def gate_lines(judged: list[JudgedDay]) -> list[str]:
    """The gates for a person: a line for each figure beyond its limit, and how many were judged."""
    figures = [(day.counts.day, f) for day in judged for f in day.figures]
    beyond = [f"{f.status:<8} gate {day}  {f.describe()}" for day, f in figures if f.status not in (PASS, OPEN)]
    judged_count = sum(f.status != OPEN for _, f in figures)
    more = [f"... and {len(beyond) - SHOWN} more"] if len(beyond) > SHOWN else []
    return [*beyond[:SHOWN], *more, f"gates: {judged_count} judged on {len(judged)} days, {len(beyond)} beyond a limit"]


def wanted_acceptances(lakehouse: Lakehouse, words: Iterable[str]) -> list[FailedGate]:
    """The failed gates that ``DAY:GATE`` words name, of every source that failed them.

    Raises:
        UsageError: a word is not of that form, or that day has no such failed gate.
    """
    failed, found = failed_gates(lakehouse), []
    for word in words:
        mine = [gate for gate in failed if f"{gate.day}:{gate.gate}" == word]
        if not mine:
            known = ", ".join(f"{gate.day}:{gate.gate}" for gate in failed[:SHOWN]) or "none"
            raise UsageError(f"--accept-gate {word}: no such gate has failed and waits; waiting are {known}.")
        found += mine
    return found


def accept(context: JobContext, gates: list[FailedGate], by: str, because: str | None) -> None:
    """Record that somebody lets failed gates pass."""
    now = datetime.now(UTC)
    rows = [(gate.day, gate.source, gate.gate, gate.value, by, because, now) for gate in gates]
    context.lakehouse.append_rows(map(GATE_ACCEPTANCES.named, rows), GATE_ACCEPTANCES)
    for gate in gates:
        LOGGER.info('step=ingest_events.accept_gate gate="%s" by="%s"', gate.describe(), by)
