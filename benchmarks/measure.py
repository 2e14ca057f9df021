"""Seconds and the most memory of one piece of work, and the session that benchmarks share."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from benchmarks.memory import forget_peak, peak_gigabytes
from intent_spark.config.loading import load_settings
from intent_spark.lakehouse.session import spark_session

Row = dict[str, object]
ROUNDS = 3


def session(folder: str, partitions: int) -> SparkSession:
    """The local environment's session, its spill under a folder."""
    environment = load_settings().environment
    conf = environment.conf | {
        "spark.sql.shuffle.partitions": str(partitions),
        "spark.local.dir": folder,
        "spark.ui.showConsoleProgress": "false",
    }
    return spark_session(environment.model_copy(update={"conf": conf}), "benchmark")


def write(frame: DataFrame, out: Path | str) -> None:
    """As Parquet files, in place of those of an earlier round."""
    frame.write.mode("overwrite").parquet(str(out))


def timed(spark: SparkSession, way: str, work: Callable[[], object]) -> Row:
    """Do the work once, and tell of it, on stderr too.

    Gives ``way``, ``seconds`` of the wall clock, ``peak GB`` of Java and Python, ``shuffled MB`` that exchanges wrote.
    """
    forget_peak(spark)
    before, started = shuffled_bytes(spark), time.perf_counter()
    work()
    seconds, shuffled = time.perf_counter() - started, shuffled_bytes(spark) - before
    row: Row = {"way": way, "seconds": round(seconds, 2), "peak GB": round(peak_gigabytes(spark), 1)}
    row["shuffled MB"] = round(shuffled / 1e6)
    print(", ".join(f"{name}: {value}" for name, value in row.items()), file=sys.stderr, flush=True)  # noqa: T201
    return row


def in_turns(spark: SparkSession, ways: Mapping[str, Callable[[], object]]) -> dict[str, Row]:
    """What ``timed`` gives of each way by its name: the run of the middle seconds of ``ROUNDS``.

    The ways take turns, so that a slower minute of the machine hits all of them. ``first seconds`` are those of the
    first round, in which Java still had to load and compile what no way before it had done.
    """
    found = [{name: timed(spark, name, work) for name, work in ways.items()} for _ in range(ROUNDS)]
    rows = {}
    for name in ways:
        runs = sorted((each[name] for each in found), key=_seconds)
        rows[name] = runs[ROUNDS // 2] | {"first seconds": found[0][name]["seconds"]}
    return rows


def _seconds(row: Row) -> float:
    return float(str(row["seconds"]))


def shuffled_bytes(spark: SparkSession) -> int:
    """What the exchanges of all stages so far have written."""
    context = spark.sparkContext._jsc.sc()
    # What tasks did is told to those who listen, and heard a little later.
    context.listenerBus().waitUntilEmpty()
    executors = context.statusStore().executorList(False)
    return sum(int(executors.apply(place).totalShuffleWrite()) for place in range(executors.size()))


def with_ratios(rows: list[Row], others: dict[str, Row]) -> list[Row]:
    """The rows with what each took as a share of some of them, by the column's name."""
    for row in rows:
        row |= {f"/ {name}": round(row["seconds"] / other["seconds"], 2) for name, other in others.items()}  # type: ignore[operator]
    return rows
