"""What a source looks like: a column more is told, one that the mapping reads and that is lost or retyped stops it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.config.log import LOGGER
from intent_spark.config.source import TYPED_FORMATS, SourceMapping
from intent_spark.events.batch import FILES
from intent_spark.events.contract import INGEST_LEDGER
from intent_spark.events.parse import header_columns
from intent_spark.events.raw import RawFile, has_header, row_schema
from intent_spark.lakehouse.lakehouse import Lakehouse

Columns = dict[str, str]
SAMPLE_ROWS = 1000
# A key of a JSON line is a column of its source where at least this share of a sample has it.
USUAL_SHARE = 0.5
# Types that a writer changes without meaning to.
FAMILIES = {
    "tinyint": "integer", "smallint": "integer", "int": "integer", "bigint": "integer", "float": "double",
    "timestamp_ntz": "timestamp",
}  # fmt: skip
JSON_TYPES = {str: "text", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}


@dataclass(frozen=True)
class Drift:
    """How a source's columns differ from those that it had in the batch before."""

    gained: list[str]
    lost: list[str]
    retyped: dict[str, tuple[str, str]]

    def describe(self) -> str:
        """The columns that are no longer what they were, for a person."""
        told = [f"lost {name}" for name in self.lost]
        return ", ".join(told + [f"{name} is {now}, was {was}" for name, (was, now) in self.retyped.items()])


def columns_of(raw: DataFrame, files: Iterable[RawFile], mapping: SourceMapping) -> Columns:
    """The columns that every file of a batch has, with their types; those of JSON lines are told from a sample."""
    if mapping.format in TYPED_FORMATS:
        return {column.name: column.dataType.simpleString() for column in row_schema(raw).fields}
    if has_header(mapping):
        headers = {file.layout for file in files if file.layout is not None}
        return {name: "text" for name in _in_all([header_columns(header, mapping) for header in headers])}
    if mapping.format == "jsonl":
        lines = raw.where(F.trim("value") != "").select("value").limit(SAMPLE_ROWS).collect()
        return json_columns(row[0] for row in lines)
    return {name: "text" for name in mapping.text.columns or []}


def _in_all(lists: list[list[str]]) -> list[str]:
    return [name for name in lists[0] if all(name in names for names in lists)] if lists else []


def json_columns(lines: Iterable[str]) -> Columns:
    """The usual keys of JSON objects and the types of their values, several joined by ``|``; null has none."""
    rows = list(_objects(lines))
    seen = Counter(key for row in rows for key in row)
    usual = [key for key, count in seen.items() if count >= USUAL_SHARE * len(rows)]
    return {
        key: "|".join(sorted({JSON_TYPES[type(row[key])] for row in rows if row.get(key) is not None})) for key in usual
    }


def _objects(lines: Iterable[str]) -> Iterator[dict[str, object]]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def columns_before(lakehouse: Lakehouse, source: str, file_format: str) -> tuple[str, Columns] | None:
    """The last batch of a source's files of one format and the columns that they had."""
    ledger = lakehouse.rows(INGEST_LEDGER.name, "batch_id", "source", "kind", "format", "columns", "events_version")
    wanted = (source, FILES, file_format)
    told = [row for row in ledger if row["columns"] and (row["source"], row["kind"], row["format"]) == wanted]
    newest = max(told, key=lambda row: int(row["events_version"]), default=None)
    return (newest["batch_id"], dict(newest["columns"])) if newest else None


def compare(before: Columns, now: Columns, mapped: set[str]) -> Drift:
    """What differs, of lost and retyped columns those that the mapping reads."""
    return Drift(
        gained=[name for name in now if name not in before],
        lost=[name for name in before if name not in now and name in mapped],
        retyped={
            name: (before[name], now[name])
            for name in before
            if name in now and name in mapped and not _alike(before[name], now[name])
        },
    )


def _alike(before: str, now: str) -> bool:
    """Of one family; two sets of JSON types where they meet, or one is unknown."""
    if not before or not now:
        return True
    one, other = ({FAMILIES.get(kind, kind) for kind in text.split("|")} for text in (before, now))
    return bool(one & other)


def mapped_columns(mapping: SourceMapping, columns: Iterable[str]) -> set[str]:
    """Those of the columns that an expression of the mapping names."""
    fields = mapping.fields
    texts = [value for value in fields.model_dump().values() if isinstance(value, str)]
    texts += [fields.event_time.value, *mapping.id_columns, *mapping.tie_break, mapping.where or ""]
    texts += [mapping.split.by] if mapping.split else []
    texts += [fields.ingest_time.value] if fields.ingest_time else []
    texts += [fields.price.value, fields.price.currency or ""] if fields.price else []
    code = " ".join(re.sub(r"'[^']*'", "''", text) for text in texts).lower()
    words = set(re.findall(r"`([^`]+)`", code)) | set(re.findall(r"\w+", re.sub(r"`[^`]+`", "", code)))
    return {name for name in columns if name.lower() in words}


def check_columns(
    lakehouse: Lakehouse, source: str, mapping: SourceMapping, now: Columns, accept: bool = False
) -> Drift | None:
    """Compare a batch's columns with those of the last one, and tell what was gained.

    Raises:
        ContractError: a column that the mapping reads was lost or retyped, and nobody accepted it.
    """
    found = columns_before(lakehouse, source, mapping.format)
    if found is None:
        return None
    batch_id, before = found
    drift = compare(before, now, mapped_columns(mapping, before))
    if drift.gained:
        LOGGER.warning("step=ingest_events.columns source=%s gained=%s", source, ",".join(drift.gained))
    if drift.lost or drift.retyped:
        if not accept:
            raise ContractError(
                f"source {source}: its files are no longer what they were in batch {batch_id}: {drift.describe()}; "
                "mend the mapping, or take them as they are with --accept-columns. Nothing was written."
            )
        LOGGER.warning('step=ingest_events.columns source=%s accepted="%s"', source, drift.describe())
    return drift
