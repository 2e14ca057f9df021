"""What a piece of work read, as Spark's tasks counted it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from intent_spark.lakehouse.reads import counting_reads


@pytest.fixture
def table(spark: SparkSession, tmp_path: Path) -> DataFrame:
    path = str(tmp_path / "rows")
    spark.range(1000).selectExpr("id", "sha2(cast(id as string), 256) as text").coalesce(1).write.parquet(path)
    return spark.read.parquet(path)


def test_rows_count_each_time_that_they_are_read(spark: SparkSession, table: DataFrame) -> None:
    assert counting_reads(spark, lambda: table.agg({"id": "sum"}).collect()[0][0]) == (499_500, 1000)
    assert counting_reads(spark, lambda: table.union(table).agg({"text": "max"}).count()) == (1, 2000)
    assert counting_reads(spark, lambda: None) == (None, 0)


def test_work_side_by_side_is_counted_apart(spark: SparkSession, table: DataFrame) -> None:
    def work(times: int) -> None:
        for _ in range(times):
            table.agg({"id": "sum"}).collect()

    with ThreadPoolExecutor(3) as pool:
        counted = list(pool.map(lambda times: counting_reads(spark, partial(work, times))[1], (1, 2, 4)))
    assert counted == [1000, 2000, 4000]


def test_work_that_fails_leaves_no_tag(spark: SparkSession) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        counting_reads(spark, fail)
    assert not spark.sparkContext.getJobTags()
