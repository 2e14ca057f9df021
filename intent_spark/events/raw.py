"""Raw rows out of files: text lines or Parquet rows, each with the file and line it stands in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from intent_spark.config.source import SourceMapping

CORRUPT = "_corrupt"
POSITION = ("_file", "_block", "_row")
OPTIONS = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT}


@dataclass(frozen=True)
class RawFile:
    """A file's contents in short: ``digest`` is the same for the same rows, whatever the file is called."""

    path: str
    digest: str
    rows: int
    header: str | None


def read_raw(spark: SparkSession, paths: list[str], mapping: SourceMapping) -> DataFrame:
    """All rows of the files, unparsed: ``value`` (a line; for Parquet the row as a struct) and its position.

    ``_row`` counts from 0 within a file's block for Parquet; for text it only rises within a block, see
    ``number_lines``.
    """
    if mapping.format == "parquet":
        frame = spark.read.parquet(*paths)
        return frame.select(
            F.struct(*[F.col(f"`{name}`") for name in frame.columns]).alias("value"),
            F.col("_metadata.file_path").alias("_file"),
            F.lit(0).cast("bigint").alias("_block"),
            F.col("_metadata.row_index").alias("_row"),
        )
    return spark.read.text(paths).select(
        F.regexp_replace("value", "^\ufeff", "").alias("value"),
        F.col("_metadata.file_path").alias("_file"),
        F.col("_metadata.file_block_start").alias("_block"),
        F.monotonically_increasing_id().alias("_row"),
    )


def inspect_files(raw: DataFrame, mapping: SourceMapping) -> list[RawFile]:
    """Each file's digest, rows and header; one pass over the raw rows, a row a file comes back."""
    value = F.to_json("value") if mapping.format == "parquet" else F.col("value")
    has_header = mapping.format == "csv" and mapping.text.header
    first = F.min_by("value", F.struct("_block", "_row")) if has_header else F.lit(None).cast("string")
    per_file = raw.groupBy("_file").agg(
        first.alias("header"),
        F.count_if(_is_data(mapping)).alias("rows"),
        # Sums of two hashes: the same whatever the order in which the lines are met.
        F.sum(F.xxhash64(value).cast("decimal(38,0)")).alias("sum64"),
        F.sum(F.hash(value).cast("bigint")).alias("sum32"),
    )
    return [_raw_file(*row) for row in sorted(per_file.collect())]


def _raw_file(path: str, header: str | None, rows: int, sum64: object, sum32: object) -> RawFile:
    data_rows = rows - (1 if header is not None else 0)
    digest = hashlib.sha256(f"{rows} {sum64} {sum32}".encode()).hexdigest()[:32]
    return RawFile(path, digest, data_rows, header)


def _is_data(mapping: SourceMapping) -> Column:
    return F.lit(True) if mapping.format == "parquet" else F.trim("value") != ""


def plain_path(path: str) -> str:
    """Spark's encoded file URI as Hadoop's listing writes it."""
    return unquote(path).replace("file:///", "file:/")


def parse(raw: DataFrame, files: list[RawFile], mapping: SourceMapping) -> DataFrame:
    """Raw rows with one column for each raw field (text for text formats), ``_raw`` and ``_corrupt``."""
    if mapping.format == "parquet":
        extra = [F.lit(False).alias(CORRUPT), F.to_json("value").alias("_raw")]
        return raw.select("value.*", *POSITION, *extra)
    data = raw.where(_is_data(mapping))
    if mapping.format == "jsonl" or not mapping.text.header:
        return _parse_lines(data, mapping, mapping.text.columns or [])
    return _parse_by_header(data, files, mapping)


def _parse_by_header(data: DataFrame, files: list[RawFile], mapping: SourceMapping) -> DataFrame:
    """Files with different headers are read each by its own; a missing column is null."""
    parts = []
    for header in sorted({file.header for file in files if file.header is not None}):
        paths = [file.path for file in files if file.header == header]
        rows = data if len(paths) == len(files) else data.where(F.col("_file").isin(paths))
        parts.append(_parse_lines(rows.where(F.col("value") != header), mapping, header_columns(header, mapping)))
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.unionByName(part, allowMissingColumns=True)
    return whole


def header_columns(header: str, mapping: SourceMapping) -> list[str]:
    """The column names in a header line. Names are taken as they are; quotes around them are dropped."""
    delimiter = mapping.text.delimiter
    names = header.split() if delimiter == "blanks" else header.split(delimiter)
    return [name.strip().strip('"') for name in names]


def _parse_lines(data: DataFrame, mapping: SourceMapping, columns: list[str]) -> DataFrame:
    if mapping.format == "jsonl":
        schema = StructType([StructField(name, StringType()) for name in [*columns, CORRUPT]])
        parsed = F.from_json("value", schema, OPTIONS)
    else:
        blanks = mapping.text.delimiter == "blanks"
        line = F.regexp_replace(F.trim("value"), r"\s+", " ") if blanks else F.col("value")
        ddl = ", ".join(f"`{name}` string" for name in [*columns, CORRUPT])
        parsed = F.from_csv(line, ddl, OPTIONS | {"sep": " " if blanks else mapping.text.delimiter, "escape": '"'})
    rows = data.select(parsed.alias("fields"), F.col("value").alias("_raw"), *POSITION)
    named = [F.col(f"fields.`{name}`").alias(name) for name in columns]
    return rows.select(*named, *POSITION, "_raw", F.col(f"fields.{CORRUPT}").isNotNull().alias(CORRUPT))


def number_lines(refused: DataFrame, raw: DataFrame, mapping: SourceMapping) -> DataFrame:
    """Add ``line``, counted from 1 in each file, to the refused rows.

    A text file's blocks are read apart: a line's number is its place in its block and the lines of the blocks before.
    """
    if mapping.format == "parquet":
        return refused.withColumn("line", F.col("_row") + 1)
    blocks = raw.groupBy("_file", "_block").agg(F.min("_row").alias("first_row"), F.count("*").alias("lines"))
    before = Window.partitionBy("_file").orderBy("_block").rowsBetween(Window.unboundedPreceding, -1)
    offsets = blocks.withColumn("lines_before", F.coalesce(F.sum("lines").over(before), F.lit(0))).drop("lines")
    numbered = refused.join(F.broadcast(offsets), on=["_file", "_block"], how="left")
    return numbered.withColumn("line", F.col("_row") - F.col("first_row") + F.col("lines_before") + 1)
