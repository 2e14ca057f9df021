"""``show_status``: what each table holds, its holes, the last runs, the live model; from the tables' logs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections import Counter
from datetime import date, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar

from intent_spark.lakehouse.job import MISSING, Job, JobContext, Plan, PlanItem
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.quality import FIGURES, failed_gates
from intent_spark.models.registry import read_aliases
from intent_spark.reports.table import text_table

TABLES = (
    "events", "events_quarantine", FIGURES, "user_days", "profile_states", "profiles", "profile_stats", "examples",
    "scores", "outcomes",
)  # fmt: skip
LAST_RUNS = 10


class ShowStatus(Job):
    """The state of a warehouse for a person."""

    name: ClassVar[str] = "show_status"
    description: ClassVar[str] = "Show what each table holds, days without rows, the last runs and the live model."

    def add_options(self, parser: ArgumentParser) -> None:
        """No options of its own."""

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """One look."""
        context.lakehouse.require("job_runs", "a job")
        return Plan([PlanItem("status", MISSING)])

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Print the tables."""
        tables = [_table_row(context, name) for name in TABLES if context.lakehouse.exists(name)]
        model = _live_model(context)
        shown = [text_table(tables), text_table(_run_rows(context)), *_waiting(context), f"live model: {model}"]
        print("\n\n".join(shown))  # noqa: T201  # the tables are what the person asked for
        return Outcome(f"{len(tables)} tables; live model: {model}")


def _table_row(context: JobContext, name: str) -> dict[str, Any]:
    per_day = _rows_by_day(context.lakehouse, name)
    days = sorted(per_day)
    holes = _holes(days) if name == "events" else []  # user_days holds the days that were asked for
    return {
        "table": name,
        "version": context.lakehouse.version(name),
        "rows": sum(per_day.values()),
        "days": len(days),
        "first": days[0] if days else "",
        "last": days[-1] if days else "",
        "holes": ", ".join(str(day) for day in holes[:3]) + (f" and {len(holes) - 3} more" if len(holes) > 3 else ""),
    }


def _rows_by_day(lakehouse: Lakehouse, name: str) -> dict[date, int]:
    """From the table's log, by its partitions; that of the figures has none, and is small."""
    if name == FIGURES:
        return Counter(row["event_date"] for row in lakehouse.rows(name, "event_date"))
    return {date.fromisoformat(day): rows for day, (rows, _) in lakehouse.partition_sizes(name).items()}


def _holes(days: list[date]) -> list[date]:
    """The days between the first and the last that have no rows."""
    there = set(days)
    span = (days[-1] - days[0]).days if days else 0
    return [day for offset in range(span) if (day := days[0] + timedelta(days=offset)) not in there]


def _run_rows(context: JobContext) -> list[dict[str, Any]]:
    runs = context.lakehouse.rows("job_runs", "started_at", "job", "status", "seconds", "message")
    newest = sorted(runs, key=itemgetter("started_at"), reverse=True)[:LAST_RUNS]
    return [
        {"started": f"{r['started_at']:%Y-%m-%d %H:%M}", "job": r["job"], "status": r["status"],
         "seconds": round(r["seconds"], 1), "message": r["message"][:80]}
        for r in newest
    ]  # fmt: skip


def _waiting(context: JobContext) -> list[str]:
    """The failed quality gates that keep their days out of the profiles."""
    failed = failed_gates(context.lakehouse)
    return ["\n".join(["failed quality gates:", *(f"  {gate.describe()}" for gate in failed)])] if failed else []


def _live_model(context: JobContext) -> str:
    aliases = read_aliases(Path(context.lakehouse.path("models")))
    waiting = f"; challenger: {aliases.challenger}" if aliases.challenger else ""
    return f"{aliases.champion or 'none'}{waiting}"
