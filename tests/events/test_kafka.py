"""Kafka without Kafka: what its readers are told, and records of its shape as raw rows that are mapped like any."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from intent_spark.config.source import KafkaSettings
from intent_spark.events import kafka
from intent_spark.events.kafka import Offsets

SETTINGS = KafkaSettings(servers="b1:9092,b2:9092", topic="shop.events", options={"kafka.security.protocol": "SSL"})
RECORDS = "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp, timestampType int"


def records(spark: SparkSession, *rows: tuple[int, int, str]) -> DataFrame:
    """Partition, offset and value of each record."""
    now = datetime(2026, 1, 15, tzinfo=UTC)
    told = [(None, value.encode(), "shop.events", partition, offset, now, 0) for partition, offset, value in rows]
    return spark.createDataFrame(told, RECORDS)


def test_a_micro_batch_is_known_by_its_offsets(spark: SparkSession) -> None:
    found = kafka.offsets_of(records(spark, (1, 7, "x"), (0, 10, "y"), (1, 9, "z")))
    assert found == [Offsets("shop.events", 0, 10, 10), Offsets("shop.events", 1, 7, 9)]
    assert [span.path for span in found] == ["kafka:shop.events/0/10-10", "kafka:shop.events/1/7-9"]
    assert kafka.is_kafka(found[0].path) and not kafka.is_kafka("file:/kafka:x/0/1-2.csv")


def test_the_offsets_are_read_again_exactly() -> None:
    options = kafka.range_options(SETTINGS, ["kafka:shop.events/0/10-19", "kafka:shop.events/1/7-9"])
    assert json.loads(options["assign"]) == {"shop.events": [0, 1]}
    assert json.loads(options["startingOffsets"]) == {"shop.events": {"0": 10, "1": 7}}
    assert json.loads(options["endingOffsets"]) == {"shop.events": {"0": 20, "1": 10}}
    assert options["kafka.bootstrap.servers"] == "b1:9092,b2:9092"
    assert options["kafka.security.protocol"] == "SSL"
    assert options["failOnDataLoss"] == "true"


def test_records_become_raw_rows_that_keep_their_place(spark: SparkSession) -> None:
    paths = ["kafka:shop.events/0/10-19", "kafka:shop.events/1/7-9"]
    rows = kafka.raw_rows(records(spark, (0, 10, "a"), (1, 9, "ä"), (1, 10, "not asked for")), paths).collect()
    assert {(row["_file"], row["_row"], row["value"]) for row in rows} == {
        (paths[0], 10, "a"), (paths[1], 9, "ä"), (None, 10, "not asked for")
    }  # fmt: skip


def test_the_reader_is_spark_s_own(spark: SparkSession) -> None:
    """With the connector fetched (tools/setup.sh kafka) the stream has the columns that the tests above assume."""
    try:
        found = kafka.stream(spark, SETTINGS, 1000)
    except AnalysisException as error:
        pytest.skip(f"the connector was not fetched: {str(error).splitlines()[0]}")
    assert found.isStreaming
    assert set(records(spark).columns) == set(found.columns)
