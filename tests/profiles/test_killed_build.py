"""build_profiles killed at random points and run again: the same bytes of data as a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from pyspark.sql import SparkSession

from intent_spark.config.loading import conf_dir
from intent_spark.lakehouse.lakehouse import Lakehouse
from tests.integration.conftest import start_job
from tests.profiles.frames import add_events, at, bytes_by_partition, day, small_features, windowed
from tests.profiles.naive_oracle import Shop
from tests.profiles.test_against_oracle import long_histories

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("profiles")]

# By way of days throughout: left to itself, the planner goes by what the last runs took.
RANGE = ("--start-date", "2026-03-19", "--end-date", "2026-03-21", "--strategy", "roll")
# Each run that is killed goes another way about it; what one leaves half done the next one finds.
KILLED: tuple[tuple[str, ...], ...] = (("--parallelism", "2"), ("--staged",), ())
PATIENCE_SECONDS = 900


@pytest.fixture
def small_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration with every kind of fold, and plans that are not compiled, for the jobs that the test starts."""
    conf = tmp_path / "conf"
    shutil.copytree(conf_dir(), conf)
    buys = {"event_types": ["purchase"]}
    declared = [
        windowed("n", "count", [2, "lifetime"]), windowed("spend", "sum", [7], value="price * quantity", **buys),
        windowed("dearest", "max", [7], value="price"), windowed("categories", "distinct", [7], value="category", cap=16),
        windowed("seen", "count", [7], by="category"), windowed("gap", "intervals", ["lifetime"], **buys),
    ]  # fmt: skip
    features = small_features(windowed=declared, derived=[]).model_dump(mode="json", exclude_none=True)
    (conf / "features.yaml").write_text(yaml.safe_dump(features), encoding="utf-8")
    local = yaml.safe_load((conf / "env" / "local.yaml").read_text(encoding="utf-8"))
    local["conf"] |= {
        "spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.sql.shuffle.partitions": "2", "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    }  # fmt: skip
    (conf / "env" / "local.yaml").write_text(yaml.safe_dump(local), encoding="utf-8")
    monkeypatch.setenv("INTENT_SPARK_CONF", str(conf))


def start(warehouse: Path, log: Path, *more: str) -> subprocess.Popen[bytes]:
    return start_job(["build_profiles", *RANGE, *more, "--warehouse", str(warehouse)], log, warehouse.parent)


def steps(log: Path) -> int:
    """Pieces of work that a job has told of."""
    return log.read_text(errors="replace").count("step=build_profiles.")


def run_to_end(warehouse: Path, log: Path) -> int:
    process = start(warehouse, log)
    assert process.wait(PATIENCE_SECONDS) == 0, log.read_text(errors="replace")[-3000:]
    return steps(log)


def kill_after(warehouse: Path, log: Path, told: int, delay: float, *more: str) -> bool:
    """Kill the job and all its processes so long after so many steps; False where it ended before."""
    process = start(warehouse, log, *more)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while steps(log) < told and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(delay)
    ended = process.poll() is not None
    if not ended:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return not ended


def test_killed_at_random_points(spark: SparkSession, tmp_path: Path, small_conf: None) -> None:
    """Each run goes on from where the last one was killed, and is killed in turn."""
    rng, whole, broken = random.Random(5), tmp_path / "whole", tmp_path / "broken"
    recent = [e for e in long_histories(6, day("2026-03-20"), Shop("UTC")) if e.time >= at("2026-03-08")]
    add_events(Lakehouse(spark, str(whole)), recent, "b1")
    shutil.copytree(whole, broken)
    count = run_to_end(whole, tmp_path / "log")
    killed = [
        kill_after(broken, tmp_path / f"log{n}", rng.randint(0, count // 2), rng.random(), *more)
        for n, more in enumerate(KILLED)
    ]  # fmt: skip
    assert any(killed), "no run was killed before its end"
    run_to_end(broken, tmp_path / "last")
    undisturbed, resumed = Lakehouse(spark, str(whole)), Lakehouse(spark, str(broken))
    for table in ("user_days", "profile_states", "profiles", "profile_stats"):
        assert bytes_by_partition(resumed, table) == bytes_by_partition(undisturbed, table), table
