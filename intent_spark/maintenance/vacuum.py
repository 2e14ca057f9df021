"""Deleting files that no version within the retention reads, and never one that a pinned version still does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from intent_spark.config.errors import ContractError
from intent_spark.config.log import LOGGER
from intent_spark.lakehouse.lakehouse import Lakehouse

DURATION_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"
IGNORE_DAYS = "spark.databricks.delta.vacuum.retentionWindowIgnore.enabled"
LISTING_TASKS = "spark.sql.sources.parallelPartitionDiscovery.parallelism"


@dataclass(frozen=True)
class Reach:
    """How far a vacuum goes back: files that were replaced within ``days`` stay, and commits within ``log_days``."""

    days: int
    log_days: int


def doomed_files(lakehouse: Lakehouse, table: str, reach: Reach) -> set[str]:
    """The files that a vacuum would delete now, by their names, which are unique."""
    return {_name(row["path"]) for row in _vacuum(lakehouse, table, reach, "DRY RUN").collect()}


def vacuum(lakehouse: Lakehouse, table: str, reach: Reach) -> None:
    """Delete them."""
    _vacuum(lakehouse, table, reach, "").collect()


def _vacuum(lakehouse: Lakehouse, table: str, reach: Reach, mode: str) -> DataFrame:
    with _settings(lakehouse.spark):
        return lakehouse.spark.sql(f"VACUUM delta.`{lakehouse.path(table)}` RETAIN {reach.days * 24} HOURS {mode}")


@contextmanager
def _settings(spark: SparkSession) -> Iterator[None]:
    """Delta is to do as it is told: its own check knows neither pins nor jobs, it takes another number of days only if
    asked twice, and it would list folders in 10,000 tasks."""
    wanted = {DURATION_CHECK: "false", IGNORE_DAYS: "false", LISTING_TASKS: str(spark.sparkContext.defaultParallelism)}
    before = {key: spark.conf.get(key, None) for key in wanted}
    for key, value in wanted.items():
        spark.conf.set(key, value)
    try:
        yield
    finally:
        for key, old in before.items():
            spark.conf.unset(key) if old is None else spark.conf.set(key, old)


def check_pins(lakehouse: Lakehouse, table: str, pinned: dict[int, str], doomed: set[str], reach: Reach) -> None:
    """Refuse a vacuum that would leave a pinned version unreadable, and a log too short to read it by.

    Raises:
        ContractError: it names the version, who pins it, and for how long files or log would have to be kept.
    """
    made, now = _commit_times(lakehouse, table) if pinned else {}, datetime.now(UTC)
    for version, holders in pinned.items():
        if version not in made:
            LOGGER.warning("step=maintain_tables.pins table=%s version=%d reason=log_is_gone", table, version)
        elif version != max(made):  # the newest is read as it stands
            what = f"table {table}: version {version} is read by {holders}"
            if doomed & _files(lakehouse, table, version):
                replaced = min(time for later, time in made.items() if later > version)
                raise _refusal(what, "replaced files", reach.days, now - replaced, "--retain-days")
            if now - made[version] > timedelta(days=reach.log_days):
                raise _refusal(what, "the log", reach.log_days, now - made[version], "retention.log_days")


def _refusal(what: str, kept: str, days: int, needed: timedelta, option: str) -> ContractError:
    return ContractError(
        f"{what}, which keeping {kept} for {days} days would make unreadable; keep {needed.days + 1} days ({option}), "
        "or delete the folder of a model that nobody needs. Nothing was changed."
    )


def _commit_times(lakehouse: Lakehouse, table: str) -> dict[int, datetime]:
    history = DeltaTable.forPath(lakehouse.spark, lakehouse.path(table)).history()
    rows = history.selectExpr("version", "unix_micros(timestamp) as micros").collect()
    return {int(row["version"]): datetime.fromtimestamp(row["micros"] / 1e6, UTC) for row in rows}


def _files(lakehouse: Lakehouse, table: str, version: int) -> set[str]:
    try:
        return {_name(path) for path in lakehouse.read(table, version).inputFiles()}
    except AnalysisException:  # its log is too old to be read: there is nothing left to protect
        LOGGER.warning("step=maintain_tables.pins table=%s version=%d reason=cannot_be_read", table, version)
        return set()


def _name(path: str) -> str:
    return unquote(path).rsplit("/", 1)[-1]
