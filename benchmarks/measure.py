"""Seconds and the most memory of one piece of work, and the session that benchmarks share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import SparkSession

from intent_spark.config.loading import load_settings
from intent_spark.lakehouse.session import spark_session

Row = dict[str, object]


def session(folder: str, partitions: int) -> SparkSession:
    """The local environment's session, its spill under a folder."""
    environment = load_settings().environment
    conf = environment.conf | {
        "spark.sql.shuffle.partitions": str(partitions),
        "spark.local.dir": folder,
        "spark.ui.showConsoleProgress": "false",
    }
    return spark_session(environment.model_copy(update={"conf": conf}), "benchmark")


def timed(spark: SparkSession, way: str, work: Callable[[], object]) -> Row:
    """Do the work once: ``way``, ``seconds`` of the wall clock, ``peak GB`` of Java and Python."""
    _forget_peak(spark)
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    return {"way": way, "seconds": round(seconds, 2), "peak GB": round(_peak_gigabytes(spark), 1)}


def with_ratios(rows: list[Row], others: dict[str, Row]) -> list[Row]:
    """The rows with what each took as a share of some of them, by the column's name."""
    for row in rows:
        row |= {f"/ {name}": round(row["seconds"] / other["seconds"], 2) for name, other in others.items()}  # type: ignore[operator]
    return rows


def _java(spark: SparkSession) -> int:
    return int(spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid())  # type: ignore[union-attr]


def _forget_peak(spark: SparkSession) -> None:
    for process in (_java(spark), os.getpid()):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def _peak_gigabytes(spark: SparkSession) -> float:
    """The most memory that Java and Python held since it was forgotten, in GB."""
    total = 0
    for process in (_java(spark), os.getpid()):
        status = Path(f"/proc/{process}/status").read_text()
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return total / 1e6
