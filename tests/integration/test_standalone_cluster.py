"""The same flow under ``--env standalone``: a master and a worker as processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyspark
import pytest

from tests.integration.conftest import Run, Shop, pipeline_words, rows, small_options, start_job

# One worker runs them all: they share the undisturbed warehouse.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("integration")]
START_SECONDS, RUN_SECONDS = 60, 600


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """A Spark master and one worker with two cores on loopback, each in a folder of its own."""
    log = tmp_path / "master.log"
    daemons = [_daemon("Master", ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"], log)]
    try:
        url = _wait(r"Starting Spark master at (spark://\S+)", log)
        words = ["--host", "127.0.0.1", "--webui-port", "0", "--cores", "2", "--memory", "2g"]
        daemons.append(_daemon("Worker", [*words, "--work-dir", str(tmp_path / "work"), url], tmp_path / "worker.log"))
        _wait(r"Successfully registered with master", tmp_path / "worker.log")
        yield url
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=30)


def _daemon(kind: str, words: list[str], log: Path) -> subprocess.Popen[bytes]:
    home = Path(pyspark.__file__).parent
    # No trace of the checkout: what the executors import must come with the job.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "512m"}
    command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind.lower()}.{kind}", *words]
    folder = log.with_suffix("")
    folder.mkdir()
    with log.open("wb") as output:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)


def _wait(pattern: str, log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while not (found := re.search(pattern, log.read_text(errors="replace"))):
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
        time.sleep(0.1)
    return found.group(found.lastindex or 0)


def test_the_flow_on_a_standalone_cluster(master: str, undisturbed: Run, shop: Shop, tmp_path: Path) -> None:
    warehouse, elsewhere = tmp_path / "warehouse", tmp_path / "elsewhere"
    elsewhere.mkdir()
    words = ["run_pipeline", "--env", "standalone", "--set", f"environment.master={master}"]
    words += [*pipeline_words(shop.raw, tmp_path / "report"), "--warehouse", str(warehouse), *small_options()]
    words += ["--set", "environment.executor_memory=1g", "--set", f"environment.python={sys.executable}"]
    process = start_job(words, tmp_path / "job.log", elsewhere)
    code = process.wait(timeout=RUN_SECONDS)
    assert code == 0, (tmp_path / "job.log").read_text(errors="replace")[-4000:]
    spark, root = undisturbed.lakehouse.spark, str(warehouse)
    cluster = type(undisturbed.lakehouse)(spark, root)
    found, expected = rows(cluster, "scores"), rows(undisturbed.lakehouse, "scores")
    assert list(found["user_id"]) == list(expected["user_id"])
    np.testing.assert_allclose(found["intent"], expected["intent"], atol=1e-5)
    assert (tmp_path / "report" / "index.html").exists()
    assert not list(elsewhere.iterdir()), "the job wrote into its working directory"
