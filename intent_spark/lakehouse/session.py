"""The one place in which a Spark session is made."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from pyspark.sql import SparkSession

from intent_spark.config.settings import EnvironmentSettings

DELTA_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Raw files come in encodings that Spark would refuse, with characters that do not fit them.
    "spark.sql.legacy.javaCharsets": "true",
    "spark.sql.legacy.codingErrorAction": "true",
    # A plan cut in a log line is worth less than the megabytes that a whole one takes with 200 features.
    "spark.sql.debug.maxToStringFields": "25",
    # One snapshot compiles more plans than the hundred that Spark remembers: each would be compiled, by Spark and then
    # by Java, again and again.
    "spark.sql.codegen.cache.maxEntries": "2000",
    # Ranks that train take every core: a late heartbeat is no dead executor, whose connection would be closed.
    "spark.network.timeout": "600s",
    # What is cached is read once or twice: choosing a compression for each column takes as long as making the rows.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
}

JAVA_OPTIONS = "spark.driver.extraJavaOptions"
BUILD = Path(__file__).resolve().parents[2] / "build"


def fetched_jars() -> list[str]:
    """Delta's two jars and those asked for, as the set-up fetched them; empty where the cluster already has them."""
    return sorted(str(jar) for jar in (BUILD / "jars").glob("*.jar"))


def class_archive() -> list[str]:
    """Java's options for the archive of classes that the set-up made; none where there is none, as on a cluster.

    A Java that did not make it does without it and says nothing; one that was cut short would end Java at once.
    """
    archive, stamp = BUILD / "classes.jsa", BUILD / "classes.stamp"
    if not (archive.exists() and stamp.exists() and stamp.read_text().split("\n")[0] == str(archive.stat().st_size)):
        return []
    return [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]


def spark_conf(environment: EnvironmentSettings) -> dict[str, str]:
    """All Spark settings of an environment; the launcher and the session both take them from here."""
    conf = dict(DELTA_CONF) | environment.conf
    conf["spark.driver.memory"] = environment.driver_memory
    if environment.executor_memory:
        conf["spark.executor.memory"] = environment.executor_memory
    if environment.executor_cores:
        conf["spark.executor.cores"] = str(environment.executor_cores)
    if environment.python:
        conf["spark.pyspark.python"] = environment.python
    if fetched_jars():
        conf["spark.jars"] = ",".join(fetched_jars())
    # What the environment says comes last, and so holds. Nothing to say leaves a cluster's own defaults as they are.
    if java := " ".join([*class_archive(), conf.get(JAVA_OPTIONS, "")]).strip():
        conf[JAVA_OPTIONS] = java
    return conf


def spark_session(environment: EnvironmentSettings, name: str) -> SparkSession:
    """The session of a job, a notebook or a test; a second call returns the running one."""
    builder = SparkSession.Builder().appName(f"intent_spark {name}").master(environment.master)
    builder = builder.config("spark.sql.warehouse.dir", _catalogue_folder())
    for key, value in spark_conf(environment).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


@cache
def _catalogue_folder() -> str:
    """Spark makes this folder, by default wherever the job stands; our tables lie elsewhere and nothing enters it."""
    folder = tempfile.mkdtemp(prefix="intent_spark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def null_on_error(spark: SparkSession) -> Iterator[None]:
    """Inside, new expressions give null where a value does not fit, instead of ending the job: for raw data only.

    What an expression does is settled when its frame is made, so that frames may be run after the block.
    """
    with _set(spark, "spark.sql.ansi.enabled", "false"):
        yield


@contextmanager
def one_pass_folds(spark: SparkSession) -> Iterator[None]:
    """Inside, rows that are sorted by their keys are folded in one pass, not in a partial and a final one.

    For queries of our own alone: Spark 4.2 then forgets what an aggregate's FILTER says.
    """
    with _set(spark, "spark.sql.execution.replaceHashWithSortAgg", "true"):
        yield


@contextmanager
def _set(spark: SparkSession, name: str, value: str) -> Iterator[None]:
    before = str(spark.conf.get(name))
    spark.conf.set(name, value)
    try:
        yield
    finally:
        spark.conf.set(name, before)
