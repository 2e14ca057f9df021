"""A Spark standalone cluster on loopback: a master and a worker as processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyspark

START_SECONDS = 300


@dataclass(frozen=True)
class Cluster:
    """Where the master listens, and the worker's process."""

    url: str
    worker: subprocess.Popen[bytes]
    work: Path

    def executors(self) -> list[psutil.Process]:
        """The executors that run now; each is a child of the worker."""
        return [p for p in psutil.Process(self.worker.pid).children() if p.status() != psutil.STATUS_ZOMBIE]

    def complaints(self) -> str:
        """What executors wrote that is no information, for a failed test's message."""
        logs = (path.read_text(errors="replace") for path in sorted(self.work.rglob("stderr")))
        lines = (line for log in logs for line in log.splitlines() if " INFO " not in line)
        return "\n".join(list(lines)[-60:])

    def options(self, python: str) -> list[str]:
        """What a job is told to run here."""
        words = ["--env", "standalone", "--set", f"environment.master={self.url}"]
        return [*words, "--set", "environment.executor_memory=1g", "--set", f"environment.python={python}"]


@contextmanager
def standalone(folder: Path) -> Iterator[Cluster]:
    """A master and one worker with two cores, each in a folder of its own."""
    log = folder / "master.log"
    daemons = [_daemon("Master", ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"], log)]
    try:
        url = _wait(r"Starting Spark master at (spark://\S+)", log)
        words = ["--host", "127.0.0.1", "--webui-port", "0", "--cores", "2", "--memory", "2g"]
        daemons.append(_daemon("Worker", [*words, "--work-dir", str(folder / "work"), url], folder / "worker.log"))
        _wait(r"Successfully registered with master", folder / "worker.log")
        yield Cluster(url, daemons[1], folder / "work")
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
