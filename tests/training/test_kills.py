"""Ranks that are killed: what a job says then, and that it goes on where it was. Every kill is a real one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from pyspark.sql import SparkSession

from intent_spark.config.training import CheckpointSettings, FeedSettings, HorovodSettings, TrainingSettings
from intent_spark.models.candidates import WEIGHTS, weights_from_npz
from intent_spark.training.launch import run_ranks
from intent_spark.training.launchers import Elastic, Horovodrun, InSpark, Launcher
from intent_spark.training.rank import FILES, RESULT
from intent_spark.training.task import RankTask
from tests.training.synthetic import examples_table, write_examples
from tests.training.test_loop_net import SCHEMA, config

pytestmark = pytest.mark.slow
# Rows of so many events at most that a megabyte holds few of them: the feed goes by windows.
LONG = replace(SCHEMA, max_length=400)
EPOCHS = 3


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> RankTask:
    folder = tmp_path_factory.mktemp("kills")
    version = write_examples(folder / "examples", examples_table(1200, max_length=8), row_group_rows=30)
    return RankTask(
        str(folder / "examples"), version, str(folder), LONG, config(max_epochs=EPOCHS, patience=9), ["lstm"], 7,
        distributed=False, feed=FeedSettings(memory_mb=1), checkpoints=CheckpointSettings(every_steps=1),
    )  # fmt: skip


def in_folder(task: RankTask, folder: Path, **changes: object) -> RankTask:
    folder.mkdir()
    return replace(task, scratch=str(folder), **changes)  # type: ignore[arg-type]


def weights(task: RankTask) -> bytes:
    return (Path(task.scratch) / FILES / "lstm" / WEIGHTS).read_bytes()


def losses(task: RankTask) -> list[tuple[float, float]]:
    result = json.loads((Path(task.scratch) / RESULT).read_text())
    return [(epoch["train_loss"], epoch["validation_loss"]) for epoch in result["histories"]["lstm"]]


def updates_kept(task: RankTask) -> int:
    return max((int(path.stem) for path in (Path(task.scratch) / "checkpoints" / "lstm").glob("*.npz")), default=0)


def start(task: RankTask) -> subprocess.Popen[bytes]:
    payload = Path(task.scratch) / "task.json"
    payload.write_text(task.to_json())
    return subprocess.Popen(
        [sys.executable, "-m", "intent_spark.training.rank", str(payload)], stderr=subprocess.PIPE, env=os.environ
    )


def wait_for(what: Callable[[], object], seconds: float = 600) -> object:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)
    return found


def test_one_rank_killed_again_and_again_ends_with_the_same_bits(task: RankTask, tmp_path: Path) -> None:
    undisturbed, killed = (in_folder(task, tmp_path / name) for name in ("undisturbed", "killed"))
    assert start(undisturbed).wait(timeout=900) == 0
    for_all = updates_kept(undisturbed)
    for wanted in (3, for_all // 2):
        process = start(killed)
        wait_for(lambda wanted=wanted: updates_kept(killed) >= wanted)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert for_all // 2 <= updates_kept(killed) < for_all
    process = start(killed)
    _, told = process.communicate(timeout=900)
    assert process.returncode == 0, told.decode()
    assert re.search(rb"step=train_intent.resume network=lstm epoch=\d+ step_done=\d+", told)
    assert weights(killed) == weights(undisturbed)
    assert losses(killed) == losses(undisturbed)
    assert len(losses(killed)) == EPOCHS
    assert len(list((Path(killed.scratch) / "checkpoints" / "lstm").iterdir())) == 2, "the last two are kept"


def rank_process(number: int) -> psutil.Process:
    """The Python of a rank, whoever of this process's descendants started it."""
    for process in psutil.Process().children(recursive=True):
        try:
            if process.environ().get("HOROVOD_RANK") == str(number) and "python" in process.cmdline()[0]:
                return process
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess, IndexError):
            continue
    raise AssertionError(f"rank {number} is not running")


def run(launcher: Launcher, task: RankTask, ranks: int) -> Future[None]:
    return ThreadPoolExecutor(1).submit(run_ranks, launcher, task, ranks)


def settings(**changes: object) -> TrainingSettings:
    return TrainingSettings.model_validate({"ranks": 2, "launcher": "horovodrun"} | changes)


def test_a_killed_rank_ends_the_job_and_both_go_on(task: RankTask, tmp_path: Path) -> None:
    traced = HorovodSettings(timeline=str(tmp_path / "timeline.json"), fusion_threshold_mb=1, cycle_time_ms=0.5)
    two = {"distributed": True, "horovod": traced}
    undisturbed, killed = (in_folder(task, tmp_path / name, **two) for name in ("undisturbed", "killed"))
    launcher = Horovodrun(2, settings(), "lo")
    run(launcher, undisturbed, 2).result(timeout=900)
    assert '"name": "ALLREDUCE"' in Path(traced.timeline or "").read_text()
    for victim, updates in ((1, 5), (0, 15)):
        job = run(launcher, killed, 2)
        wait_for(lambda updates=updates: updates_kept(killed) >= updates)
        rank_process(victim).send_signal(signal.SIGKILL)
        died = time.monotonic()
        with pytest.raises(RuntimeError, match="[Rr]ank .*ended without a word"):
            job.result(timeout=60)
        assert time.monotonic() - died < 30
        assert not (Path(killed.scratch) / RESULT).exists()
        for left in Path(killed.scratch).glob("error-*.json"):
            left.unlink()
    run(launcher, killed, 2).result(timeout=900)
    assert losses(killed) == pytest.approx(losses(undisturbed), abs=1e-6)
    found, wanted = (weights_from_npz(weights(one)) for one in (killed, undisturbed))
    for path, values in wanted.items():
        np.testing.assert_allclose(found[path], values, atol=1e-6, err_msg=path)


def test_a_rank_killed_within_spark_ends_the_job_and_both_go_on(
    spark: SparkSession, task: RankTask, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    killed = in_folder(task, tmp_path / "killed", distributed=True)
    launcher = InSpark(spark, 2, "lo")

    def kill() -> float:
        wait_for(lambda: updates_kept(killed) >= 5)
        rank_process(1).send_signal(signal.SIGKILL)
        return time.monotonic()

    # Horovod's own fork of the driver wants the main thread.
    killer = ThreadPoolExecutor(1).submit(kill)
    with pytest.raises(RuntimeError, match="[Rr]ank .*ended without a word"):
        run_ranks(launcher, killed, 2)
    assert time.monotonic() - killer.result() < 30
    assert not (Path(killed.scratch) / RESULT).exists()
    for left in Path(killed.scratch).glob("error-*.json"):
        left.unlink()
    run_ranks(launcher, killed, 2)
    assert re.search(r"step=train_intent.resume network=lstm epoch=\d+ step_done=\d+", capfd.readouterr().err)
    assert len(losses(killed)) == EPOCHS


def test_elastic_training_goes_on_without_one_of_two_workers(
    task: RankTask, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    elastic = {"distributed": True, "elastic": True, "horovod": HorovodSettings(commit_steps=2)}
    longer = in_folder(task, tmp_path / "elastic", **elastic, config=config(max_epochs=6, patience=9))
    launcher = Elastic(2, settings(launcher="elastic"), "lo")
    job = run(launcher, longer, 2)
    wait_for(lambda: updates_kept(longer) >= 12)
    rank_process(1).send_signal(signal.SIGKILL)
    job.result(timeout=900)
    assert len(losses(longer)) == 6
    told = capfd.readouterr().err
    assert re.findall(r"step=train_intent.workers ranks=(\d)", told) == ["2", "1"]
    assert losses(longer)[-1][1] < losses(longer)[0][1]


def test_a_worker_that_comes_later_joins_an_elastic_training(
    task: RankTask, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hosts, script = tmp_path / "hosts", tmp_path / "hosts.sh"
    hosts.write_text("localhost:1\n")
    script.write_text(f"#!/bin/sh\ncat {hosts}\n")
    script.chmod(0o755)
    elastic = {"distributed": True, "elastic": True, "horovod": HorovodSettings(commit_steps=2)}
    longer = in_folder(task, tmp_path / "elastic", **elastic, config=config(max_epochs=30, patience=30))
    discovered = settings(launcher="elastic", ranks=1, max_ranks=2, host_discovery_script=str(script))
    job = run(Elastic(1, discovered, "lo"), longer, 1)
    wait_for(lambda: updates_kept(longer) >= 3)
    hosts.write_text("localhost:2\n")
    job.result(timeout=900)
    assert len(losses(longer)) == 30
    told = capfd.readouterr().err
    assert re.findall(r"step=train_intent.workers ranks=(\d)", told) == ["1", "2"]
