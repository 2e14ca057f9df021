"""The run ledger: one row for each run of each job, also for a failed one."""

from __future__ import annotations

import json
import subprocess
import uuid
from dataclasses import dataclass, field
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
        Column("input_versions", "map<string,bigint>", "the version of each table that was read"),
        Column("rows_in", "bigint", "rows read"),
        Column("rows_out", "bigint", "rows written"),
        Column("message", "string", "what the run said at its end"),
    ),
)


@dataclass
class Outcome:
    """What a run did, for the ledger and for the person."""

    message: str = ""
    rows_in: int = 0
    rows_out: int = 0
    inputs: dict[str, int] = field(default_factory=dict)
    status: str = "succeeded"


def record_run(lakehouse: Lakehouse, job: str, arguments: dict[str, Any], started: datetime, outcome: Outcome) -> None:
    """Add the run's row. The table is created by the first run."""
    seconds = (datetime.now(UTC) - started).total_seconds()
    row = (
        uuid.uuid4().hex, job, started, seconds, outcome.status, json.dumps(arguments, default=str, sort_keys=True),
        code_version(), outcome.inputs, outcome.rows_in, outcome.rows_out, outcome.message,
    )  # fmt: skip
    lakehouse.append_rows([JOB_RUNS.named(row)], JOB_RUNS)


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
