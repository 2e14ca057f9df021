"""What Java is told as a session begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from intent_spark.config.settings import Settings
from intent_spark.lakehouse import session
from intent_spark.lakehouse.session import JAVA_OPTIONS, class_archive, one_pass_folds, spark_conf
from intent_spark.pipeline.launcher import submit_options


def test_what_an_environment_tells_java_holds_beside_our_own(settings: Settings) -> None:
    own = settings.environment.model_copy(update={"conf": {JAVA_OPTIONS: "-Xss8m"}})
    told = next(word for word in submit_options(own, "job") if word.startswith(JAVA_OPTIONS))
    assert "-Dlog4j2.configurationFile=" in told
    assert told.endswith(" -Xss8m")


def test_the_class_archive_is_named_where_there_is_a_whole_one(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "BUILD", tmp_path)
    assert JAVA_OPTIONS not in spark_conf(settings.environment), "a cluster's own defaults stay"
    (tmp_path / "classes.jsa").write_text("archive")
    (tmp_path / "classes.stamp").write_text("7\nJava 17\n")
    assert f"-XX:SharedArchiveFile={tmp_path}/classes.jsa" in spark_conf(settings.environment)[JAVA_OPTIONS]
    (tmp_path / "classes.jsa").write_text("arch")
    assert JAVA_OPTIONS not in spark_conf(settings.environment), "Java would crash on it"


def test_java_maps_the_class_archive_of_the_set_up(spark: SparkSession) -> None:
    assert spark._jvm is not None
    home = Path(spark._jvm.System.getProperty("java.home"))
    if not (home / "lib" / "server" / "classes.jsa").exists():
        pytest.skip("this Java has no archive of its own classes, which ours would lie on")
    assert class_archive()
    java = spark._jvm.java.lang.ProcessHandle.current().pid()
    assert "/build/classes.jsa" in Path(f"/proc/{java}/maps").read_text(encoding="utf-8")


def test_folding_in_one_pass_is_for_a_block_alone(spark: SparkSession) -> None:
    """What notebooks ask keeps its FILTER. Where Spark no longer forgets it inside, the whole session may fold so."""
    rows = spark.createDataFrame([("a", 1), ("a", 2), ("b", 3)], "k string, n int").repartition("k")

    def large() -> list[list[int]]:
        folded = (
            rows.sortWithinPartitions("k").groupBy("k").agg(F.expr("collect_list(n) filter (where n > 1) as large"))
        )
        return [sorted(row["large"]) for row in folded.orderBy("k").collect()]

    with one_pass_folds(spark):
        assert large() == [[1, 2], [3]]
    assert large() == [[2], [3]]
