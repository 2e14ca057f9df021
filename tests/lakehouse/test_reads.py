"""What a piece of work read, as Spark counted it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import pytest
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pytest import approx

from intent_spark.lakehouse.reads import Reads, counting_reads


@pytest.fixture
def table(spark: SparkSession, tmp_path: Path) -> DataFrame:
    path = str(tmp_path / "rows")
    spark.range(1000).selectExpr("id", "sha2(cast(id as string), 256) as text").coalesce(1).write.parquet(path)
    return spark.read.parquet(path)


def test_rows_and_bytes_count_each_time_that_they_are_read(spark: SparkSession, table: DataFrame) -> None:
    [file] = table.inputFiles()
    size = Path(urlparse(file).path).stat().st_size
    made, once = counting_reads(spark, lambda: table.agg({"id": "sum"}).collect()[0][0])
    assert (made, once.rows, once.bytes) == (499_500, 1000, approx(size, rel=0.025))
    made, twice = counting_reads(spark, lambda: table.union(table).agg({"text": "max"}).count())
    assert (made, twice.rows, twice.bytes) == (1, 2000, approx(2 * size, rel=0.025))
    assert counting_reads(spark, lambda: None) == (None, Reads())


def test_files_that_a_condition_on_the_partition_leaves_out_are_not_counted(
    spark: SparkSession, table: DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "parts"
    parts = table.selectExpr("*", "id % 4 as part")
    parts.write.partitionBy("part").format("delta").option("delta.checkpointInterval", 2).save(str(path))
    for part in (2, 3, 3, 2):
        where = {"replaceWhere": f"part = {part}"}
        parts.where(f"part = {part}").write.format("delta").mode("overwrite").options(**where).save(str(path))
    assert list(path.glob("_delta_log/*.checkpoint*.parquet")), "which is read as well"
    sizes = [file.stat().st_size for part in (0, 1) for file in path.glob(f"part={part}/*.parquet")]

    def copy() -> None:
        DeltaTable.forPath(spark, str(path)).toDF().where("part < 2").write.parquet(str(tmp_path / "half"))

    spark.catalog.clearCache()
    _, read = counting_reads(spark, copy)
    assert read.bytes == approx(sum(sizes), rel=0.025)


def test_work_side_by_side_is_counted_apart(spark: SparkSession, table: DataFrame) -> None:
    def work(times: int) -> None:
        for _ in range(times):
            table.agg({"id": "sum"}).collect()

    with ThreadPoolExecutor(3) as pool:
        counted = list(pool.map(lambda times: counting_reads(spark, partial(work, times))[1], (1, 2, 4)))
    assert [reads.rows for reads in counted] == [1000, 2000, 4000]
    once = counted[0].bytes
    assert [reads.bytes for reads in counted] == [once, 2 * once, 4 * once] != [0, 0, 0]


def test_work_that_fails_leaves_no_tag(spark: SparkSession) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        counting_reads(spark, fail)
    assert not spark.sparkContext.getJobTags()
