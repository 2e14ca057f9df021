"""Structured Streaming as the finder of what is new: each micro-batch is handed to the code that ingests batches.

The checkpoint only saves looking at files again. That nothing is lost or doubled does not rest on it: a micro-batch is
a batch like any other, known by its contents, so one that is handed over again after a kill is finished, or found done.
"""

from __future__ import annotations

from collections.abc import Callable

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import BinaryType, LongType, StringType, StructField, StructType, TimestampType

from intent_spark.config.log import step

# Spark forgets files that are older than its newest by this; a landing folder may be filled with old files.
NEVER = "36500d"
FORCE_NULLABLE = "spark.sql.streaming.fileSource.schema.forceNullable"
BINARY_FILE = StructType(
    [
        StructField("path", StringType(), nullable=False),
        StructField("modificationTime", TimestampType(), nullable=False),
        StructField("length", LongType(), nullable=False),
        StructField("content", BinaryType(), nullable=True),
    ]
)


def new_files(spark: SparkSession, folder: str, files_per_batch: int | None = None) -> DataFrame:
    """The paths of files in a folder and below, as a stream; a file is looked at once, under the name it came by."""
    # Of binary files only the columns that are asked for are read: the path, and never the content.
    reader = spark.readStream.format("binaryFile").schema(BINARY_FILE).option("recursiveFileLookup", "true")
    reader = reader.option("maxFileAge", NEVER)
    reader = reader if files_per_batch is None else reader.option("maxFilesPerTrigger", files_per_batch)
    before = str(spark.conf.get(FORCE_NULLABLE, "true"))
    spark.conf.set(FORCE_NULLABLE, "false")  # the format insists on its own schema
    try:
        return reader.load(folder).select("path")
    finally:
        spark.conf.set(FORCE_NULLABLE, before)


def paths_of(batch: DataFrame) -> list[str]:
    """The files of a micro-batch, as Hadoop's listing writes them."""
    return sorted(str(row["path"]).replace("file:///", "file:/") for row in batch.collect())


def drain(stream: DataFrame, checkpoint: str, work: Callable[[DataFrame], None]) -> int:
    """Hand over all that is there now, in micro-batches, and end; gives their number.

    Args:
        stream: what is new.
        checkpoint: the folder that keeps which micro-batches were done.
        work: is given each micro-batch; what it raises ends the stream, and is raised here as it was.
    """
    done: list[int] = []
    failures: list[BaseException] = []

    def hand_over(batch: DataFrame, number: int) -> None:
        try:
            with step("ingest_events.micro_batch", number=number):
                work(batch)
        except BaseException as error:  # Spark would wrap it in its own words
            failures.append(error)
            raise
        done.append(number)

    writer = stream.writeStream.foreachBatch(hand_over).option("checkpointLocation", checkpoint)
    try:
        writer.trigger(availableNow=True).start().awaitTermination()
    except StreamingQueryException:
        if failures:
            raise failures[0] from None
        raise
    return len(done)
