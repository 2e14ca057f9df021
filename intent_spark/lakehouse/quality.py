"""What ingestion measured of each day, as later stages ask for it: which days a gate holds back, which have bots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.lakehouse.lakehouse import Lakehouse

FIGURES, ACCEPTANCES, FAIL = "day_figures", "gate_acceptances", "fail"


@dataclass(frozen=True)
class FailedGate:
    """A gate that a day failed."""

    day: date
    source: str
    gate: str
    value: float
    limit: float

    def describe(self) -> str:
        """``2026-04-01 low_volume 0.93 above 0.8 (source shop)``."""
        return f"{self.day} {self.gate} {self.value:.4g} above {self.limit:g} (source {self.source})"


def newest_figures(lakehouse: Lakehouse) -> DataFrame:
    """The figures of each day and source that count: those of the newest version of events."""
    figures = lakehouse.read(FIGURES)
    order = F.struct("events_version", "measured_at", "batch_id")
    newest = figures.groupBy("event_date", "source").agg(F.max_by(F.struct("*"), order).alias("newest"))
    return newest.select("newest.*")


def gate_history(lakehouse: Lakehouse) -> list[Row]:
    """Each gate of each day: event_date, source, gate, value, warn, fail, status, accepted; the oldest day first."""
    if not lakehouse.exists(FIGURES):
        return []
    keys = ["event_date", "source", "gate"]
    gates = newest_figures(lakehouse).select("event_date", "source", F.inline("gates"))
    accepted = F.lit(None).cast("double")
    if lakehouse.exists(ACCEPTANCES):
        largest = lakehouse.read(ACCEPTANCES).groupBy(*keys).agg(F.max("value").alias("largest"))
        gates, accepted = gates.join(largest, on=keys, how="left"), F.col("largest")
    is_accepted = (F.col("status") == FAIL) & F.coalesce(F.col("value") <= accepted, F.lit(False))
    told = gates.withColumn("accepted", is_accepted)
    return told.select(*keys, "value", "warn", "fail", "status", "accepted").orderBy(*keys).collect()


def failed_gates(lakehouse: Lakehouse) -> list[FailedGate]:
    """The failed gates that nobody accepted, the oldest day first. A worse figure than the accepted one is not."""
    waiting = [row for row in gate_history(lakehouse) if row["status"] == FAIL and not row["accepted"]]
    return [FailedGate(r["event_date"], r["source"], r["gate"], r["value"], r["fail"]) for r in waiting]


def check_gates(lakehouse: Lakehouse, end: date) -> None:
    """Refuse to go on with events of a day before ``end`` that failed a gate.

    Raises:
        ContractError: it names the day, the gate and its figure, and how to accept it.
    """
    failed = [gate for gate in failed_gates(lakehouse) if gate.day < end]
    if not failed:
        return
    others = f", and {len(failed) - 1} more that show_status lists" if len(failed) > 1 else ""
    first = failed[0]
    raise ContractError(
        f"a quality gate failed: {first.describe()}{others}; mend the source and ingest the day again, or let it pass "
        f"by ingest_events --accept-gate {first.day}:{first.gate} --by YOUR_NAME."
    )


def days_to_cap(lakehouse: Lakehouse, days: Iterable[date], cap: int) -> list[date]:
    """The days on which some user may have more events than the cap: all but those that were measured not to have."""
    if not lakehouse.exists(FIGURES):
        return sorted(days)
    most = newest_figures(lakehouse).groupBy("event_date").agg(F.max("most_events").alias("most"))
    light = {row["event_date"] for row in most.where(F.col("most") <= cap).collect()}
    return sorted(set(days) - light)
