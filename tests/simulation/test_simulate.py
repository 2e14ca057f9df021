from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from intent_spark.config.errors import UsageError
from intent_spark.simulation.chunk import ShopPlan
from intent_spark.simulation.simulate import MANIFEST, block_chunks, read_manifest, simulate

NO_SPARK: Any = None


def _simulate(spark: SparkSession, plan: ShopPlan, output: Path, **changed: Any) -> Any:
    plan = replace(plan, **changed)
    return simulate(spark, plan.config, plan.users, plan.days, plan.start_date, plan.seed, output, plan.file_format)


@pytest.mark.slow
def test_spark_writes_the_shop_once(spark: SparkSession, make_plan: Callable[..., ShopPlan], tmp_path: Path) -> None:
    output, plan = tmp_path / "shop", make_plan()
    summary = _simulate(spark, plan, output)
    assert summary == read_manifest(output)
    assert summary.users == 302 and summary.imperfections["bots"] == 2
    faults = sum(summary.imperfections[name] for name in summary.imperfections if not name.startswith(("bot", "late")))
    assert summary.rows == summary.events + faults
    assert pq.read_table(output / "truth").num_rows == summary.truth["rows"]
    assert (output / "items" / "snapshot.jsonl").is_file()
    assert summary.first_delivery == "2026-03-01" and summary.last_delivery > "2026-03-21"
    stamps = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert _simulate(spark, plan, output) == summary
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == stamps
    with pytest.raises(UsageError, match=r"another simulated shop \(seed 5\)"):
        _simulate(spark, plan, output, seed=6)


@pytest.mark.slow
def test_a_simulation_cut_short_is_completed(
    spark: SparkSession, make_plan: Callable[..., ShopPlan], tmp_path: Path
) -> None:
    output, plan = tmp_path / "shop", make_plan()
    summary = _simulate(spark, plan, output)
    arguments = json.loads((output / MANIFEST).read_text())["arguments"]
    (output / MANIFEST).write_text(json.dumps({"status": "unfinished", "arguments": arguments}))
    lost = next(output.glob("events/*/part-*"))
    lost.unlink()
    with pytest.raises(UsageError, match="is unfinished"):
        read_manifest(output)
    assert _simulate(spark, plan, output) == summary
    assert lost.is_file()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"users": 0}, "--users must be between 1"),
        ({"days": 0}, "--days must be between 1"),
        ({"seed": -1}, "--seed must be between 0"),
        ({"file_format": "xml"}, "--format must be jsonl, csv or parquet, found 'xml'"),
        ({"start_date": date(1900, 1, 1)}, "--start-date must lie in the years"),
    ],
)
def test_arguments_that_make_no_shop_are_refused(
    make_plan: Callable[..., ShopPlan], tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        _simulate(NO_SPARK, make_plan(), tmp_path / "shop", **changed)
    assert not (tmp_path / "shop").exists()


def test_a_folder_of_other_files_is_left_alone(make_plan: Callable[..., ShopPlan], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear to somebody")
    with pytest.raises(UsageError, match="holds no simulated shop but other files"):
        _simulate(NO_SPARK, make_plan(), tmp_path)
    with pytest.raises(UsageError, match="holds no simulated shop"):
        read_manifest(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_blocks_hold_every_chunk_once(make_plan: Callable[..., ShopPlan]) -> None:
    plan = make_plan(users=950)
    for blocks in (None, 1, 3, 100):
        cuts = block_chunks(plan, blocks)
        assert sorted(chunk for cut in cuts for chunk in cut) == list(range(12))
        assert all(cuts)
    assert [len(cut) for cut in block_chunks(plan, 2)] == [6, 6]
