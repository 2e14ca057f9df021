"""What a piece of work read, as Spark counted it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import pytest
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
    assert (made, once.rows, once.bytes) == (499_500, 1000, approx(size, rel=0.01))
    made, twice = counting_reads(spark, lambda: table.union(table).agg({"text": "max"}).count())
    assert (made, twice.rows, twice.bytes) == (1, 2000, approx(2 * size, rel=0.01))
    assert counting_reads(spark, lambda: None) == (None, Reads())


def test_files_that_a_condition_on_the_partition_leaves_out_are_not_counted(
    spark: SparkSession, table: DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "parts"
    table.selectExpr("*", "id % 4 as part").write.partitionBy("part").format("delta").save(str(path))
    half = spark.read.format("delta").load(str(path)).where("part < 2")
    sizes = [file.stat().st_size for part in (0, 1) for file in path.glob(f"part={part}/*.parquet")]
    _, read = counting_reads(spark, lambda: half.write.format("delta").save(str(tmp_path / "half")))
    assert read.bytes == approx(sum(sizes), rel=0.01)


def test_work_side_by_side_is_counted_apart(spark: SparkSession, table: DataFrame) -> None:
    def work(times: int) -> None:
        for _ in range(times):
            table.agg({"id": "sum"}).collect()

    with ThreadPoolExecutor(3) as pool:
        counted = list(pool.map(lambda times: counting_reads(spark, partial(work, times))[1].rows, (1, 2, 4)))
    assert counted == [1000, 2000, 4000]


def test_work_that_fails_leaves_no_tag(spark: SparkSession) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        counting_reads(spark, fail)
    assert not spark.sparkContext.getJobTags()
