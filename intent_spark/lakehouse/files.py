"""Finding input files through Hadoop's file systems, so that local, HDFS and object stores read alike."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import IllegalArgumentException
from pyspark.sql import SparkSession

from intent_spark.config.errors import UsageError
from intent_spark.config.log import LOGGER

UNFINISHED_LOG_SECONDS = 10.0


@dataclass(frozen=True)
class InputFile:
    """One file found: its full path and its size in bytes."""

    path: str
    size: int


def find_files(spark: SparkSession, pattern: str) -> list[InputFile]:
    """All files at a path, folder or glob, folders entered, hidden names (``_x``, ``.x``) left out, sorted.

    Raises:
        UsageError: something there may not be read.
    """
    jvm: Any = spark._jvm
    conf = spark._jsc.hadoopConfiguration()
    try:
        path = jvm.org.apache.hadoop.fs.Path(pattern)
        file_system = path.getFileSystem(conf)
        found = [file for status in file_system.globStatus(path) or [] for file in _walk(file_system, status)]
    except (Py4JJavaError, IllegalArgumentException) as error:
        said = error.java_exception.getMessage() if isinstance(error, Py4JJavaError) else error
        reason = str(said).splitlines()[0]
        raise UsageError(
            f"input {pattern}: cannot be listed ({reason}); check the path and its permissions."
        ) from error
    return sorted(found, key=lambda file: file.path)


def list_files(spark: SparkSession, pattern: str) -> list[InputFile]:
    """The same, where there must be some.

    Raises:
        UsageError: nothing is there, or it may not be read.
    """
    found = find_files(spark, pattern)
    if not found:
        raise UsageError(f"input {pattern}: no such file, or a folder without files; check --input and the dates.")
    return found


def _walk(file_system, status) -> list[InputFile]:  # type: ignore[no-untyped-def]  # Java objects
    path = status.getPath()
    if path.getName().startswith(("_", ".")):
        return []
    if status.isFile():
        return [InputFile(str(path.toString()), int(status.getLen()))]
    return [file for child in file_system.listStatus(path) for file in _walk(file_system, child)]


def table_versions(spark: SparkSession, table: str) -> list[int]:
    """The versions whose commits lie in a Delta table's log; none where there is no table.

    By the protocol a commit is the file ``_delta_log/<version, 20 digits>.json``; listing them takes milliseconds,
    where asking Delta takes a Spark job.
    """
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(f"{table}/_delta_log")
    file_system = path.getFileSystem(spark._jsc.hadoopConfiguration())
    if not file_system.exists(path):
        return []
    names = (str(status.getPath().getName()) for status in file_system.listStatus(path))
    return [int(name[:20]) for name in names if re.fullmatch(r"\d{20}\.json", name)]


def clear_unfinished_log(spark: SparkSession, table: str) -> None:
    """Remove a log that has no commit: a creation that was killed leaves one, and Delta does not create over it.

    A young one may be that of another writer at work, which is given the time to commit.
    """
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(f"{table}/_delta_log")
    file_system = path.getFileSystem(spark._jsc.hadoopConfiguration())
    while file_system.exists(path) and not table_versions(spark, table):
        age = time.time() - file_system.getFileStatus(path).getModificationTime() / 1000
        if age >= UNFINISHED_LOG_SECONDS:
            LOGGER.warning("step=lakehouse.create table=%s removed=log_without_a_commit", table)
            file_system.delete(path, True)
            return
        time.sleep(min(1.0, UNFINISHED_LOG_SECONDS - age))


def remove_folder(spark: SparkSession, folder: str) -> None:
    """Remove a folder with all in it; one that is not there is no error."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(folder)
    path.getFileSystem(spark._jsc.hadoopConfiguration()).delete(path, True)


def old_folders(spark: SparkSession, parent: str, hours: int) -> list[str]:
    """The folders in a folder that were not touched for some hours."""
    jvm: Any = spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(parent)
    file_system = path.getFileSystem(spark._jsc.hadoopConfiguration())
    if not file_system.exists(path):
        return []
    limit = (time.time() - hours * 3600) * 1000
    return [str(s.getPath().toString()) for s in file_system.listStatus(path) if s.getModificationTime() < limit]


def list_folders(spark: SparkSession, path: str) -> list[str]:
    """The names of the folders in a folder, sorted; none where it is not there."""
    jvm: Any = spark._jvm
    folder = jvm.org.apache.hadoop.fs.Path(path)
    file_system = folder.getFileSystem(spark._jsc.hadoopConfiguration())
    if not file_system.exists(folder):
        return []
    return sorted(str(s.getPath().getName()) for s in file_system.listStatus(folder) if s.isDirectory())
