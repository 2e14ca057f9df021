"""Raw rows out of files: text lines or typed rows, each with the file and line it stands in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import MapType, StructField, StructType

from intent_spark.config.errors import InputError, UsageError
from intent_spark.config.source import TYPED_FORMATS, SourceMapping
from intent_spark.events.kafka import is_kafka, read_offsets
from intent_spark.lakehouse.causes import AVRO_IS_LACKING, java_chain, lacks_avro, root_cause

# ``_batch`` is the batch in which a replayed row was refused; a row of a file has none yet.
POSITION = ("_batch", "_file", "_block", "_row")
BYTE_ORDER_MARK = "\ufeff"
READERS: dict[str, dict[str, str]] = {"parquet": {"mergeSchema": "true"}, "avro": {}}


@dataclass(frozen=True)
class RawFile:
    """A file's contents in short: ``digest`` is the same for the same rows, whatever the file is called.

    ``layout`` is what its rows are read by: the header line of a csv file that has one, the schema of a typed file.
    """

    path: str
    digest: str
    rows: int
    layout: str | None


@contextmanager
def readable(paths: Sequence[str]) -> Iterator[None]:
    """Inside, files that cannot be read end in one sentence.

    Raises:
        InputError: it names the file, where Spark does.
        UsageError: they are of a format that needs a jar which was not fetched.
    """
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        if lacks_avro(error):
            raise UsageError(AVRO_IS_LACKING) from error
        told = [unquote(text) for text in java_chain(error)]
        names = (Path(path).name for path in paths)
        file = next((name for name in names if any(name in text for text in told)), f"of {len(paths)} files")
        raise InputError(
            f"input {file}: cannot be read ({root_cause(error)}); fetch it again, or check format and permissions. "
            "Nothing was written."
        ) from error


def read_raw(spark: SparkSession, paths: list[str], mapping: SourceMapping) -> DataFrame:
    """All rows of the files, unparsed: ``value`` (a line, or a typed row as a struct) and its position.

    ``_row`` counts from 0 within a Parquet file; elsewhere it only rises within a block, see ``number_lines``.
    """
    if mapping.kafka is not None and all(map(is_kafka, paths)):
        return read_offsets(spark, mapping.kafka, paths)
    exact = [re.sub(r"([\\\[\]{}*?])", r"\\\1", path) for path in paths]  # a name is no glob
    if mapping.format in TYPED_FORMATS:
        frame = spark.read.format(mapping.format).options(**READERS[mapping.format]).load(exact)
        value = F.struct(*[F.col(f"`{name}`") for name in frame.columns])
    else:
        frame = spark.read.text(exact)
        text = decoded(F.col("value"), mapping)
        value = F.when(F.startswith(text, F.lit(BYTE_ORDER_MARK)), F.substr(text, F.lit(2))).otherwise(text)
    is_parquet = mapping.format == "parquet"
    return frame.select(
        value.alias("value"),
        F.lit(None).cast("string").alias("_batch"),
        F.col("_metadata.file_path").alias("_file"),
        (F.lit(0).cast("bigint") if is_parquet else F.col("_metadata.file_block_start")).alias("_block"),
        (F.col("_metadata.row_index") if is_parquet else F.monotonically_increasing_id()).alias("_row"),
    )


def decoded(text: Column, mapping: SourceMapping) -> Column:
    """Text whose bytes are in the mapping's encoding."""
    return text if mapping.text.encoding == "utf-8" else F.decode(text.cast("binary"), mapping.text.encoding)


def row_schema(raw: DataFrame) -> StructType:
    """The columns of typed raw rows."""
    kind = raw.schema["value"].dataType
    assert isinstance(kind, StructType)
    return kind


def inspect_files(raw: DataFrame, mapping: SourceMapping) -> list[RawFile]:
    """Each file's digest, rows and layout; one pass over the raw rows, a row a file comes back."""
    is_typed = mapping.format in TYPED_FORMATS
    parts = _typed_parts(row_schema(raw)) if is_typed else [F.col("value")]
    layout = F.lit(row_schema(raw).json()) if is_typed else F.lit(None).cast("string")
    if has_header(mapping):
        layout = F.min_by("value", F.when(_is_data(mapping), F.struct("_block", "_row")))
    hashed = raw.withColumn("hash", F.xxhash64(*parts))
    per_file = hashed.groupBy("_file").agg(
        layout.alias("layout"),
        F.count_if(_is_data(mapping)).alias("rows"),
        F.array(*_sums(F.col("hash")), *_sums(F.xxhash64("hash"))).alias("sums"),
    )
    return [_raw_file(row.asDict(), is_typed) for row in sorted(per_file.collect())]


def _sums(number: Column) -> list[Column]:
    """The sums of a number's halves: the same whatever the order of the rows, and no sum of so many overflows."""
    return [F.sum(F.shiftrightunsigned(number, 32)), F.sum(F.shiftrightunsigned(F.shiftleft(number, 32), 32))]


def _typed_parts(schema: StructType) -> list[Column]:
    """A row's columns for hashing: each after its place, since a hash passes over nulls; maps as text."""
    parts: list[Column] = []
    for place, column in enumerate(schema.fields):
        value = F.col(f"value.`{column.name}`")
        parts += [F.lit(place), F.to_json(F.struct(value)) if _holds_map(column) else value]
    return parts


def _holds_map(column: StructField) -> bool:
    return MapType.typeName() in column.dataType.json()


def _raw_file(row: dict[str, Any], is_typed: bool) -> RawFile:
    layout = row["layout"]
    contents = (row["rows"], *row["sums"], layout if is_typed else "")
    digest = hashlib.sha256(" ".join(map(str, contents)).encode()).hexdigest()[:32]
    header_lines = 1 if layout is not None and not is_typed else 0
    return RawFile(row["_file"], digest, row["rows"] - header_lines, layout)


def has_header(mapping: SourceMapping) -> bool:
    """Whether the first line of each file names its columns."""
    return mapping.format == "csv" and mapping.text.header


def _is_data(mapping: SourceMapping) -> Column:
    return F.lit(True) if mapping.format in TYPED_FORMATS else F.trim("value") != ""


def plain_path(path: str) -> str:
    """Spark's encoded file URI as Hadoop's listing writes it."""
    return unquote(path).replace("file:///", "file:/")


def data_rows(raw: DataFrame, mapping: SourceMapping) -> DataFrame:
    """The raw rows without blank lines."""
    return raw if mapping.format in TYPED_FORMATS else raw.where(_is_data(mapping))


def numbered_files(rows: DataFrame, files: Sequence[RawFile]) -> DataFrame:
    """The rows with a number for ``_file``, in the order of the paths: rows that are shuffled need not carry a path."""
    return _exchanged(rows, files, "_path", "_number")


def named_files(rows: DataFrame, files: Sequence[RawFile]) -> DataFrame:
    """The rows of ``numbered_files`` with the path for ``_file`` again."""
    return _exchanged(rows, files, "_number", "_path")


def _exchanged(rows: DataFrame, files: Sequence[RawFile], known: str, wanted: str) -> DataFrame:
    names = enumerate(sorted(file.path for file in files))
    numbers = rows.sparkSession.createDataFrame(list(names), "_number int, _path string")
    found = rows.join(F.broadcast(numbers), on=F.col("_file") == F.col(known), how="left")
    return found.withColumn("_file", F.col(wanted)).drop("_number", "_path")


def count_repeated_headers(raw: DataFrame, files: Sequence[RawFile]) -> int:
    """Header lines beyond the first of each file, as in files that were joined; they are read, and no events."""
    headers = {file.layout for file in files if file.layout is not None}
    return raw.where(F.col("value").isin(*headers)).count() - len(files) if headers else 0


def number_lines(refused: DataFrame, raw: DataFrame, mapping: SourceMapping) -> DataFrame:
    """Add ``line``, counted from 1 in each file, to the refused rows.

    A file's blocks are read apart: a line's number is its place in its block and the lines of the blocks before.
    """
    if mapping.format == "parquet":
        return refused.withColumn("line", F.col("_row") + 1)
    blocks = raw.groupBy("_file", "_block").agg(F.min("_row").alias("first_row"), F.count("*").alias("lines"))
    before = Window.partitionBy("_file").orderBy("_block").rowsBetween(Window.unboundedPreceding, -1)
    offsets = blocks.withColumn("lines_before", F.coalesce(F.sum("lines").over(before), F.lit(0))).drop("lines")
    numbered = refused.join(F.broadcast(offsets), on=["_file", "_block"], how="left")
    return numbered.withColumn("line", F.col("_row") - F.col("first_row") + F.col("lines_before") + 1)
