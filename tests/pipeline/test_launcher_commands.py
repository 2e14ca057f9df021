from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from intent_spark.config.loading import load_settings
from intent_spark.pipeline import launcher


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been started."""
    calls: list[Any] = []
    monkeypatch.setattr(os, "execvpe", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(launcher, "_silence_incubator_warning", lambda: None)
    monkeypatch.setattr(launcher, "_wheel", lambda: Path("/w/intent_spark.whl"))
    return calls


def launch(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        launcher.main(list(words))
    return int(caught.value.code or 0)


def test_a_job_is_handed_to_spark_with_the_environments_settings(
    started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPARK_LOCAL_IP", raising=False)
    launch("ingest_events", "--set", "environment.driver_memory=1234m", "--source", "x", "--set=events.lookback_days=3")
    [(program, words, environment)] = started
    command = shlex.split(environment["PYSPARK_SUBMIT_ARGS"])
    assert program == words[0] == sys.executable
    assert command[-1] == "pyspark-shell"
    assert command[command.index("--master") + 1] == "local[*]"
    assert "spark.driver.memory=1234m" in command
    assert "spark.sql.session.timeZone=UTC" in command
    assert words[1].endswith("/jobs/ingest_events.py")
    assert words[2:4] == ["--set", "environment.driver_memory=1234m"]
    assert environment["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert "--py-files" not in command


def test_a_cluster_is_sent_the_package(started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARK_LOCAL_IP", raising=False)
    launch("score_users", "--env=standalone", "--set", "environment.master=spark://h:7077")
    [(_, _, environment)] = started
    command = shlex.split(environment["PYSPARK_SUBMIT_ARGS"])
    assert command[command.index("--master") + 1] == "spark://h:7077"
    assert command[command.index("--py-files") + 1] == "/w/intent_spark.whl"
    assert "spark.executor.memory=2g" in command
    assert "SPARK_LOCAL_IP" not in environment


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing"], "spark-submit.sh: unknown job 'nothing'; the jobs are "),
        (["show_status", "--env", "moon"], "unknown environment 'moon'"),
        (["show_status", "--set", "training.ranks=0"], "--set: key 'training.ranks': found '0'"),
        (["show_status", "--set=training.ranks"], "--set training.ranks: expected key=value"),
    ],
)
def test_refusals_start_nothing(
    started: list[Any], capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert launch(*words) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
    assert started == []


def test_usage_lists_the_jobs(started: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert launch("--help") == 0
    assert launch() == 2
    shown = capsys.readouterr().out
    assert all(f"  {name}\n" in shown for name in launcher.job_names()[:-1])
    assert started == []


def test_every_job_file_is_thin_and_known() -> None:
    files = [path for path in launcher.jobs_folder().glob("*.py") if path.stem != "__init__"]
    assert (
        {path.stem for path in files} == set(launcher.job_names()) >= {"ingest_events", "run_pipeline", "show_status"}
    )
    assert all(len(path.read_text().splitlines()) < 40 for path in files)
    assert load_settings().environment.master == "local[*]"
