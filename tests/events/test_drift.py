"""A source that changes: what it gained is told, what it lost or retyped stops it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from intent_spark.config.errors import ContractError
from intent_spark.config.log import LOGGER
from intent_spark.config.source import SourceMapping
from intent_spark.events.drift import compare, json_columns, mapped_columns
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.job_runs import Outcome
from tests.events.conftest import HEADER
from tests.events.test_ingest import ids, ledger, line, versions

Ingest = Callable[..., Outcome]
WriteTill = Callable[..., Path]


def test_what_a_mapping_reads(make_mapping: Callable[..., SourceMapping]) -> None:
    mapping = make_mapping(
        fields={"user_id": "coalesce(`card no`, 'what')", "event_id": None, "item_id": "upper(Item)"}, where="till > 3",
        id_columns=["nr"], tie_break=["sent"], split={"by": "split(lines, ';')", "into": "piece"},
    )  # fmt: skip
    there = [
        "card no",
        "card",
        "who",
        "what",
        "item",
        "quantity",
        "price",
        "currency",
        "at",
        "till",
        "nr",
        "sent",
        "lines",
    ]
    assert mapped_columns(mapping, there) == {*there} - {"card", "who"}


def test_columns_are_compared_by_what_is_read() -> None:
    before = {"id": "bigint", "who": "double", "note": "string", "gone": "int"}
    now = {"id": "int", "who": "bigint", "note": "int", "new": "date"}
    drift = compare(before, now, {"id", "who", "gone"})
    assert (drift.gained, drift.lost, drift.retyped) == (["new"], ["gone"], {"who": ("double", "bigint")})
    assert drift.describe() == "lost gone, who is bigint, was double"
    assert compare(before, now, set()).describe() == ""


def test_json_lines_are_told_from_what_most_have() -> None:
    rows: list[Any] = [{"id": n, "price": 1.5 if n % 2 else "2", "rare": 1, "who": None} for n in range(4)]
    rows[1:] = [{key: value for key, value in row.items() if key != "rare"} for row in rows[1:]]
    lines = [json.dumps(row) for row in rows] + ["torn", "[1]"]
    assert json_columns(lines) == {"id": "number", "price": "number|text", "who": ""}
    same = compare({"price": "number"}, {"price": "number|text"}, {"price"})
    assert not same.retyped
    assert compare({"price": "number"}, {"price": "text"}, {"price"}).retyped == {"price": ("number", "text")}


@pytest.mark.slow
def test_a_csv_that_gains_and_then_loses_a_column(
    context: JobContext, ingest: Ingest, write_till: WriteTill, till: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(LOGGER, "propagate", True)
    ingest("till", write_till("1.csv", line("a")))
    gained = write_till("2.csv", line("b"))
    gained.write_text(f"{HEADER},note\n{line('b')},nice\n")
    ingest("till", gained)
    assert "source=till gained=note" in caplog.text
    assert {*ledger(context)[1]["columns"]} == {*HEADER.split(","), "note"}
    lost = write_till("3.csv")
    lost.write_text("id,who,what,item,price,currency,at\nc,u,sale,i,1,GBP,2026-01-15 10:00:00\n")
    before = versions(context)
    with pytest.raises(
        ContractError, match=r"source till: .* no longer what they were in batch \w+: lost quantity; mend"
    ):
        ingest("till", lost)
    assert versions(context) == before
    till.write_text(till.read_text().replace("quantity: quantity", "quantity: '1'"))
    ingest("till", lost)
    assert ids(context) == ["a", "b", "c"]


@pytest.mark.slow
def test_a_parquet_column_of_another_type(context: JobContext, ingest: Ingest, till: Path, tmp_path: Path) -> None:
    """Pandas makes whole numbers to floats where one is missing: another user, if it went unseen."""
    row = {"id": "a", "who": 17850, "what": "sale", "item": "i", "quantity": 1, "price": 2.5, "currency": "GBP"}
    row |= {"at": "2026-01-15 10:00:00"}
    pd.DataFrame([row]).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame([row | {"id": "b", "who": 17850.0}]).to_parquet(tmp_path / "2.parquet")
    ingest("till", tmp_path / "1.parquet", "--format", "parquet")
    with pytest.raises(ContractError, match="who is double, was bigint"):
        ingest("till", tmp_path / "2.parquet", "--format", "parquet")
    ingest("till", tmp_path / "2.parquet", "--format", "parquet", "--accept-columns")
    assert ids(context) == ["a", "b"]
    assert ledger(context)[1]["columns"]["who"] == "double"
