"""How many rows a piece of work read of files, as Spark's tasks counted them.

Their bytes are not to be had: Parquet's vectored reads happen in threads of its own, where Spark counts none.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

Made = TypeVar("Made")


def counting_reads(spark: SparkSession, work: Callable[[], Made]) -> tuple[Made, int]:
    """Do the work; gives what it gave, and the rows that the jobs of this thread read.

    What is read several times counts several times.
    """
    context, tag = spark.sparkContext, f"reads-{uuid.uuid4().hex}"
    context.addJobTag(tag)
    try:
        made = work()
    finally:
        context.removeJobTag(tag)
    # There is no public call for what stages read but the web interface's, which may be off.
    scala = context._jsc.sc()
    # What tasks did is told to those who listen, and heard a little later.
    scala.listenerBus().waitUntilEmpty()
    return made, sum(int(stage.inputRecords()) for stage in _stages(scala, tag))


def _stages(scala: Any, tag: str) -> list[Any]:
    """The last attempts of all stages of the jobs with a tag; those that Spark remembers, a thousand."""
    tracker, store = scala.statusTracker(), scala.statusStore()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForTag(tag)]
    numbers = {stage for job in jobs if job.isDefined() for stage in job.get().stageIds()}
    found = (_stage(store, number) for number in sorted(numbers))
    return [stage for stage in found if stage is not None]


def _stage(store: Any, number: int) -> Any:
    try:
        return store.lastStageAttempt(number)
    except Py4JJavaError:  # Spark remembers it no more
        return None
