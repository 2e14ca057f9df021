from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from intent_spark.config.simulation import EVENT_TYPES
from intent_spark.simulation.block import write_block
from intent_spark.simulation.chunk import Shop, ShopPlan
from intent_spark.simulation.encoding import EVENT_COLUMNS
from intent_spark.simulation.simulate import block_chunks

ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+08:00")


def _write(plan: ShopPlan, output: Path, blocks: int | None = None) -> Counter[str]:
    made: Counter[str] = Counter()
    for block, chunks in enumerate(block_chunks(plan, blocks)):
        made.update(write_block(Shop(plan), block, chunks, output))
    return made


def _rows(output: Path, file_format: str) -> list[tuple[str, dict[str, Any] | None]]:
    """Every delivered row with its file's date; None for a row that cannot be read."""
    rows: list[tuple[str, dict[str, Any] | None]] = []
    for path in sorted(output.glob(f"events/date=*/part-*.{file_format}")):
        date = path.parent.name.removeprefix("date=")
        rows += [(date, row) for row in _read(path, file_format)]
    return rows


def _read(path: Path, file_format: str) -> list[dict[str, Any] | None]:
    if file_format == "parquet":
        return list(pq.ParquetFile(path).read().to_pylist())
    lines = path.read_text().splitlines()
    if file_format == "jsonl":
        return [_parsed(line) for line in lines]
    header, *records = csv.reader(lines)
    assert header == EVENT_COLUMNS
    return [dict(zip(header, record, strict=True)) if len(record) == len(header) else None for record in records]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except json.JSONDecodeError:
        return None


@pytest.mark.parametrize("file_format", ["jsonl", "csv", "parquet"])
def test_what_is_counted_is_what_the_files_hold(
    make_plan: Callable[..., ShopPlan], tmp_path: Path, file_format: str
) -> None:
    made = _write(make_plan(file_format=file_format), tmp_path)
    found = [row for _, row in _rows(tmp_path, file_format)]
    whole = [row for row in found if row is not None]
    unknown = [row for row in whole if row["event_type"] not in EVENT_TYPES]
    nobody = [row for row in whole if not row["user_id"]]
    future = [row for row in whole if row["event_time"] > row["received_at"]]
    bad = {row["event_id"] for row in (*unknown, *nobody, *future)}
    good = [row for row in whole if row["event_id"] not in bad]
    assert len(found) == made["rows"]
    assert len(found) - len(whole) == made["fault.malformed"]
    assert (len(unknown), len(nobody)) == (made["fault.unknown_type"], made["fault.missing_user"])
    assert len(future) == made["fault.clock_skew"] > 0
    assert len({row["event_id"] for row in good}) == made["events"]
    assert len(good) - made["events"] == made["fault.duplicate"] + made["fault.resent"]
    assert (made["fault.malformed"] == 0) == (file_format == "parquet")
    by_type = Counter(row["event_type"] for row in {row["event_id"]: row for row in good}.values())
    assert dict(by_type) == {name: made[f"type.{name}"] for name in EVENT_TYPES}


def test_a_file_holds_the_rows_received_on_its_date(make_plan: Callable[..., ShopPlan], tmp_path: Path) -> None:
    _write(make_plan(), tmp_path)
    rows = [(date, row) for date, row in _rows(tmp_path, "jsonl") if row]
    assert all(row["received_at"][:10] == date for date, row in rows)
    assert all(ISO_TIME.fullmatch(row[name]) for _, row in rows for name in ("event_time", "received_at"))
    assert any(row["event_time"][:10] < date for date, row in rows)
    assert all((row["item_id"] is None) == (row["price"] is None) for _, row in rows)
    text = next(tmp_path.glob("events/date=*/part-*.jsonl")).read_text()
    assert re.search(r'"price":\d+\.\d\d,', text)


def test_the_events_do_not_depend_on_the_blocks(make_plan: Callable[..., ShopPlan], tmp_path: Path) -> None:
    plan = make_plan()
    one = _write(plan, tmp_path / "one", blocks=1)
    three = _write(plan, tmp_path / "three", blocks=3)
    again = _write(plan, tmp_path / "again", blocks=3)
    assert one == three == again
    assert _lines(tmp_path / "one") == _lines(tmp_path / "three")
    assert _bytes(tmp_path / "three") == _bytes(tmp_path / "again")
    truths = [
        pq.read_table(tmp_path / name / "truth").sort_by([("user_id", "ascending"), ("as_of", "ascending")])
        for name in ("one", "three")
    ]
    assert truths[0].equals(truths[1])


def _lines(output: Path) -> list[str]:
    paths = [*output.glob("events/*/*.jsonl"), *output.glob("users/*.jsonl")]
    return sorted(f"{path.parent.name} {line}" for path in paths for line in path.read_text().splitlines())


def _bytes(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def test_the_formats_tell_of_the_same_events(make_plan: Callable[..., ShopPlan], tmp_path: Path) -> None:
    seen = []
    for file_format in ("jsonl", "csv", "parquet"):
        _write(make_plan(file_format=file_format, imperfections={"malformed": 0.0}), tmp_path / file_format)
        rows = [row for _, row in _rows(tmp_path / file_format, file_format) if row]
        seen.append(
            sorted(
                (
                    row["event_id"],
                    row["user_id"] or "",
                    row["item_id"] or "",
                    f"{float(row['price'] or 0):.2f}",
                )
                for row in rows
            )
        )
    assert seen[0] == seen[1] == seen[2]


def test_nothing_has_a_final_name_when_a_block_fails(
    make_plan: Callable[..., ShopPlan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(make_plan())
    monkeypatch.setattr(Shop, "users_table", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_block(shop, 0, [0], tmp_path)
    assert [path for path in tmp_path.rglob("[!.]*") if path.is_file()] == []
