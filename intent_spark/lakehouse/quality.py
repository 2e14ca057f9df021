"""What ingestion measured of each day, as later stages ask for it: which days a gate holds back, which have bots."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from typing import Any

from intent_spark.config.errors import ContractError
from intent_spark.lakehouse.lakehouse import Lakehouse

FIGURES, ACCEPTANCES, FAIL = "day_figures", "gate_acceptances", "fail"
# What tells which of a day's rows is the newest.
FIGURE_ORDER = ("events_version", "measured_at", "batch_id")
GATE = ("event_date", "source", "gate")


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


def newest_of(figures: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of rows of ``day_figures`` those that count: of each day and source those of the newest version of events."""
    newest: dict[tuple[date, str], dict[str, Any]] = {}
    for row in sorted(figures, key=itemgetter(*FIGURE_ORDER)):
        newest[row["event_date"], row["source"]] = row
    return list(newest.values())


def gate_history(lakehouse: Lakehouse) -> list[dict[str, Any]]:
    """Each gate of each day: event_date, source, gate, value, warn, fail, status, accepted; the oldest day first."""
    accepted: dict[tuple[date, str, str], float] = {}
    for row in lakehouse.rows(ACCEPTANCES, *GATE, "value"):
        key = _gate(row)
        accepted[key] = max(row["value"], accepted.get(key, row["value"]))
    told = [
        {"event_date": row["event_date"], "source": row["source"]} | gate
        for row in newest_of(lakehouse.rows(FIGURES, "event_date", "source", *FIGURE_ORDER, "gates"))
        for gate in row["gates"] or []
    ]
    for gate in told:
        gate["accepted"] = gate["status"] == FAIL and gate["value"] <= accepted.get(_gate(gate), -math.inf)
    return sorted(told, key=_gate)


def _gate(row: dict[str, Any]) -> tuple[date, str, str]:
    return row["event_date"], row["source"], row["gate"]


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
    most: dict[date, int] = {}
    for row in newest_of(lakehouse.rows(FIGURES, "event_date", "source", *FIGURE_ORDER, "most_events")):
        most[row["event_date"]] = max(row["most_events"], most.get(row["event_date"], 0))
    return sorted(day for day in set(days) if most.get(day, cap + 1) > cap)
