"""Each event once and a true ledger: whoever ingests at the same moment, and wherever a run is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from intent_spark.config.settings import Settings
from intent_spark.events import ingestion
from intent_spark.events import replay as replaying
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Lakehouse
from tests.conftest import QUICK_JAVA, ROOT
from tests.events.test_ingest import counts, ids, ledger, line
from tests.events.test_replay import check_totals, mend, replay

Ingest = Callable[..., Outcome]
WriteTill = Callable[..., Path]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("till")]


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Callable[[], Any]], None]:
    """Have something happen once, between the decision about a batch and its commit."""

    def arrange(module: Any, happens: Callable[[], Any]) -> None:
        commit, waiting = module.commit, [happens]

        def late(*arguments: Any) -> Any:
            if waiting:
                waiting.pop()()
            return commit(*arguments)

        monkeypatch.setattr(module, "commit", late)

    return arrange


def test_another_input_with_the_same_events_comes_between(
    context: JobContext, ingest: Ingest, write_till: WriteTill, between: Callable[..., None]
) -> None:
    ingest("till", write_till("0.csv", line("z")))
    ours, theirs = write_till("1.csv", line("a"), line("b"), "torn"), write_till("2.csv", line("b"), line("c"))
    between(ingestion, lambda: ingest("till", theirs))
    ingest("till", ours)
    assert ids(context) == ["a", "b", "c", "z"]
    assert sorted(counts(row) for row in ledger(context)) == [(1, 1, 0, 0), (2, 2, 0, 0), (3, 1, 1, 1)]
    check_totals(context)


def test_the_first_ingestions_of_a_warehouse_meet(
    context: JobContext, ingest: Ingest, write_till: WriteTill, between: Callable[..., None]
) -> None:
    ours, theirs = write_till("1.csv", line("a"), line("b")), write_till("2.csv", line("b"), line("c"))
    between(ingestion, lambda: ingest("till", theirs))
    ingest("till", ours)
    assert ids(context) == ["a", "b", "c"]
    check_totals(context)


def test_the_same_input_comes_between(
    context: JobContext, ingest: Ingest, write_till: WriteTill, between: Callable[..., None]
) -> None:
    file = write_till("1.csv", line("a"), line("a"), "torn")
    between(ingestion, lambda: ingest("till", file))
    assert ingest("till", file).message.endswith("read 3 = accepted 1 + duplicate 1 + quarantined 1")
    assert [counts(row) for row in ledger(context)] == [(3, 1, 1, 1)]
    check_totals(context)


def test_one_of_the_files_comes_between(
    context: JobContext, ingest: Ingest, write_till: WriteTill, between: Callable[..., None]
) -> None:
    """It is in the batch that came first, and its refused rows stand in the quarantine once."""
    first, second = write_till("1.csv", line("a"), "torn"), write_till("2.csv", line("b"), "torn too")
    between(ingestion, lambda: ingest("till", first))
    ingest("till", second.parent)
    assert ids(context) == ["a", "b"]
    assert [counts(row) for row in ledger(context)] == [(2, 1, 0, 1), (2, 1, 0, 1)]
    check_totals(context)


def test_the_same_replay_comes_between(
    context: JobContext, ingest: Ingest, write_till: WriteTill, between: Callable[..., None], till: Path
) -> None:
    ingest("till", write_till("1.csv", line("a"), line("b", what="pay"), line("c", what="pay")))
    mend(till, "sale: purchase", "sale: purchase, pay: purchase")
    between(replaying, lambda: replay(context, "unknown_event_type"))
    replay(context, "unknown_event_type")
    assert ids(context) == ["a", "b", "c"]
    assert [counts(row) for row in ledger(context)] == [(3, 1, 0, 2), (2, 2, 0, 0)]
    check_totals(context)


def test_what_attempts_without_a_commit_have_staged_is_swept(
    context: JobContext, ingest: Ingest, write_till: WriteTill
) -> None:
    old, new = (Path(context.lakehouse.path(f"_staging/{name}")) for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, time.time() - 3 * 86_400))
    ingest("till", write_till("1.csv", line("a"), "torn"))
    assert not old.exists() and new.exists()


def start(folder: Path, warehouse: Path, raw: Path) -> subprocess.Popen[str]:
    """A driver of its own, in a process group of its own."""
    words = ["ingest_events", "--source", "till", "--input", str(raw), "--warehouse", str(warehouse)]
    words += ["--set", "events.max_bad_share=1"]
    environment = os.environ | QUICK_JAVA | {"PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-m", "intent_spark.pipeline.launcher", *words], cwd=folder, env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def kill_at(process: subprocess.Popen[str], mark: str, delay: float) -> str:
    """kill -9 of the whole driver once it has logged a step; gives what it had said."""
    said = []
    assert process.stderr
    for told in process.stderr:
        said.append(told)
        if f"step=ingest_events.{mark} " in told:
            time.sleep(delay)
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.wait()
    return "".join(said)


DRAW = random.Random(20)
KILLS = [
    ("inspect", 0.0), ("map", 0.0), ("decide", 0.0), ("decide", DRAW.uniform(0.2, 0.9)), ("write_events", 0.0),
    ("write_events", DRAW.uniform(0.1, 0.6)), ("write_quarantine", 0.0),
]  # fmt: skip


def test_a_driver_killed_anywhere_is_completed_by_the_next(
    context: JobContext, settings: Settings, write_till: WriteTill, tmp_path: Path, ingest_into: Callable[..., Outcome]
) -> None:
    """The next run meets the file re-delivered under another name, with ten more lines."""
    first = [line(f"e{n}", at=f"2026-01-{1 + n % 20:02d} 10:00:00") for n in range(40)] + [
        line("e1", at="2026-01-02 11:00:00"),
        "torn",
    ]
    raw = write_till("1.csv", *first).parent

    def killed(number: int) -> str:
        return kill_at(start(tmp_path, tmp_path / f"killed-{number}", raw), *KILLS[number])

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(killed, range(len(KILLS))))
    assert all(f"step=ingest_events.{mark} " in said for (mark, _), said in zip(KILLS, told, strict=True)), told
    (raw / "1.csv").unlink()
    write_till("again.csv", *first, *[line(f"more{n}") for n in range(10)])
    for number, kill in enumerate(KILLS):
        after = JobContext(settings, context.spark, Lakehouse(context.spark, str(tmp_path / f"killed-{number}")))
        begun = after.lakehouse.exists("events") and not after.lakehouse.read("events").isEmpty()
        ingest_into(after, "till", raw)
        assert ids(after) == sorted([f"e{n}" for n in range(40)] + [f"more{n}" for n in range(10)]), kill
        expected = [(42, 40, 1, 1), (52, 10, 41, 1)] if begun else [(52, 50, 1, 1)]
        assert sorted(counts(row) for row in ledger(after)) == expected, kill
        check_totals(after)
        assert ingest_into(after, "till", raw).status == "nothing_to_do"


def test_drivers_at_the_same_moment(context: JobContext, write_till: WriteTill, tmp_path: Path, ingest: Ingest) -> None:
    """Two with the same input, one with another that shares half of the events."""
    ours = write_till("1.csv", *[line(f"e{n}") for n in range(60)], "torn")
    theirs = write_till("2.csv", *[line(f"e{n}") for n in range(30, 90)], "torn too")
    drivers = [start(tmp_path, Path(context.lakehouse.root), raw) for raw in (ours, theirs, ours)]
    told = [driver.communicate(timeout=900)[1] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0, 0], told
    assert ids(context) == sorted(f"e{n}" for n in range(90))
    rows = [counts(row) for row in ledger(context)]
    assert sorted(rows) in ([(61, 30, 30, 1), (61, 60, 0, 1)],), rows
    check_totals(context)
    assert ingest("till", ours.parent).status == "nothing_to_do"
