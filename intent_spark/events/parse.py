"""Raw rows to columns: each by the layout of its file, a row that cannot be read marked and kept."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from intent_spark.config.source import TYPED_FORMATS, SourceMapping
from intent_spark.events.raw import POSITION, RawFile, data_rows, has_header

# Why a row cannot be read, null where it can.
CORRUPT = "_corrupt"
MALFORMED, BAD_ENCODING = "malformed", "bad_encoding"
MAX_COLUMNS = 20_000
OPTIONS = {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": CORRUPT}
# As exact as Spark's own times, so that a refused row reads again as it was.
JSON_TIMES = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


def parse(raw: DataFrame, files: list[RawFile], mapping: SourceMapping) -> DataFrame:
    """Raw rows with a column for each raw field (text for text formats), their position, ``_raw`` and ``_corrupt``."""
    if mapping.format in TYPED_FORMATS:
        readable = [F.lit(None).cast("string").alias(CORRUPT), F.to_json("value", JSON_TIMES).alias("_raw")]
        return raw.select("value.*", *POSITION, *readable)
    data = data_rows(raw, mapping)
    if not has_header(mapping):
        return _parse_lines(data, mapping, mapping.text.columns or [])
    headers = {file.layout for file in files if file.layout is not None}
    if len(headers) == 1:  # the usual case, in which no row need be asked for its file
        return _parse_by_header(data, {headers.pop(): F.lit(True)}, mapping)
    paths = {header: [file.path for file in files if file.layout == header] for header in headers}
    return _parse_by_header(data, {header: F.col("_file").isin(paths[header]) for header in headers}, mapping)


def parse_refused(rows: DataFrame, layouts: list[str | None], mapping: SourceMapping) -> DataFrame:
    """The same for rows of the quarantine: text in ``value``, each beside its ``layout``."""
    places = {layout: F.col("layout") == layout for layout in layouts if layout is not None}
    if mapping.format in TYPED_FORMATS:
        return _united([_parse_typed(rows.where(at), layout) for layout, at in places.items()])
    if has_header(mapping) and places:
        return _parse_by_header(rows, places, mapping)
    return _parse_lines(rows, mapping, mapping.text.columns or [])


def _parse_typed(rows: DataFrame, layout: str) -> DataFrame:
    schema = StructType.fromJson(json.loads(layout))
    parsed = rows.select(
        F.from_json("value", schema, JSON_TIMES).alias("fields"), F.col("value").alias("_raw"), *POSITION
    )
    return parsed.select("fields.*", *POSITION, "_raw", F.lit(None).cast("string").alias(CORRUPT))


def _parse_by_header(data: DataFrame, places: Mapping[str, Column], mapping: SourceMapping) -> DataFrame:
    """Rows of files with different headers are read each by their own; a missing column is null."""
    parts = []
    for header in sorted(places):
        rows = data.where(places[header] & (F.col("value") != header))
        parts.append(_parse_lines(rows, mapping, header_columns(header, mapping)))
    return _united(parts)


def _united(parts: list[DataFrame]) -> DataFrame:
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
    parsed = _from_json(columns) if mapping.format == "jsonl" else _from_csv(mapping, len(columns))
    rows = data.select(parsed.alias("fields"), F.col("value").alias("_raw"), *POSITION)
    keys = columns if mapping.format == "jsonl" else [f"_{place}" for place in range(len(columns))]
    named = [F.col(f"fields.`{key}`").alias(name) for key, name in zip(keys, columns, strict=True)]
    is_broken = F.col("fields").isNull() | F.col(f"fields.{CORRUPT}").isNotNull()
    reason = F.when(~F.is_valid_utf8("_raw"), F.lit(BAD_ENCODING)).when(is_broken, F.lit(MALFORMED))
    return rows.select(*named, *POSITION, "_raw", reason.alias(CORRUPT))


def _from_json(columns: list[str]) -> Column:
    schema = StructType([StructField(name, StringType()) for name in [*columns, CORRUPT]])
    return F.from_json("value", schema, OPTIONS)


def _from_csv(mapping: SourceMapping, columns: int) -> Column:
    blanks = mapping.text.delimiter == "blanks"
    separator = " " if blanks else mapping.text.delimiter
    line = F.trim(F.regexp_replace("value", r"\s+", " ")) if blanks else F.col("value")
    # Spark's reader does not mark a line of more columns than it has room for: it ends the job.
    fits = (F.length(line) < MAX_COLUMNS) | (F.size(F.split(line, re.escape(separator))) < MAX_COLUMNS)
    # By place, so that no name in a header has to be valid in a schema.
    schema = ", ".join([*(f"_{place} string" for place in range(columns)), f"{CORRUPT} string"])
    return F.from_csv(
        F.when(fits, line), schema, OPTIONS | {"sep": separator, "escape": '"', "maxColumns": str(MAX_COLUMNS)}
    )
