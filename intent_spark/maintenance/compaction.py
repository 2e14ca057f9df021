"""Small files into large ones. No row changes, so nothing that was made of the table becomes stale."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from delta.tables import DeltaTable
from deltalake import DeltaTable as StoredTable
from pyspark.sql import SparkSession

from intent_spark.config.log import LOGGER
from intent_spark.config.settings import MaintenanceSettings
from intent_spark.lakehouse.conflicts import CONFLICTS
from intent_spark.lakehouse.lakehouse import Lakehouse

MEGABYTE = 1 << 20
PARTITION = "partition."


@dataclass(frozen=True)
class Crowd:
    """A partition of a table with many small files; ``condition`` is empty where the table has no partitions."""

    table: str
    condition: str
    files: int
    bytes: int


def crowds(lakehouse: Lakehouse, table: str, settings: MaintenanceSettings) -> list[Crowd]:
    """The partitions that compaction is worth its while for, told from the table's log alone."""
    small: dict[str, list[int]] = {}
    actions = StoredTable(lakehouse.path(table)).get_add_actions(flatten=True)
    parts = [name for name in actions.schema.names if name.startswith(PARTITION)]
    sizes = actions["size_bytes"].to_pylist()
    values = zip(*(actions[name].to_pylist() for name in parts), strict=True) if parts else [()] * len(sizes)
    for size, value in zip(sizes, values, strict=True):
        if size < settings.small_file_mb * MEGABYTE:
            small.setdefault(_condition(parts, value), []).append(size)
    found = [Crowd(table, condition, len(files), sum(files)) for condition, files in sorted(small.items())]
    return [crowd for crowd in found if crowd.files >= settings.small_files]


def _condition(parts: list[str], values: tuple[object, ...]) -> str:
    return " and ".join(
        f"{name.removeprefix(PARTITION)} <=> {'null' if value is None else repr(str(value))}"
        for name, value in zip(parts, values, strict=True)
    )


def compact(lakehouse: Lakehouse, found: list[Crowd], settings: MaintenanceSettings) -> dict[str, int]:
    """Compact the crowds of one table, in one commit; gives files before and after, and the crowds left.

    A job that replaces one of the partitions at the same moment goes first: its crowd is left to the next run.
    """
    table = DeltaTable.forPath(lakehouse.spark, lakehouse.path(found[0].table))
    condition = " or ".join(f"({crowd.condition})" for crowd in found if crowd.condition)
    optimize = table.optimize().where(condition) if condition else table.optimize()
    try:
        with _sizes(lakehouse.spark, settings):
            metrics = optimize.executeCompaction().select("metrics.numFilesRemoved", "metrics.numFilesAdded").collect()
    except CONFLICTS:
        LOGGER.warning("step=maintain_tables.compaction table=%s left=%d reason=in_use", found[0].table, len(found))
        return {"files_before": 0, "files_after": 0, "left": len(found)}
    return {"files_before": int(metrics[0][0]), "files_after": int(metrics[0][1]), "left": 0}


@contextmanager
def _sizes(spark: SparkSession, settings: MaintenanceSettings) -> Iterator[None]:
    """Which files are taken and how large they become is the session's to say, not the command's."""
    wanted = {
        "spark.databricks.delta.optimize.minFileSize": settings.small_file_mb * MEGABYTE,
        "spark.databricks.delta.optimize.maxFileSize": settings.target_file_mb * MEGABYTE,
    }
    for key, size in wanted.items():
        spark.conf.set(key, str(size))
    try:
        yield
    finally:
        for key in wanted:
            spark.conf.unset(key)
