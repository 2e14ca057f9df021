from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.loading import load_settings
from intent_spark.events import finish as finishing
from intent_spark.events import ingestion
from intent_spark.events.job import IngestEvents
from intent_spark.lakehouse.job import JobContext, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.pipeline.options import build_parser

Ingest = Callable[..., Outcome]
WriteTill = Callable[..., Path]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("till")]


def line(event_id: str, **changes: str) -> str:
    row = {
        "id": event_id, "who": f"u-{event_id}", "what": "sale", "item": "i", "quantity": "1", "price": "2.50",
        "currency": "GBP", "at": "2026-01-15 10:00:00",
    } | changes  # fmt: skip
    return ",".join(row.values())


def ids(context: JobContext) -> list[str]:
    return sorted(row[0] for row in context.lakehouse.read("events").select("event_id").collect())


def ledger(context: JobContext) -> list[dict[str, Any]]:
    return [
        row.asDict(recursive=True) for row in context.lakehouse.read("ingest_ledger").orderBy("ingested_at").collect()
    ]


def versions(context: JobContext) -> dict[str, int]:
    names = ("events", "events_quarantine", "ingest_ledger")
    return {name: context.lakehouse.version(name) for name in names if context.lakehouse.exists(name)}


def counts(row: dict[str, Any]) -> tuple[int, int, int, int]:
    return row["read"], row["accepted"], row["duplicate"], row["quarantined"]


def test_tiny_files_end_to_end(context: JobContext, ingest: Ingest, write_till: WriteTill) -> None:
    one = write_till(
        "one.csv", line("a"), line("a"), "", line("b", at="2026-07-01 00:30:00"), "torn", line("c", what="steal")
    )
    write_till("two.csv", line("b", price="9", at="2026-07-01 00:30:00"), line("d", who=""), line("e", what="look"))
    outcome = ingest("till", one.parent)
    assert ids(context) == ["a", "b", "e"]
    [row] = ledger(context)
    assert counts(row) == (8, 3, 2, 3)
    assert row["days"] == {date(2026, 1, 15): 2, date(2026, 7, 1): 1}
    assert sorted((Path(file["path"]).name, file["rows"]) for file in row["files"]) == [("one.csv", 5), ("two.csv", 3)]
    assert (outcome.rows_in, outcome.rows_out, outcome.status) == (8, 3, "succeeded")
    assert outcome.message == f"batch {row['batch_id']}: read 8 = accepted 3 + duplicate 2 + quarantined 3"
    refused = context.lakehouse.read("events_quarantine").collect()
    assert sorted((Path(r["file"]).name, r["line"], r["reason"], r["raw"]) for r in refused) == [
        ("one.csv", 6, "malformed", "torn"),
        ("one.csv", 7, "unknown_event_type", line("c", what="steal")),
        ("two.csv", 3, "missing_user_id", line("d", who="")),
    ]
    stored = {r["event_id"]: r for r in context.lakehouse.read("events").collect()}
    assert stored["a"]["price"] == 250
    assert {(r["batch_id"], r["source"]) for r in stored.values()} == {(row["batch_id"], "till")}
    assert row["events_version"] == context.lakehouse.version("events")


def test_what_was_ingested_is_not_ingested_again(context: JobContext, ingest: Ingest, write_till: WriteTill) -> None:
    file = write_till("day 1.csv", line("a"), line("b"), "torn")
    ingest("till", file.parent)
    before = versions(context)
    assert ingest("till", file.parent).status == "nothing_to_do"
    file.rename(file.with_name("renamed [1] 100%.csv"))
    packed = gzip.compress((file.parent / "renamed [1] 100%.csv").read_bytes())
    (file.parent / "again.csv.gz").write_bytes(packed)
    assert ingest("till", file.parent).status == "nothing_to_do"
    assert versions(context) == before
    assert [run["status"] for run in context.lakehouse.read("job_runs").orderBy("started_at").collect()] == [
        "succeeded", "nothing_to_do", "nothing_to_do"
    ]  # fmt: skip


def test_a_file_delivered_again_with_more_lines_adds_only_these(
    context: JobContext, ingest: Ingest, write_till: WriteTill
) -> None:
    file = write_till("2026-01-15.csv", line("a"), line("b"))
    ingest("till", file.parent, "--date", "2026-01-15")
    write_till("2026-01-15.csv", line("a"), line("b"), line("c"), line("d", at="2026-01-20 10:00:00"))
    ingest("till", file.parent, "--date", "2026-01-15")
    assert ids(context) == ["a", "b", "c", "d"]
    assert [counts(row) for row in ledger(context)] == [(2, 2, 0, 0), (4, 2, 2, 0)]
    assert ledger(context)[1]["days"] == {date(2026, 1, 15): 1, date(2026, 1, 20): 1}


def test_only_new_files_of_a_folder_are_read(context: JobContext, ingest: Ingest, write_till: WriteTill) -> None:
    file = write_till("1.csv", line("a"), line("a"))
    ingest("till", file.parent)
    write_till("2 {b}.csv", line("b"), line("a", at="2026-01-16 10:00:00"))
    ingest("till", file.parent)
    assert ids(context) == ["a", "b"]
    assert [counts(row) for row in ledger(context)] == [(2, 1, 1, 0), (2, 1, 1, 0)]


def die(*_: Any) -> None:
    raise RuntimeError("killed")


@pytest.mark.parametrize("stopped_at", [(finishing, "add_refused"), (ingestion, "finish")])
def test_a_run_killed_after_the_events_is_completed_by_the_next(
    context: JobContext, ingest: Ingest, write_till: WriteTill, monkeypatch: pytest.MonkeyPatch,
    stopped_at: tuple[ModuleType, str], till: Path,
) -> None:  # fmt: skip
    """By whatever run comes next: it needs neither the files nor the mapping as they were."""
    file = write_till("1.csv", line("a"), line("b"), line("b"), "torn")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(*stopped_at, die)
        ingest("till", file.parent)
    assert ids(context) == ["a", "b"]
    assert not context.lakehouse.exists("ingest_ledger")
    file.unlink()
    till.write_text(till.read_text().replace("item_id: item", "item_id: upper(item)"))
    assert ingest("till", write_till("2.csv", line("c"))).status == "succeeded"
    assert ids(context) == ["a", "b", "c"]
    assert sorted(counts(row) for row in ledger(context)) == [(1, 1, 0, 0), (4, 2, 1, 1)]
    [refused] = context.lakehouse.read("events_quarantine").collect()
    assert (Path(refused["file"]).name, refused["line"], refused["raw"]) == ("1.csv", 5, "torn")
    assert not any(Path(context.lakehouse.path("_staging")).iterdir())
    assert ingest("till", file.parent).status == "nothing_to_do"


def test_a_killed_run_and_then_the_same_files_renamed_still_gives_each_event_once(
    context: JobContext, ingest: Ingest, write_till: WriteTill, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_till("1.csv", line("a"), line("b"))
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(ingestion, "finish", die)
        ingest("till", file.parent)
    file.rename(file.with_name("2.csv"))
    ingest("till", file.parent)
    assert ids(context) == ["a", "b"]
    assert [counts(row) for row in ledger(context)] == [(2, 2, 0, 0)]


def test_a_source_of_another_zone_is_refused(
    context: JobContext, ingest: Ingest, write_till: WriteTill, till: Path, tmp_path: Path
) -> None:
    ingest("till", write_till("1.csv", line("a")))
    before = versions(context)
    till.with_name("other.yaml").write_text(
        till.read_text().replace("time_zone: Europe/London", "time_zone: Asia/Tokyo")
    )
    with pytest.raises(
        ContractError, match="source other is of a shop in Asia/Tokyo with GBP, but warehouse"
    ) as caught:
        ingest("other", write_till("2.csv", line("b")))
    assert caught.value.exit_code == 3
    assert versions(context) == before
    till.with_name("same.yaml").write_text(till.read_text())
    assert ingest("same", write_till("2.csv", line("b"))).rows_out == 1


def test_a_mapping_that_does_not_fit_leaves_no_table(
    context: JobContext, ingest: Ingest, write_till: WriteTill, till: Path
) -> None:
    till.write_text(till.read_text().replace("user_id: who", "user_id: customer"))
    with pytest.raises(ContractError, match="the mapping does not fit the data"):
        ingest("till", write_till("1.csv", line("a")))
    assert versions(context) == {}


def test_a_header_alone_is_an_empty_day(context: JobContext, ingest: Ingest, write_till: WriteTill) -> None:
    file = write_till("2026-01-15.csv")
    assert ingest("till", file.parent, "--date", "2026-01-15").status == "succeeded"
    assert [counts(row) for row in ledger(context)] == [(0, 0, 0, 0)]
    assert context.lakehouse.read("events").isEmpty()
    assert ingest("till", file.parent, "--date", "2026-01-15").status == "nothing_to_do"


def test_a_file_without_a_byte_is_nothing_to_do(context: JobContext, ingest: Ingest, write_till: WriteTill) -> None:
    file = write_till("1.csv")
    file.write_text("")
    assert ingest("till", file).status == "nothing_to_do"


def test_a_batch_of_mostly_bad_rows_is_refused_whole(context: JobContext, write_till: WriteTill, till: Path) -> None:
    strict = JobContext(load_settings(), context.spark, context.lakehouse)
    file = write_till("1.csv", line("a"), line("x", price="-1"), "torn")
    with pytest.raises(ContractError, match=r"67% of 3 rows do not fit its mapping \(.*bad_price 1.*\)"):
        execute(
            IngestEvents(), strict, build_parser(IngestEvents()).parse_args(["--source", "till", "--input", str(file)])
        )
    assert not context.lakehouse.exists("events") and not context.lakehouse.exists("events_quarantine")


def test_only_refused_rows(context: JobContext, ingest: Ingest, write_till: WriteTill) -> None:
    ingest("till", write_till("1.csv", line("a")))
    ingest("till", write_till("2.csv", "torn", "torn", line("x", price="-1")))
    assert ids(context) == ["a"]
    assert counts(ledger(context)[1]) == (3, 0, 0, 3)


def test_joined_files_repeat_their_header(context: JobContext, ingest: Ingest, write_till: WriteTill) -> None:
    """``cat *.csv > all.csv``: the repeated header is no event and no crash."""
    file = write_till("all.csv", line("a"))
    file.write_text(file.read_text() + file.read_text().replace("u-a", "u-b").replace("a,", "b,", 1))
    ingest("till", file)
    assert counts(ledger(context)[0]) == (3, 2, 1, 0)


def test_days_choose_files(
    context: JobContext, ingest: Ingest, write_till: WriteTill, caplog: pytest.LogCaptureFixture
) -> None:
    for day in (14, 15, 17):
        write_till(f"2026-01-{day}.csv", line(f"e{day}", at=f"2026-01-{day} 10:00:00"))
    folder = write_till("2026-01-18.csv", line("e18")).parent
    ingest("till", folder, "--start-date", "2026-01-15", "--end-date", "2026-01-18")
    assert ids(context) == ["e15", "e17"]
    ingest("till", folder, "--date", "2026-01-14")
    assert ids(context) == ["e14", "e15", "e17"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--date", "2030-01-01"], "no file for 2030-01-01 to 2030-01-01"),
        (["--start-date", "2026-01-15"], "go together"),
        (["--start-date", "2026-01-15", "--end-date", "2026-01-15"], "is not before"),
        (["--date", "2026-01-15", "--end-date", "2026-01-16"], "use one of the two"),
    ],
)
def test_wrong_days_change_nothing(
    context: JobContext, ingest: Ingest, write_till: WriteTill, words: list[str], says: str
) -> None:
    file = write_till("2026-01-15.csv", line("a"))
    with pytest.raises(UsageError, match=says):
        ingest("till", file.parent, *words)
    assert not Path(context.lakehouse.root).exists()


def test_parquet_files(context: JobContext, ingest: Ingest, tmp_path: Path) -> None:
    rows = [line("a").split(","), line("b", price="").split(","), line("c", quantity="x").split(",")]
    frame = pd.DataFrame(rows, columns=["id", "who", "what", "item", "quantity", "price", "currency", "at"])
    frame.to_parquet(tmp_path / "till.parquet")
    ingest("till", tmp_path / "till.parquet", "--format", "parquet")
    assert ids(context) == ["a", "b"]
    [refused] = context.lakehouse.read("events_quarantine").collect()
    assert (refused["line"], refused["reason"]) == (3, "bad_quantity")
    assert refused["raw"].startswith('{"id":"c","who":"u-c"')


def test_hostile_text_is_quarantined_not_fatal(context: JobContext, ingest: Ingest, write_till: WriteTill) -> None:
    hostile = [
        "," * 30_000, '"' * 999, "\x00" * 50, "é" * 100_000, line("x", at="+999999-01-01 00:00:00"),
        line("x", at="0001-01-01 00:00:00"), line("x", price="1e400"), line("x", quantity="-" + "9" * 400),
        line("x", at="2026-01-15 10:00:00 trailing"), line("x", price="9" * 400),
    ]  # fmt: skip
    ingest("till", write_till("1.csv", line("a"), *hostile))
    assert counts(ledger(context)[0]) == (1 + len(hostile), 1, 0, len(hostile))
