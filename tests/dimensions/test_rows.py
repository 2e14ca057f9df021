"""Users and items in the formats that a mapping may name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from intent_spark.config.errors import UsageError
from intent_spark.config.loading import load_source
from intent_spark.config.source import SourceMapping, TextFormat
from intent_spark.dimensions.rows import read_rows

ROWS = [("i1", "café"), ("i2", "thé")]


def mapping(format: str, **text: Any) -> SourceMapping:
    return load_source("simulated_shop").model_copy(update={"format": format, "text": TextFormat(**text)})


@pytest.mark.parametrize(
    ("format", "text", "lines"),
    [
        ("csv", {"header": True}, "id,name\ni1,café\ni2,thé\n"),
        ("csv", {"columns": ["id", "name"], "delimiter": ";"}, "i1;café\ni2;thé\n"),
        ("csv", {"header": True, "encoding": "iso-8859-1"}, "id,name\ni1,café\ni2,thé\n"),
        ("jsonl", {"encoding": "windows-1252"}, '{"id": "i1", "name": "café"}\n{"id": "i2", "name": "thé"}\n'),
    ],
)
def test_text_is_read_as_the_mapping_says(
    spark: SparkSession, tmp_path: Path, format: str, text: dict[str, Any], lines: str
) -> None:
    file = tmp_path / "items"
    file.write_bytes(lines.encode(text.get("encoding", "utf-8")))
    found = read_rows(spark, [str(file)], mapping(format, **text)).select("id", "name").collect()
    assert sorted(map(tuple, found)) == ROWS


def test_typed_rows_are_read_and_what_cannot_be_is_refused(spark: SparkSession, tmp_path: Path) -> None:
    file = str(tmp_path / "items")
    spark.createDataFrame(ROWS, "id string, name string").write.parquet(file)
    assert sorted(map(tuple, read_rows(spark, [file], mapping("parquet")).collect())) == ROWS
    with pytest.raises(UsageError, match="not read from text that is cut by blanks"):
        read_rows(spark, [file], mapping("csv", delimiter="blanks"))
    if not _reads_avro():
        with pytest.raises(UsageError, match="run 'tools/setup.sh avro' once"):
            read_rows(spark, [file], mapping("avro"))


def _reads_avro() -> bool:
    from intent_spark.lakehouse.session import fetched_jars

    return any("avro" in jar for jar in fetched_jars())
