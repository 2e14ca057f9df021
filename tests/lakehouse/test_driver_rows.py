"""Rows written without Spark: as Spark reads them, once, and only as the contract allows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from intent_spark.lakehouse.contract import Column, TableContract
from intent_spark.lakehouse.lakehouse import Build, Lakehouse, table_properties

DAYS = TableContract(
    name="days",
    row="one day",
    written_by="nobody",
    keys=("day",),
    partition_by=("day",),
    columns=(
        Column("day", "date", "the day", nullable=False),
        Column("measured_at", "timestamp", "when"),
        Column("counts", "map<string,bigint>", "counts by name", "events"),
        Column("gates", "array<struct<gate:string,value:double>>", "its gates"),
    ),
)
CHECKED = TableContract("checked", "one row", "nobody", DAYS.columns, ("day",), checks={"late": "day > '2026-01-01'"})


def row(day: int, **counts: int) -> dict[str, Any]:
    measured = datetime(2026, 4, day, 12, 30, 0, 5, UTC)
    gates = [{"gate": "low_volume", "value": 0.5}]
    return {"day": date(2026, 4, day), "measured_at": measured, "counts": counts, "gates": gates}


@pytest.fixture
def lakehouse(spark: SparkSession, tmp_path: Path) -> Lakehouse:
    return Lakehouse(spark, str(tmp_path))


def test_spark_reads_what_was_appended_and_finds_the_contract(lakehouse: Lakehouse) -> None:
    lakehouse.append_rows([row(1, view=2), row(2)], DAYS)
    found = lakehouse.read("days")
    assert found.schema == DAYS.schema()
    first, second = (one.asDict(recursive=True) for one in found.orderBy("day").collect())
    assert first | {"measured_at": None} == row(1, view=2) | {"measured_at": None}
    assert found.selectExpr("unix_micros(measured_at)").first()[0] == row(1)["measured_at"].timestamp() * 1_000_000
    assert second["counts"] == {}
    assert lakehouse.properties("days").items() >= table_properties(lakehouse.retention).items()
    assert [one["counts"] for one in lakehouse.rows("days", "counts", where=[("day", "in", [date(2026, 4, 1)])])] == [
        [("view", 2)]
    ]


def test_the_same_again_adds_nothing_whoever_appended_it(lakehouse: Lakehouse) -> None:
    lakehouse.append_once(lakehouse.spark.createDataFrame([row(1)], DAYS.schema()), DAYS, "b1")
    for batch in ("b1", "b2", "b2"):
        lakehouse.append_rows([row(2)], DAYS, once=batch)
    lakehouse.append_once(lakehouse.spark.createDataFrame([row(3)], DAYS.schema()), DAYS, "b2")
    assert sorted(one["day"].day for one in lakehouse.rows("days", "day")) == [1, 2]


def test_many_at_the_same_moment(lakehouse: Lakehouse) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: lakehouse.append_rows([row(1)], DAYS, once=f"b{number % 3}"), range(6)))
    assert len(lakehouse.rows("days", "day")) == 3


def test_a_day_is_replaced_and_no_other(lakehouse: Lakehouse) -> None:
    lakehouse.append_rows([row(1, view=1), row(2, view=2)], DAYS)
    other = [name for name in _files(lakehouse) if "2026-04-01" in name]
    lakehouse.replace_rows([row(2, view=5)], DAYS, "day", date(2026, 4, 2), Build("nobody", ["2026-04-02"], {"a": 3}))
    assert {one["day"].day: dict(one["counts"]) for one in lakehouse.rows("days", "day", "counts")} == {
        1: {"view": 1},
        2: {"view": 5},
    }
    assert len(other) == 1 and set(other) < set(_files(lakehouse))
    assert lakehouse.newest_builds("days")["2026-04-02"].inputs == {"a": 3}
    with pytest.raises(Exception, match="predicate|validation"):
        lakehouse.replace_rows([row(3)], DAYS, "day", date(2026, 4, 2), Build("nobody"))
    assert {one["day"].day for one in lakehouse.rows("days", "day")} == {1, 2}


def test_a_creation_that_was_killed_does_not_hinder(lakehouse: Lakehouse) -> None:
    Path(lakehouse.path("days"), "_delta_log").mkdir(parents=True)
    lakehouse.append_rows([row(1)], DAYS)
    assert lakehouse.read("days").count() == 1


def test_checks_are_kept(lakehouse: Lakehouse) -> None:
    with pytest.raises(Exception, match="failed validation"):
        lakehouse.append_rows([row(1) | {"day": date(2025, 1, 1)}], CHECKED)
    lakehouse.append_rows([row(1)], CHECKED)
    assert lakehouse.read("checked").count() == 1


def _files(lakehouse: Lakehouse) -> list[str]:
    return DeltaTable(lakehouse.path("days")).file_uris()
