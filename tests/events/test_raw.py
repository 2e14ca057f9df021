from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from intent_spark.config.source import SourceMapping
from intent_spark.events.parse import header_columns, parse
from intent_spark.events.raw import RawFile, inspect_files, number_lines, plain_path, read_raw

MakeMapping = Callable[..., SourceMapping]
SMALL = {"spark.sql.files.maxPartitionBytes": "200", "spark.sql.files.openCostInBytes": "0"}


@pytest.fixture
def small_blocks(spark: SparkSession) -> Iterator[None]:
    """Files over 200 bytes are read in several pieces."""
    before = {key: spark.conf.get(key) for key in SMALL}
    for key, value in SMALL.items():
        spark.conf.set(key, value)
    yield
    for key, old in before.items():
        spark.conf.set(key, str(old))


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def whole(spark: SparkSession, mapping: SourceMapping, *paths: Path) -> tuple[DataFrame, list[RawFile], DataFrame]:
    """Raw lines, files and parsed rows."""
    raw = read_raw(spark, [str(path) for path in paths], mapping)
    files = inspect_files(raw, mapping)
    return raw, files, parse(raw, files, mapping)


def placed(raw: DataFrame, rows: DataFrame, mapping: SourceMapping) -> list[tuple[str, int, str]]:
    """(file, line, text) of all rows."""
    numbered = number_lines(rows, raw, mapping).collect()
    return sorted((Path(plain_path(row["_file"])).name, row["line"], row["_raw"]) for row in numbered)


def true_places(*paths: Path, first_line: int) -> list[tuple[str, int, str]]:
    """What a person counting lines would say; blank lines count, but are no rows."""
    found = []
    for path in paths:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        lines = data.decode().replace("\r\n", "\n").split("\n")
        found += [(path.name, n, line) for n, line in enumerate(lines, 1) if line.strip() and n >= first_line]
    return sorted(found)


def test_lines_are_numbered_in_files_read_in_pieces(
    spark: SparkSession, make_mapping: MakeMapping, tmp_path: Path, small_blocks: None
) -> None:
    lines = [f"{n},{'x' * (n * 7 % 31)}" + ("\n" if n % 9 == 0 else "") for n in range(120)]
    big = write(tmp_path / "big.csv", "id,who\n" + "\n".join(lines) + "\n")
    small = write(tmp_path / "small.csv", "id,who\nonly,one")
    packed = write(tmp_path / "packed.csv.gz", "id,who\n" + "\n".join(lines))
    raw, files, rows = whole(spark, make_mapping(), big, small, packed)
    assert raw.select("_block").distinct().count() > 5
    assert sorted((Path(file.path).name, file.rows) for file in files) == [
        ("big.csv", 120), ("packed.csv.gz", 120), ("small.csv", 1)
    ]  # fmt: skip
    assert placed(raw, rows, make_mapping()) == true_places(big, small, packed, first_line=2)


def test_windows_line_ends_and_byte_order_marks(
    spark: SparkSession, make_mapping: MakeMapping, tmp_path: Path, small_blocks: None
) -> None:
    text = "\ufeffid,who\r\n" + "".join(f"{n},person {n}\r\n" for n in range(60)) + "\r\nlast,one"
    path = write(tmp_path / "windows.csv", text)
    raw, [file], rows = whole(spark, make_mapping(), path)
    assert (file.layout, file.rows) == ("id,who", 61)
    assert {row["who"] for row in rows.collect()} == {*(f"person {n}" for n in range(60)), "one"}
    assert placed(raw, rows, make_mapping()) == true_places(path, first_line=2)


def test_files_with_different_headers_are_each_read_by_their_own(
    spark: SparkSession, make_mapping: MakeMapping, tmp_path: Path
) -> None:
    old = write(tmp_path / "old.csv", "who,id\nann,1\n")
    new = write(tmp_path / "new 100%[1].csv", 'id,"full, name",who\n2,"Bob ""B"" B, Jr",bob\n')
    _, files, rows = whole(spark, make_mapping(), old, new)
    assert len({file.layout for file in files}) == 2
    found = {row["id"]: (row["who"], row["full, name"], row["_corrupt"]) for row in rows.collect()}
    assert found == {"1": ("ann", None, None), "2": ("bob", 'Bob "B" B, Jr', None)}


def test_header_columns(make_mapping: MakeMapping) -> None:
    assert header_columns(' id ,"a,b",', make_mapping()) == ["id", "a,b", "column_3"]
    assert header_columns(",who,who,", make_mapping()) == ["column_1", "who", "who_3", "column_4"]
    assert header_columns("id;`x`", make_mapping(text={"delimiter": ";"})) == ["id", "`x`"]
    assert header_columns("  id \t who ", make_mapping(text={"delimiter": "blanks"})) == ["id", "who"]


def test_headers_with_blank_repeated_and_odd_names(
    spark: SparkSession, make_mapping: MakeMapping, tmp_path: Path
) -> None:
    path = write(tmp_path / "pandas.csv", "\n,who,who,a`b.c,\n0,ann,x,y,z\n")
    raw, [file], rows = whole(spark, make_mapping(), path)
    assert file.rows == 1
    [row] = rows.collect()
    assert row[:5] == ("0", "ann", "x", "y", "z")
    assert placed(raw, rows, make_mapping()) == [("pandas.csv", 3, "0,ann,x,y,z")]


def test_blank_separated_text(spark: SparkSession, make_mapping: MakeMapping, tmp_path: Path) -> None:
    mapping = make_mapping(text={"delimiter": "blanks"})
    path = write(tmp_path / "cd.txt", " id  who\n 00001 19970101\t\n\t00002   19970112  \n3\n1 2 3\n")
    _, _, rows = whole(spark, mapping, path)
    found = [(row["id"], row["who"]) for row in rows.orderBy("_row").collect() if row["_corrupt"] is None]
    assert found == [("00001", "19970101"), ("00002", "19970112")]
    assert rows.where("_corrupt is not null").count() == 2


def test_broken_csv_lines_are_marked_and_kept(spark: SparkSession, make_mapping: MakeMapping, tmp_path: Path) -> None:
    bad = ["1", "1,2,3", "," * 30_000, "\x00\x01,x,y"]
    path = write(tmp_path / "bad.csv", "\n".join(["id,who", "1,fine", *bad]) + "\n")
    _, [file], rows = whole(spark, make_mapping(), path)
    assert file.rows == 5 == rows.count()
    assert {row["_raw"][:20] for row in rows.where("_corrupt is not null").collect()} == {text[:20] for text in bad}


def test_broken_json_lines_are_marked_and_kept(spark: SparkSession, make_mapping: MakeMapping, tmp_path: Path) -> None:
    mapping = make_mapping(format="jsonl", text={"columns": ["id", "who"]})
    bad = ["{", '{"id": 1', "[1, 2]", '[{"id": 1}]', "plain", '"text"', "null", "7", '{"id": 1} {"id": 2}x']
    good = ['{"id": 1, "who": {"a": [1]}}', "{}", '{"who": null, "other": 3}', '{"id": 1.50}']
    path = write(tmp_path / "lines.jsonl", "\n".join([*bad, *good]) + "\n\n")
    _, [file], rows = whole(spark, mapping, path)
    assert file.rows == len(bad) + len(good) == rows.count()
    found = [(row["id"], row["who"]) for row in rows.where("_corrupt is null and id is not null").collect()]
    assert {*found} >= {("1", '{"a":[1]}'), ("1.5", None)}
    refused = {row["_raw"] for row in rows.where("_corrupt is not null or id is null").collect()}
    assert {*bad} - {'{"id": 1} {"id": 2}x'} <= refused


def test_parquet_rows_keep_their_place(spark: SparkSession, make_mapping: MakeMapping, tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"id": range(500), "who": [f"u{n}" for n in range(500)]})
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path, row_group_size=100)
    raw, [file], rows = whole(spark, make_mapping(format="parquet"), path)
    assert file.rows == 500
    lines = number_lines(rows, raw, make_mapping(format="parquet")).collect()
    assert all(row["line"] == row["id"] + 1 for row in lines)
    assert json.loads(lines[0]["_raw"]) == {"id": lines[0]["id"], "who": lines[0]["who"]}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_digest_tells_contents_and_not_names(
    spark: SparkSession, make_mapping: MakeMapping, tmp_path: Path, suffix: str
) -> None:
    text = "id,who\n1,ann\n2,bob\n"
    same = [write(tmp_path / f"{name}{suffix}", text) for name in ("a", "b b", "c")]
    other = [
        write(tmp_path / f"{n}{suffix}", changed)
        for n, changed in enumerate([text + "2,bob\n", text[:-1] + "b\n", "id,who\n1,ann\n", "who,id\n1,ann\n2,bob\n"])
    ]
    digests: dict[str, Any] = {
        Path(plain_path(file.path)).name: file.digest for file in whole(spark, make_mapping(), *same, *other)[1]
    }
    assert len({digests[path.name] for path in same}) == 1
    assert len(set(digests.values())) == 1 + len(other)


def test_a_digest_is_the_same_however_a_file_is_split(
    spark: SparkSession, make_mapping: MakeMapping, tmp_path: Path
) -> None:
    text = "id,who\n" + "".join(f"{n},person {n}\n" for n in range(200))
    plain, packed = write(tmp_path / "a.csv", text), write(tmp_path / "a.csv.gz", text)
    before = {key: spark.conf.get(key) for key in SMALL}
    one = [file.digest for file in whole(spark, make_mapping(), plain, packed)[1]]
    try:
        for key, value in SMALL.items():
            spark.conf.set(key, value)
        many = [file.digest for file in whole(spark, make_mapping(), plain, packed)[1]]
    finally:
        for key, old in before.items():
            spark.conf.set(key, str(old))
    assert len({*one, *many}) == 1
