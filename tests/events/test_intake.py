"""``--available-now``: what a landing folder holds ends up as a batch run would leave it, after a kill too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.events.intake import drain, new_files, paths_of
from intent_spark.events.job import IngestEvents
from intent_spark.lakehouse.files import table_versions
from intent_spark.lakehouse.job import JobContext, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.pipeline.options import build_parser
from tests.conftest import QUICK_JAVA, ROOT
from tests.events.test_ingest import line

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("till")]
WriteTill = Callable[..., Path]
STAMPS = ("ingest_time", "batch_id", "ingest_date")


def sale(number: int, day: int, **changes: str) -> str:
    told = {"who": f"u{number}", "at": f"2026-01-{day:02} 10:{number:02}:00"}
    return line(f"{day}-{number}", **(told | changes))


@pytest.fixture
def landing(write_till: WriteTill) -> Path:
    """Six files, one of them below, with an event sent again, an unknown type and a torn line."""
    for n in range(1, 6):
        again = [sale(0, n - 1)] if n > 1 else []
        write_till(f"{n} of [6].csv", *[sale(i, n) for i in range(4)], *again, sale(9, n, what="steal"))
    file = write_till("below/6.csv", sale(0, 6), "torn")
    write_till("_hidden.csv", sale(0, 7))
    return file.parent.parent


def ingest(context: JobContext, folder: Path, *words: str) -> Outcome:
    job = IngestEvents()
    options = build_parser(job).parse_args(["--source", "till", "--input", str(folder), *words])
    return execute(job, context, options)


def elsewhere(context: JobContext, folder: Path) -> JobContext:
    return JobContext(context.settings, context.spark, Lakehouse(context.spark, str(folder)))


def held(lakehouse: Lakehouse) -> dict[str, list[Any]]:
    """Events, quarantine and the sums of the ledger, without what says when."""
    tables = {name: lakehouse.read(name).drop(*STAMPS) for name in ("events", "events_quarantine")}
    rows = {name: sorted(map(repr, frame.collect())) for name, frame in tables.items()}
    counts = lakehouse.read("ingest_ledger").selectExpr(
        "sum(`read`)", "sum(accepted)", "sum(duplicate)", "sum(quarantined)", "sum(size(files))"
    )
    return rows | {"ledger": [tuple(counts.collect()[0])]}


def test_the_same_rows_quarantine_and_ledger_as_the_batch_run(
    context: JobContext, landing: Path, tmp_path: Path, write_till: WriteTill
) -> None:
    batch = elsewhere(context, tmp_path / "batch")
    ingest(batch, landing)
    streamed = ingest(context, landing, "--available-now")
    assert held(context.lakehouse) == held(batch.lakehouse)
    one, other = (c.lakehouse.read("ingest_ledger").select("batch_id").collect() for c in (context, batch))
    assert one == other, "all files at once are the same batch"
    assert (streamed.rows_in, streamed.rows_out) == (31, 21)

    assert ingest(context, landing, "--available-now").status == "nothing_to_do"
    assert ingest(context, landing).status == "nothing_to_do", "the batch run knows what the stream brought"
    write_till("7.csv", sale(0, 7), sale(1, 7))
    assert ingest(context, landing, "--available-now").rows_out == 2
    ingest(batch, landing)
    assert held(context.lakehouse) == held(batch.lakehouse)


def test_a_refusal_is_told_as_the_batch_run_tells_it(context: JobContext, landing: Path, till: Path) -> None:
    till.write_text(till.read_text().replace("user_id: who", "user_id: customer"))
    with pytest.raises(ContractError, match="customer"):
        ingest(context, landing, "--available-now")
    assert not context.lakehouse.exists("events")
    till.write_text(till.read_text().replace("user_id: customer", "user_id: who"))
    assert ingest(context, landing, "--available-now").rows_out == 21, "what was refused is handed over again"


def test_a_folder_that_is_not_there(context: JobContext, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: there is no such folder; make it, or check --input"):
        ingest(context, tmp_path / "nowhere", "--available-now")


def test_micro_batches_are_bounded(spark: SparkSession, landing: Path, tmp_path: Path) -> None:
    seen: list[list[str]] = []
    stream = new_files(spark, str(landing), 2)
    assert drain(stream, str(tmp_path / "checkpoint"), lambda batch: seen.append(paths_of(batch))) == 3
    assert [len(paths) for paths in seen] == [2, 2, 2]
    assert all(Path(path.removeprefix("file:")).exists() for paths in seen for path in paths)


def start(landing: Path, warehouse: Path, log: Path) -> subprocess.Popen[bytes]:
    words = ["ingest_events", "--source", "till", "--input", str(landing), "--warehouse", str(warehouse)]
    words += ["--available-now", "--per-batch", "1", "--set", "events.max_bad_share=1"]
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "intent_spark.pipeline.launcher", *words], cwd=log.parent,
            env=os.environ | QUICK_JAVA | {"PYTHONPATH": str(ROOT)}, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def test_killed_in_the_middle_and_started_again(
    context: JobContext, spark: SparkSession, landing: Path, tmp_path: Path
) -> None:
    """A real process, killed (-9) between micro-batches' commits; the next goes on where it was."""
    warehouse, log = tmp_path / "streamed", tmp_path / "job.log"
    job = start(landing, warehouse, log)
    deadline = time.monotonic() + 900
    while len(table_versions(spark, str(warehouse / "events"))) < 4:  # made, and three batches in
        assert job.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    lakehouse = Lakehouse(spark, str(warehouse))
    begun = lakehouse.read("events").select("event_date").distinct().count()
    assert 3 <= begun < 6, "it was killed on its way"
    again = start(landing, warehouse, log)
    assert again.wait(900) == 0, log.read_text()
    ingest(context, landing)
    assert held(lakehouse) == held(context.lakehouse)
    days = {row[0] for row in lakehouse.read("events").select("event_date").distinct().collect()}
    assert days == {date(2026, 1, n) for n in range(1, 7)}
