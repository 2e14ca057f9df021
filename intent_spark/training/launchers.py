"""Where a training's ranks run: beside the driver, in Spark's tasks, or as processes that horovodrun starts."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pyspark.sql import SparkSession

from intent_spark.config.errors import UsageError
from intent_spark.config.log import LOGGER
from intent_spark.config.training import LauncherName, TrainingSettings
from intent_spark.training.bootstrap import end_with_parent
from intent_spark.training.rank import ENTRY, RESULT
from intent_spark.training.task import RankTask

HERE = "localhost"


class Launcher(Protocol):
    """One way to run a training's ranks."""

    @property
    def name(self) -> LauncherName:
        """As the configuration calls it."""

    @property
    def distributed(self) -> bool:
        """Whether ranks talk by Horovod."""

    def check(self) -> None:
        """Refuse at once what cannot be started here.

        Raises:
            UsageError: it cannot.
        """

    def run(self, task: RankTask) -> None:
        """Start the ranks and return when all have ended. Raises whatever says that one failed."""


@dataclass(frozen=True)
class Single:
    """One rank, a process beside the driver, without Horovod."""

    ranks: int
    name: LauncherName = "single"
    distributed = False

    def check(self) -> None:
        """One rank only."""
        if self.ranks > 1:
            raise UsageError(
                f"launcher single runs 1 rank, not {self.ranks}: set training.launcher to spark or horovodrun, or "
                "ranks to 1."
            )

    def run(self, task: RankTask) -> None:
        """A process of its own: TensorFlow's memory is given back with it."""
        words = [sys.executable, "-m", ENTRY.split(":")[0], str(_payload(task))]
        subprocess.run(words, env=_environment(), check=True)


@dataclass(frozen=True)
class InSpark:
    """Horovod's ranks inside Spark's tasks."""

    spark: SparkSession
    ranks: int
    interface: str | None
    name: LauncherName = "spark"
    distributed = True

    def check(self) -> None:
        """As many free slots as ranks."""
        check_slots(self.spark, self.ranks)

    def run(self, task: RankTask) -> None:
        """By ``horovod.spark.run``, over one network interface that the driver has too."""
        import cloudpickle
        import horovod.spark

        from intent_spark.training import bootstrap

        # Horovod tries its TensorFlow extension in a fork of the driver, and that is loud.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        cloudpickle.register_pickle_by_value(bootstrap)
        interface = self.interface or interface_of(self.spark.conf.get("spark.driver.host") or HERE)
        with _quiet_threads():
            horovod.spark.run(
                bootstrap.run_entry,
                args=(ENTRY, task.to_json(), [entry for entry in sys.path if entry]),
                num_proc=self.ranks,
                use_gloo=True,
                nics={interface},
                executable=self.spark.sparkContext.pythonExec,
                stderr=RankOutput(),
                verbose=0,
            )


@dataclass(frozen=True)
class Horovodrun:
    """Processes on named hosts, started by horovodrun over ssh; on this machine where no host is named."""

    ranks: int
    settings: TrainingSettings
    interface: str | None
    name: LauncherName = "horovodrun"
    distributed = True

    def check(self) -> None:
        """As many slots as ranks."""
        slots = sum(int(host.rpartition(":")[2]) for host in self.hosts.split(","))
        if slots < self.ranks:
            raise UsageError(
                f"{self.ranks} ranks need {self.ranks} slots, but training.hosts ({self.hosts}) has {slots}: name more "
                "hosts, or ask for fewer ranks."
            )

    @property
    def hosts(self) -> str:
        """``HOST:SLOTS,…``."""
        return self.settings.hosts or f"{HERE}:{self.ranks}"

    def run(self, task: RankTask) -> None:
        """One process a rank; where one ends with an error horovodrun ends the others."""
        _horovodrun([*self.words(), "-H", self.hosts], task)

    def words(self) -> list[str]:
        """Options of horovodrun that every way of starting has."""
        words = ["-np", str(self.ranks), "--gloo"]
        interface = self.interface or (None if self.settings.hosts else "lo")
        return [*words, "--network-interfaces", interface] if interface else words


@dataclass(frozen=True)
class Elastic(Horovodrun):
    """Workers that may die or join, from ``min_ranks`` to ``max_ranks`` of them."""

    name: LauncherName = "elastic"

    def check(self) -> None:
        """As many slots as ranks to begin with, unless a script says which hosts there are; sensible bounds."""
        most = self.settings.max_ranks or self.ranks
        if not self.settings.min_ranks <= self.ranks <= most:
            raise UsageError(
                f"launcher elastic begins with {self.ranks} ranks, which is not from training.min_ranks "
                f"({self.settings.min_ranks}) to training.max_ranks ({most}): change one of the three."
            )
        if self.settings.host_discovery_script:
            if not os.access(self.settings.host_discovery_script, os.X_OK):
                raise UsageError(
                    f"training.host_discovery_script {self.settings.host_discovery_script} is no executable file: "
                    "name one that prints HOST:SLOTS lines."
                )
        else:
            super().check()

    def run(self, task: RankTask) -> None:
        """By horovodrun; a worker's death is no error, as long as the others end the training."""
        bounds = ["--min-np", str(self.settings.min_ranks), "--max-np", str(self.settings.max_ranks or self.ranks)]
        script = self.settings.host_discovery_script or str(self._script(Path(task.scratch)))
        try:
            _horovodrun([*self.words(), *bounds, "--host-discovery-script", script], task)
        except subprocess.CalledProcessError:
            if not (Path(task.scratch) / RESULT).is_file():
                raise
            LOGGER.warning("step=train_intent.ranks workers died on the way; the others ended the training")

    def _script(self, scratch: Path) -> Path:
        """Prints the hosts. A failed worker's host is not used again, so this machine goes by two names."""
        script = scratch / "hosts.sh"
        names = self.settings.hosts.split(",") if self.settings.hosts else _names_of_this_machine(self.ranks)
        script.write_text("\n".join(["#!/bin/sh", *(f"echo {name}" for name in names)]) + "\n", encoding="utf-8")
        script.chmod(0o755)
        return script


def _names_of_this_machine(ranks: int) -> list[str]:
    half = ranks // 2
    return [f"{HERE}:{ranks - half}", *([f"127.0.0.1:{half}"] if half else [])]


def launcher_of(
    name: LauncherName, spark: SparkSession, ranks: int, settings: TrainingSettings, interface: str | None
) -> Launcher:
    """The launcher of this name; ``auto`` is ``single`` for one rank and ``spark`` for more."""
    if name == "auto":
        name = "spark" if ranks > 1 else "single"
    if name == "single":
        return Single(ranks)
    if name == "spark":
        return InSpark(spark, ranks, interface)
    kinds = {"horovodrun": Horovodrun, "elastic": Elastic}
    return kinds[name](ranks, settings, interface)


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


def _payload(task: RankTask) -> Path:
    payload = Path(task.scratch) / "task.json"
    payload.write_text(task.to_json(), encoding="utf-8")
    return payload


def _environment() -> dict[str, str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {"TF_CPP_MIN_LOG_LEVEL": "3"} | os.environ | {"PYTHONPATH": path}


def _horovodrun(options: list[str], task: RankTask) -> None:
    """Raises CalledProcessError where horovodrun does not end well."""
    rank = [sys.executable, "-m", ENTRY.split(":")[0], str(_payload(task))]
    words = [sys.executable, "-m", __name__, *options, *rank]
    with subprocess.Popen(words, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        output = RankOutput()
        for line in iter(process.stdout.readline, b""):
            output.write(line.decode(errors="replace"))
            output.flush()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words[:3])


@contextmanager
def _quiet_threads() -> Iterator[None]:
    """Keep the stack trace of Horovod's own thread, cancelled because a rank failed, off the screen."""
    before = threading.excepthook
    threading.excepthook = lambda failed: LOGGER.debug("a launcher thread ended: %s", failed.exc_type.__name__)
    try:
        yield
    finally:
        threading.excepthook = before


if __name__ == "__main__":
    # horovodrun, which ends when the driver does and takes its ranks along.
    from horovod.runner.launch import run_commandline

    end_with_parent(signal.SIGTERM)
    run_commandline()
