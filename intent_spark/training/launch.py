"""Start the ranks of a training: one process beside the driver, or Horovod's ranks inside Spark's tasks."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pyspark.sql import SparkSession

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.log import LOGGER
from intent_spark.training.rank import ENTRY, RESULT, RankTask

Launcher = Literal["auto", "single", "spark"]


def run_ranks(spark: SparkSession, task: RankTask, ranks: int, nic: str | None) -> None:
    """Run the task on ``ranks`` ranks and return when rank 0 has written its result.

    Raises:
        UsageError: the launcher cannot start so many ranks here.
        ContractError: a rank refused its data.
        RuntimeError: a rank failed; the message ends with that rank's own error.
    """
    try:
        if task.distributed:
            _run_in_spark(spark, task, ranks, nic)
        else:
            _run_beside_driver(task)
    except (UsageError, ContractError):
        raise
    except Exception as error:
        raise_rank_error(Path(task.scratch), error)
    if not (Path(task.scratch) / RESULT).is_file():
        raise_rank_error(Path(task.scratch), None)


def is_distributed(launcher: Launcher, ranks: int) -> bool:
    """Whether Horovod is used; ``auto`` uses it for two ranks and more.

    Raises:
        UsageError: launcher ``single`` cannot run several ranks.
    """
    if launcher == "single" and ranks > 1:
        raise UsageError(f"launcher single runs 1 rank, not {ranks}: set training.launcher to spark, or ranks to 1.")
    return launcher == "spark" or ranks > 1


def check_slots(spark: SparkSession, ranks: int) -> None:
    """Refuse at once what Horovod would wait for ten minutes, holding the slots there are.

    Raises:
        UsageError: Spark cannot run ``ranks`` tasks at a time.
    """
    context: Any = spark.sparkContext._jsc.sc()
    slots = int(context.maxNumConcurrentTasks(context.resourceProfileManager().defaultResourceProfile()))
    if slots < ranks:
        raise UsageError(
            f"{ranks} ranks need {ranks} free task slots at a time, but Spark has {slots} (master "
            f"{spark.sparkContext.master}): ask for fewer ranks or start more executor cores."
        )


def interface_of(host: str) -> str:
    """The network interface that has the address of ``host`` on this machine.

    Raises:
        UsageError: none has it.
    """
    import psutil

    address = socket.gethostbyname(host)
    if address.startswith("127."):
        return "lo"
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address == address for entry in addresses):
            return str(name)
    raise UsageError(f"no network interface has the driver's address {address}: set environment.network_interface.")


def raise_rank_error(scratch: Path, cause: BaseException | None) -> None:
    """Raise the error that a rank wrote down: a refusal first, then one that is no echo of another rank's."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(scratch.glob("error-*.json"))]
    reports.sort(key=lambda report: (not report["refused"], _is_echo(report)))
    if not reports:
        raise RuntimeError(f"Training ended without a result and no rank said why: {cause}") from cause
    first = reports[0]
    if first["refused"]:
        raise ContractError(first["error"]) from cause
    who = f"Rank {first['rank']} failed"
    if _is_echo(first):
        who = f"A rank ended without a word (killed, or out of memory?); rank {first['rank']} then failed"
    raise RuntimeError(f"{who}: {first['error']}\n{first['traceback']}") from cause


def _is_echo(report: dict[str, Any]) -> bool:
    """Whether the rank failed only because another one was gone."""
    return "HorovodInternalError" in report["traceback"] or "Horovod has been shut down" in report["error"]


class RankOutput:
    """A text stream that passes what ranks write on to the driver's standard error, without prefix."""

    _PREFIX = re.compile(r"^\[\d+\]<std(?:err|out)>:", re.MULTILINE)

    def write(self, text: str) -> int:
        """Write through to standard error as it is now."""
        sys.stderr.write(self._PREFIX.sub("", text))
        return len(text)

    def flush(self) -> None:
        """Flush standard error."""
        sys.stderr.flush()


def _run_beside_driver(task: RankTask) -> None:
    payload = Path(task.scratch) / "task.json"
    payload.write_text(task.to_json(), encoding="utf-8")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3"} | os.environ | {"PYTHONPATH": path}
    subprocess.run([sys.executable, "-m", ENTRY.split(":")[0], str(payload)], env=environment, check=True)


def _run_in_spark(spark: SparkSession, task: RankTask, ranks: int, nic: str | None) -> None:
    import cloudpickle
    import horovod.spark

    from intent_spark.training import bootstrap

    check_slots(spark, ranks)
    # Horovod tries its TensorFlow extension in a fork of the driver, and that is loud.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    cloudpickle.register_pickle_by_value(bootstrap)
    interface = nic or interface_of(spark.conf.get("spark.driver.host") or "localhost")
    with _quiet_threads():
        horovod.spark.run(
            bootstrap.run_entry,
            args=(ENTRY, task.to_json(), [entry for entry in sys.path if entry]),
            num_proc=ranks,
            use_gloo=True,
            nics={interface},
            executable=spark.sparkContext.pythonExec,
            stderr=RankOutput(),
            verbose=0,
        )


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """Keep the stack trace of Horovod's own thread, cancelled because a rank failed, off the screen."""
    before = threading.excepthook
    threading.excepthook = lambda failed: LOGGER.debug("a launcher thread ended: %s", failed.exc_type.__name__)
    try:
        yield
    finally:
        threading.excepthook = before
