"""How much memory a way took: Java and Python together."""

from __future__ import annotations

import os
from pathlib import Path

from pyspark.sql import SparkSession


def forget_peak(spark: SparkSession) -> None:
    """Begin to measure anew."""
    for process in _processes(spark):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def peak_gigabytes(spark: SparkSession) -> float:
    """The most memory that Java and Python held since it was forgotten, in GB."""
    total = 0
    for process in _processes(spark):
        status = Path(f"/proc/{process}/status").read_text()
        total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return total / 1e6


def _processes(spark: SparkSession) -> tuple[int, int]:
    java = spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()  # type: ignore[union-attr]
    return int(java), os.getpid()
