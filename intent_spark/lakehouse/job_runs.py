"""The run ledger: one row for each run of each job, also for a failed one."""

from __future__ import annotations

import json
import subprocess
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from intent_spark import __version__
from intent_spark.lakehouse.contract import Column, TableContract
from intent_spark.lakehouse.lakehouse import Lakehouse

JOB_RUNS = TableContract(
    name="job_runs",
    row="one run of one job",
    written_by="every job",
    keys=("run_id",),
    columns=(
        Column("run_id", "string", "random id of the run"),
        Column("job", "string", "the job's name"),
        Column("started_at", "timestamp", "when the run began"),
        Column("seconds", "double", "how long it took", "s"),
        Column("status", "string", "succeeded, nothing_to_do, failed, usage or refused"),
        Column("arguments", "string", "the job's options as JSON"),
        Column("code_version", "string", "git commit, or the package's version"),
        Column("input_versions", "map<string,bigint>", "the version of each table that was read; -1: it was not there"),
        Column("rows_in", "bigint", "rows read"),
        Column("rows_out", "bigint", "rows written"),
        Column("message", "string", "what the run said at its end"),
        Column("costs", "array<struct<part:string,rows:bigint,seconds:double>>", "what its parts read and took"),
    ),
)


@dataclass(frozen=True)
class Cost:
    """What a kind of work within a run, such as a strategy, read and took: later runs are predicted by it."""

    part: str
    rows: int
    seconds: float


@dataclass
class Outcome:
    """What a run did, for the ledger and for the person."""

    message: str = ""
    rows_in: int = 0
    rows_out: int = 0
    inputs: dict[str, int] = field(default_factory=dict)
    status: str = "succeeded"
    costs: list[Cost] = field(default_factory=list)


def record_run(lakehouse: Lakehouse, job: str, arguments: dict[str, Any], started: datetime, outcome: Outcome) -> None:
    """Add the run's row. The table is created by the first run."""
    seconds = (datetime.now(UTC) - started).total_seconds()
    row = (
        uuid.uuid4().hex, job, started, seconds, outcome.status, json.dumps(arguments, default=str, sort_keys=True),
        code_version(), outcome.inputs, outcome.rows_in, outcome.rows_out, outcome.message,
        [asdict(cost) for cost in outcome.costs],
    )  # fmt: skip
    lakehouse.append_rows([JOB_RUNS.named(row)], JOB_RUNS)


def last_costs(lakehouse: Lakehouse, job: str) -> list[Cost]:
    """What the parts of a job's runs took, of the newest run first."""
    if not lakehouse.has_columns(JOB_RUNS.name, "costs"):  # a table of an earlier version of this software
        return []
    runs = lakehouse.rows(JOB_RUNS.name, "started_at", "costs", where=[("job", "=", job)])
    newest_first = sorted(runs, key=lambda run: run["started_at"], reverse=True)
    return [Cost(**cost) for run in newest_first for cost in run["costs"] or []]


def code_version() -> str:
    """``0.1.0+g1a2b3c4`` in a checkout (``.dirty`` where it has changes), ``0.1.0`` where installed."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return __version__
    try:
        commit = _git(root, "rev-parse", "--short", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__}+g{commit}" + (".dirty" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
