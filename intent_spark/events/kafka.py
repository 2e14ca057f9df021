"""Kafka as a source: a micro-batch is some offsets of some partitions, and can be read again by them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from intent_spark.config.source import KafkaSettings

PATH = re.compile(r"kafka:(?P<topic>[\w.-]+)/(?P<partition>\d+)/(?P<first>\d+)-(?P<last>\d+)")


@dataclass(frozen=True)
class Offsets:
    """Records of one partition, from the first to the last offset."""

    topic: str
    partition: int
    first: int
    last: int

    @property
    def path(self) -> str:
        """Stands where a file's path does: ``kafka:events/3/100-199``."""
        return f"kafka:{self.topic}/{self.partition}/{self.first}-{self.last}"


def is_kafka(path: str) -> bool:
    """Whether a path names offsets, not a file."""
    return PATH.fullmatch(path) is not None


def reader_options(settings: KafkaSettings) -> dict[str, str]:
    """What both readers are told. Records that Kafka has dropped meanwhile are an error, not a silent gap."""
    fixed = {"kafka.bootstrap.servers": settings.servers, "failOnDataLoss": "true"}
    return settings.options | fixed


def stream(spark: SparkSession, settings: KafkaSettings, records_per_batch: int | None = None) -> DataFrame:
    """The topic's records as a stream, from the oldest that Kafka keeps."""
    limit = {} if records_per_batch is None else {"maxOffsetsPerTrigger": str(records_per_batch)}
    told = reader_options(settings) | {"subscribe": settings.topic, "startingOffsets": "earliest"} | limit
    return spark.readStream.format("kafka").options(**told).load()


def offsets_of(records: DataFrame) -> list[Offsets]:
    """What a micro-batch of records is made of, a row a partition."""
    spans = records.groupBy("topic", "partition").agg(F.min("offset"), F.max("offset"))
    return [Offsets(*row) for row in sorted(spans.collect())]


def range_options(settings: KafkaSettings, paths: Iterable[str]) -> dict[str, str]:
    """The options that read exactly these offsets again; Kafka's ending offset is the one after the last."""
    starts: dict[str, dict[str, int]] = {}
    ends: dict[str, dict[str, int]] = {}
    for path in paths:
        found = PATH.fullmatch(path)
        assert found is not None, path
        starts.setdefault(found["topic"], {})[found["partition"]] = int(found["first"])
        ends.setdefault(found["topic"], {})[found["partition"]] = int(found["last"]) + 1
    assigned = {topic: sorted(int(p) for p in partitions) for topic, partitions in starts.items()}
    return reader_options(settings) | {
        "assign": json.dumps(assigned),
        "startingOffsets": json.dumps(starts),
        "endingOffsets": json.dumps(ends),
    }


def read_offsets(spark: SparkSession, settings: KafkaSettings, paths: list[str]) -> DataFrame:
    """The records of some offsets as raw rows."""
    records = spark.read.format("kafka").options(**range_options(settings, paths)).load()
    return raw_rows(records, paths)


def raw_rows(records: DataFrame, paths: Iterable[str]) -> DataFrame:
    """Kafka's columns as raw rows: ``value`` as text, and the offset as the place in its partition.

    ``_file`` is the path of the offsets that the record lies in, as a file's rows name their file.
    """
    spans = [PATH.fullmatch(path) for path in paths]
    named = F.coalesce(
        *[
            F.when(
                (F.col("topic") == span["topic"])
                & (F.col("partition") == int(span["partition"]))
                & F.col("offset").between(int(span["first"]), int(span["last"])),
                F.lit(span.group()),
            )
            for span in spans
            if span
        ]
    )
    return records.select(
        F.col("value").cast("string").alias("value"),
        F.lit(None).cast("string").alias("_batch"),
        named.alias("_file"),
        F.lit(0).cast("bigint").alias("_block"),
        F.col("offset").alias("_row"),
    )
