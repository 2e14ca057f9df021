"""How many rows and bytes a piece of work read of files, as Spark counted them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

Made = TypeVar("Made")


@dataclass(frozen=True)
class Reads:
    """What was read; what is read several times counts several times."""

    rows: int = 0
    bytes: int = 0
    """The size of the files that were opened, to a fortieth: Spark does not count what Parquet's vectored reads take of
    them, as threads of Parquet's own do it."""


def counting_reads(spark: SparkSession, work: Callable[[], Made]) -> tuple[Made, Reads]:
    """Do the work; gives what it gave, and what the jobs of this thread read."""
    context, tag = spark.sparkContext, f"reads-{uuid.uuid4().hex}"
    # There is no public call for what stages and queries read but the web interface's, which may be off.
    scala, queries = context._jsc.sc(), spark._jsparkSession.sharedState().statusStore()
    before = next(_newest_first(queries.executionsList()), None)
    context.addJobTag(tag)
    try:
        made = work()
    finally:
        context.removeJobTag(tag)
    # What tasks did is told to those who listen, and heard a little later.
    scala.listenerBus().waitUntilEmpty()
    jobs = [int(job) for job in scala.statusTracker().getJobIdsForTag(tag)]
    rows = sum(int(stage.inputRecords()) for stage in _stages(scala, jobs))
    return made, Reads(rows, _opened(queries, jobs, -1 if before is None else before.executionId()))


def _stages(scala: Any, jobs: list[int]) -> list[Any]:
    """The last attempts of all stages of some jobs; those that Spark remembers, a thousand."""
    tracker, store = scala.statusTracker(), scala.statusStore()
    told = [tracker.getJobInfo(job) for job in jobs]
    numbers = {stage for job in told if job.isDefined() for stage in job.get().stageIds()}
    found = (_remembered(partial(store.lastStageAttempt, number)) for number in sorted(numbers))
    return [stage for stage in found if stage is not None]


def _remembered(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Py4JJavaError:  # Spark remembers it no more
        return None


def _opened(queries: Any, jobs: list[int], before: int) -> int:
    """Bytes of the files that the queries of some jobs opened, as far as Spark remembers them, a thousand.

    Queries up to the number ``before`` are not asked.
    """
    total = 0
    for query in _newest_first(queries.executionsList()):
        number = query.executionId()
        if number <= before:
            break
        if any(query.jobs().contains(job) for job in jobs):
            total += _remembered(partial(_file_sizes, queries, number)) or 0
    return total


def _file_sizes(queries: Any, number: int) -> int:
    """Bytes of the files that were left for a query's scans to read; what it read of Delta's logs is not its data."""
    nodes = [node for node in _each(queries.planGraph(number).allNodes()) if node.name().startswith("Scan ")]
    scans = [node for node in nodes if "DeltaLogFileIndex" not in node.desc()]
    told = [metric for node in scans for metric in _each(node.metrics()) if metric.name() == "size of files read"]
    values = queries.executionMetrics(number)
    found = [values.get(metric.accumulatorId()) for metric in told]
    return sum(_bytes(value.get()) for value in found if value.isDefined())


UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
SIZE = re.compile(rf"([0-9.]+) ({'|'.join(UNITS)})")


def _bytes(told: str) -> int:
    """``278.3 KiB`` as a number."""
    found = SIZE.search(told)
    return round(float(found[1]) * 1024 ** UNITS.index(found[2])) if found else 0


def _each(scala: Any) -> Iterator[Any]:
    return (scala.apply(place) for place in range(scala.size()))


def _newest_first(scala: Any) -> Iterator[Any]:
    return (scala.apply(place) for place in reversed(range(scala.size())))
