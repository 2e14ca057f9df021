"""Which versions of a table hold the same rows: compaction and vacuum make new ones that change none."""

from __future__ import annotations

from collections.abc import Callable

from deltalake import DeltaTable as StoredTable
from pyspark.sql import SparkSession

from intent_spark.config.log import LOGGER
from intent_spark.lakehouse.conflicts import CONFLICTS
from intent_spark.lakehouse.files import table_versions

# Delta's names of the operations that leave every row as it is.
UPKEEP = ("OPTIMIZE", "REORG", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES")
ATTEMPTS = 3


def rows_version(table: str) -> int:
    """The version of the table at a path that last changed a row, or the oldest that the log still tells of."""
    told = _operations(table)
    return max((version for version, operation in told.items() if operation not in UPKEEP), default=min(told))


def newest_equal(table: str, version: int) -> int:
    """The newest version with the very rows of ``version``: of all such its files are the last to be vacuumed."""
    newest = version
    for later, operation in _operations(table).items():
        if later > version and operation not in UPKEEP:
            break
        newest = max(newest, later)
    return newest


def undisturbed(spark: SparkSession, table: str, write: Callable[[], None]) -> None:
    """Write, and once more where upkeep alone came in between: the rows that are to be replaced are still the same."""
    for attempt in range(1, ATTEMPTS + 1):
        before = max(table_versions(spark, table), default=0)
        try:
            return write()
        except CONFLICTS:
            if attempt == ATTEMPTS or newest_equal(table, before) != max(table_versions(spark, table)):
                raise
            LOGGER.warning("step=lakehouse.write table=%s attempt=%d reason=compacted_meanwhile", table, attempt)
    return None


def _operations(table: str) -> dict[int, str]:
    """What each version was made by, oldest first."""
    return dict(sorted((int(info["version"]), str(info.get("operation"))) for info in StoredTable(table).history()))
