"""One Spark session for the whole run; every file that a test makes lies under pytest's own folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from pyspark.sql import SparkSession

from intent_spark.config.loading import load_settings
from intent_spark.config.settings import EnvironmentSettings, Settings
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.session import spark_session

ROOT = Path(__file__).resolve().parents[1]
# How long a case takes says how busy the machine is, nothing else.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")
# For jobs that tests start as processes of their own: over so soon that the optimizing compiler is all cost. The quick one
# alone is given 48 MB for its code, which a pipeline fills.
QUICK_JAVA = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=256m"}


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The shipped configuration; but a batch of ten rows may be all dirt, and needs no statistics."""
    return load_settings("local", ["events.max_bad_share=1", "profiles.statistics=false"])


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The product's own session on two cores, tuned for tables of ten rows."""
    folder = tmp_path_factory.mktemp("spark")
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    # Python workers are processes of their own: they find the package by this, not by pytest's sys.path.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    session = spark_session(_small(load_settings().environment, folder), "tests")
    yield session
    session.stop()


def _small(environment: EnvironmentSettings, folder: Path) -> EnvironmentSettings:
    # The optimizing compiler took two fifths of the CPU time of such tests; the quick one needs room for its code.
    java = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=512m"
    java += f" -Djava.io.tmpdir={folder} -Dderby.system.home={folder}"
    conf = environment.conf | {
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "1",
        # Compiling a plan costs more than interpreting it for ten rows. The jobs that tests start as processes of
        # their own run compiled, and the integration tests compare both.
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "spark-warehouse"),
        "spark.driver.extraJavaOptions": f"{java} -Dlog4j2.configurationFile=file:{ROOT}/conf/log4j2.properties",
    }
    return environment.model_copy(update={"master": "local[2]", "driver_memory": "2g", "conf": conf})


@pytest.fixture
def context(spark: SparkSession, settings: Settings, tmp_path: Path) -> JobContext:
    """A fresh warehouse."""
    return JobContext(settings, spark, Lakehouse(spark, str(tmp_path / "warehouse")))
