from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from intent_spark.config.errors import UsageError
from intent_spark.lakehouse.files import list_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/1.csv", "a/2.csv", "b/deep/3 x.csv", "_tmp/4.csv", ".hidden", "a/_SUCCESS"):
        file = tmp_path / "raw" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    (tmp_path / "raw" / "empty").mkdir()
    return tmp_path / "raw"


def names(spark: SparkSession, pattern: Path) -> list[str]:
    return [file.path.rpartition("/")[2] for file in list_files(spark, str(pattern))]


def test_folders_files_and_globs(spark: SparkSession, folder: Path) -> None:
    assert names(spark, folder) == ["1.csv", "2.csv", "3 x.csv"]
    assert names(spark, folder / "a") == ["1.csv", "2.csv"]
    assert names(spark, folder / "*" / "2.csv") == ["2.csv"]
    [file] = list_files(spark, str(folder / "a" / "1.csv"))
    assert file.size == 1
    assert file.path == f"file:{folder}/a/1.csv"


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("{folder}/nowhere", "no such file, or a folder without files"),
        ("{folder}/empty", "no such file, or a folder without files"),
        ("{folder}/*.json", "no such file, or a folder without files"),
        ("{folder}/[a", "cannot be listed"),
        ("moon://bucket/x", "cannot be listed"),
        ("", "cannot be listed"),
    ],
)
def test_what_is_not_there_is_one_sentence(spark: SparkSession, folder: Path, pattern: str, says: str) -> None:
    pattern = pattern.format(folder=folder)
    with pytest.raises(UsageError) as caught:
        list_files(spark, pattern)
    assert str(caught.value).startswith(f"input {pattern}: {says}")
    assert "\n" not in str(caught.value)
