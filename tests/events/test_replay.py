"""Refused rows run again: they leave the quarantine when they fit, and every count still adds up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from intent_spark.config.errors import UsageError
from intent_spark.events import finish as finishing
from intent_spark.events import replay as replaying
from intent_spark.events.job import IngestEvents
from intent_spark.lakehouse.job import JobContext, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.pipeline.options import build_parser
from tests.events.test_ingest import counts, ids, ledger, line

Ingest = Callable[..., Outcome]
WriteTill = Callable[..., Path]
pytestmark = pytest.mark.slow


def replay(context: JobContext, reason: str, *words: str) -> Outcome:
    options = build_parser(IngestEvents()).parse_args(["--replay", "--reason", reason, *words])
    IngestEvents().check_options(options)
    return execute(IngestEvents(), context, options)


def refused(context: JobContext) -> list[tuple[str, int, str]]:
    rows = context.lakehouse.read("events_quarantine").collect()
    return sorted((Path(row["file"]).name, row["line"], row["reason"]) for row in rows)


def check_totals(context: JobContext) -> None:
    """Over all batches and replays: what was read is an event, a copy of one, left out, or in the quarantine."""
    rows = ledger(context)
    read = sum(row["read"] for row in rows if row["kind"] == "files") + sum(row["split"] for row in rows)
    events = context.lakehouse.read("events").count()
    held = context.lakehouse.read("events_quarantine").count() if context.lakehouse.exists("events_quarantine") else 0
    assert events == sum(row["accepted"] for row in rows)
    assert read == events + held + sum(row["duplicate"] + row["filtered"] for row in rows)
    left = sum(row["read"] - row["quarantined"] for row in rows if row["kind"] == "replay")
    assert held == sum(row["quarantined"] for row in rows if row["kind"] == "files") - left


@pytest.fixture
def dirty(context: JobContext, ingest: Ingest, write_till: WriteTill, till: Path) -> Path:
    """Two unknown types, one of them a copy of an event that is there, and a price that is none."""
    file = write_till(
        "1.csv",
        line("a"),
        line("b", what="pay"),
        line("c", price="free"),
        line("a", what="pay"),
        line("d", what="steal"),
    )
    ingest("till", file)
    assert refused(context) == [
        ("1.csv", 3, "unknown_event_type"), ("1.csv", 4, "bad_price"), ("1.csv", 5, "unknown_event_type"),
        ("1.csv", 6, "unknown_event_type"),
    ]  # fmt: skip
    return file


def mend(till: Path, old: str, new: str) -> None:
    text = till.read_text()
    assert old in text
    till.write_text(text.replace(old, new))


def test_mended_rows_leave_the_quarantine(context: JobContext, dirty: Path, till: Path, ingest: Ingest) -> None:
    mend(till, "sale: purchase", "sale: purchase, pay: purchase")
    dirty.unlink()  # the quarantine is all that a replay needs
    outcome = replay(context, "unknown_event_type")
    assert ids(context) == ["a", "b"]
    assert refused(context) == [("1.csv", 4, "bad_price"), ("1.csv", 6, "unknown_event_type")]
    [first, second] = ledger(context)
    assert counts(first) == (5, 1, 0, 4)
    assert (second["kind"], *counts(second)) == ("replay", 3, 1, 1, 1)
    assert list(second["days"].values()) == [1] and second["source"] == "till"
    said = f"batch {second['batch_id']}: read 3 = accepted 1 + duplicate 1 + quarantined 1"
    assert (outcome.rows_in, outcome.rows_out, outcome.message) == (3, 1, said)
    check_totals(context)
    mend(till, "look: view", "look: view, steal: view")
    replay(context, "unknown_event_type", "--source", "till")
    assert ids(context) == ["a", "b", "d"]
    assert [counts(row) for row in ledger(context)] == [(5, 1, 0, 4), (3, 1, 1, 1), (1, 1, 0, 0)]
    check_totals(context)
    assert replay(context, "unknown_event_type").status == "nothing_to_do"


def test_rows_that_still_do_not_fit_stay_with_their_new_reason(context: JobContext, dirty: Path, till: Path) -> None:
    mend(till, "currency: GBP", "currency: GBP")
    replay(context, "bad_price")
    assert refused(context)[1] == ("1.csv", 4, "bad_price")
    mend(till, "quantity: quantity", "quantity: quantity * -1")
    mend(till, "value: price", "value: \"replace(price, 'free', '0')\"")
    replay(context, "bad_price")
    assert refused(context)[1] == ("1.csv", 4, "bad_quantity")
    assert [counts(row) for row in ledger(context)] == [(5, 1, 0, 4), (1, 0, 0, 1), (1, 0, 0, 1)]
    check_totals(context)


@pytest.mark.parametrize("stopped_at", [(finishing, "apply_outcome"), (replaying, "finish")])
def test_a_replay_killed_half_way_is_completed_by_the_next_run(
    context: JobContext, dirty: Path, till: Path, monkeypatch: pytest.MonkeyPatch, stopped_at: tuple[Any, str]
) -> None:
    def die(*_: Any) -> None:
        raise RuntimeError("killed")

    mend(till, "sale: purchase", "sale: purchase, pay: purchase")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(*stopped_at, die)
        replay(context, "unknown_event_type")
    assert ids(context) == ["a", "b"] and len(refused(context)) == 4
    mend(till, "pay: purchase", "pay: view")
    assert replay(context, "unknown_event_type", "--source", "till").status == "succeeded"
    assert ids(context) == ["a", "b"]
    assert refused(context) == [("1.csv", 4, "bad_price"), ("1.csv", 6, "unknown_event_type")]
    assert [counts(row) for row in ledger(context)][:2] == [(5, 1, 0, 4), (3, 1, 1, 1)]
    check_totals(context)


def test_rows_of_parquet_files_are_typed_again(context: JobContext, ingest: Ingest, till: Path, tmp_path: Path) -> None:
    at = pd.to_datetime(["2026-01-15 10:00:00.123456"] * 2)
    frame = pd.DataFrame({"id": ["a", "b"], "who": ["u", "v"], "what": ["sale", "pay"], "item": ["i", "i"],
                          "quantity": [1, 2], "price": [2.5, 2.25], "currency": ["GBP", "GBP"], "at": at})  # fmt: skip
    frame.to_parquet(tmp_path / "till.parquet", coerce_timestamps="us", allow_truncated_timestamps=True)
    mend(till, 'format: "yyyy-MM-dd HH:mm:ss"', "format: iso")
    ingest("till", tmp_path / "till.parquet", "--format", "parquet")
    mend(till, "sale: purchase", "sale: purchase, pay: purchase")
    replay(context, "unknown_event_type")
    rows = context.lakehouse.read("events").selectExpr("event_id", "price", "cast(event_time as string)")
    assert sorted(map(tuple, rows.collect())) == [
        ("a", 250, "2026-01-15 10:00:00.123456"), ("b", 225, "2026-01-15 10:00:00.123456")
    ]  # fmt: skip
    check_totals(context)


def test_a_wrong_encoding_is_mended_and_replayed(
    context: JobContext, ingest: Ingest, write_till: WriteTill, till: Path
) -> None:
    file = write_till("1.csv", line("a"))
    file.write_bytes(file.read_bytes() + line("b", item="café").encode("latin-1") + b"\n")
    ingest("till", file)
    assert refused(context) == [("1.csv", 3, "bad_encoding")]
    mend(till, "text: {header: true}", "text: {header: true, encoding: iso-8859-1}")
    replay(context, "bad_encoding")
    assert {row["item_id"] for row in context.lakehouse.read("events").collect()} == {"i", "café"}


@pytest.mark.usefixtures("till")
def test_what_a_replay_may_not_be_told(context: JobContext, dirty: Path) -> None:
    def refuse(*words: str) -> str:
        with pytest.raises(UsageError) as caught:
            IngestEvents().check_options(build_parser(IngestEvents()).parse_args(list(words)))
        return str(caught.value)

    assert refuse("--replay") == "the following arguments are required: --reason; see --help."
    assert refuse("--replay", "--reason", "x", "--input", "p") == "--input with --replay says nothing."
    assert refuse("--replay", "--reason", "x", "--accept-columns") == "--accept-columns with --replay says nothing."
    files = ("--source", "s", "--input", "p")
    assert refuse(*files, "--reason", "x") == "--reason without --replay says nothing."
    assert refuse(*files, "--per-batch", "2", "--by", "ann") == "--by without --accept-gate says nothing."
    assert refuse(*files, "--sample", "9") == "--sample only shows: use it with --dry-run."
    assert refuse("--source", "s") == "the following arguments are required: --input; see --help."
    late = ("--available-now", "--source", "s", "--end-date", "2026-03-02")
    assert refuse(*late) == "--end-date with --available-now says nothing."
    gate = ("--accept-gate", "2026-03-01:low_volume", "--by", "ann")
    assert refuse(*gate, "--date", "2026-03-01") == "--date with --accept-gate says nothing."
    assert refuse(*gate[:2]) == "--accept-gate needs --by NAME: a gate is accepted by somebody."
    assert replay(context, "bad_weather").status == "nothing_to_do"
    plan = IngestEvents().plan(context, build_parser(IngestEvents()).parse_args(["--replay", "--reason", "rain"]))
    assert plan.lines() == [
        "there    rows refused for rain  none; the quarantine holds bad_price 1, unknown_event_type 3"
    ]
