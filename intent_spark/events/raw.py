"""Raw rows out of files: text lines or Parquet rows, each with the file and line it stands in."""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from intent_spark.config.source import SourceMapping

CORRUPT = "_corrupt"
POSITION = ("_file", "_block", "_row")
MAX_COLUMNS = 20_000
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
    exact = [re.sub(r"([\\\[\]{}*?])", r"\\\1", path) for path in paths]  # a name is no glob
    if mapping.format == "parquet":
        frame = spark.read.parquet(*exact)
        return frame.select(
            F.struct(*[F.col(f"`{name}`") for name in frame.columns]).alias("value"),
            F.col("_metadata.file_path").alias("_file"),
            F.lit(0).cast("bigint").alias("_block"),
            F.col("_metadata.row_index").alias("_row"),
        )
    return spark.read.text(exact).select(
        F.regexp_replace("value", "^\ufeff", "").alias("value"),
        F.col("_metadata.file_path").alias("_file"),
        F.col("_metadata.file_block_start").alias("_block"),
        F.monotonically_increasing_id().alias("_row"),
    )


def inspect_files(raw: DataFrame, mapping: SourceMapping) -> list[RawFile]:
    """Each file's digest, rows and header; one pass over the raw rows, a row a file comes back."""
    value = F.to_json("value") if mapping.format == "parquet" else F.col("value")
    has_header = mapping.format == "csv" and mapping.text.header
    place = F.when(_is_data(mapping), F.struct("_block", "_row"))
    first = F.min_by("value", place) if has_header else F.lit(None).cast("string")
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
    """The column names in a header line, each once: blank and repeated ones are named by their place."""
    delimiter = mapping.text.delimiter
    fields = header.split() if delimiter == "blanks" else next(csv.reader([header], delimiter=delimiter))
    names = [name.strip() for name in fields]
    return [
        name if name and name not in names[:place] else f"{name or 'column'}_{place + 1}"
        for place, name in enumerate(names)
    ]


def _parse_lines(data: DataFrame, mapping: SourceMapping, columns: list[str]) -> DataFrame:
    if mapping.format == "jsonl":
        schema = StructType([StructField(name, StringType()) for name in [*columns, CORRUPT]])
        parsed = F.from_json("value", schema, OPTIONS)
    else:
        blanks = mapping.text.delimiter == "blanks"
        separator = " " if blanks else mapping.text.delimiter
        line = F.trim(F.regexp_replace("value", r"\s+", " ")) if blanks else F.col("value")
        # Spark's reader does not mark a line of more columns than it has room for: it ends the job.
        fits = (F.length(line) < MAX_COLUMNS) | (F.size(F.split(line, re.escape(separator))) < MAX_COLUMNS)
        # By place, so that no name in a header has to be valid in a schema.
        schema_text = ", ".join([*(f"_{place} string" for place in range(len(columns))), f"{CORRUPT} string"])
        options = OPTIONS | {"sep": separator, "escape": '"', "maxColumns": str(MAX_COLUMNS)}
        parsed = F.from_csv(F.when(fits, line), schema_text, options)
    rows = data.select(parsed.alias("fields"), F.col("value").alias("_raw"), *POSITION)
    keys = columns if mapping.format == "jsonl" else [f"_{place}" for place in range(len(columns))]
    named = [F.col(f"fields.`{key}`").alias(name) for key, name in zip(keys, columns, strict=True)]
    corrupt = F.col("fields").isNull() | F.col(f"fields.{CORRUPT}").isNotNull()
    return rows.select(*named, *POSITION, "_raw", corrupt.alias(CORRUPT))


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
