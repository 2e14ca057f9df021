"""Random dirty rows: what ingestion says agrees with a count in plain Python."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from intent_spark.config.loading import conf_dir
from intent_spark.config.settings import Settings
from intent_spark.events.job import IngestEvents
from intent_spark.lakehouse.job import JobContext, execute
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.pipeline.options import build_parser
from tests.events.test_replay import check_totals, mend, replay

NOW = datetime(2026, 3, 10, 12)
TYPES = ("view", "search", "cart", "favourite", "purchase")

texts = st.one_of(st.none(), st.sampled_from(["", " ", "u1", "u2", "ü", 'q"uote', "com,ma", "\t"]))
rows = st.fixed_dictionaries(
    {
        "event_id": st.one_of(st.integers(0, 40).map(lambda n: f"e{n}"), texts),
        "user_id": texts,
        "event_type": st.one_of(st.sampled_from(TYPES), st.sampled_from([None, "", "VIEW", "steal"])),
        "price": st.one_of(st.none(), st.sampled_from(["", "1.25", "0", "-1", "x", "1e3", "NaN", "7" * 40])),
        "currency": st.sampled_from(["CNY", "CNY", "CNY", "USD", None]),
        "quantity": st.one_of(st.sampled_from(["1", "2"]), st.sampled_from([None, "", "two", "-1", "9" * 12, "1.0"])),
        "event_time": st.one_of(
            st.integers(-5000, 5000).map(lambda m: (NOW + timedelta(minutes=m)).isoformat() + "Z"),
            st.sampled_from([None, "", "noon", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z", "12:30:00"]),
        ),
        "received_at": st.sampled_from([NOW.isoformat() + "Z"] * 9 + [None, "later"]),
    }
)
torn = st.sampled_from(["{", "}", "[]", "7", '"x"', '{"event_id": ', '{"event_id": "a"} trailing {', "nothing", "[{}]"])
lines = st.one_of(*[rows.map(lambda row: json.dumps(row, ensure_ascii=False))] * 8, torn, st.sampled_from(["", "  "]))
deliveries = st.lists(st.lists(lines, min_size=60, max_size=200), min_size=1, max_size=2)


def blank(value: str | None) -> bool:
    return value is None or value.strip(" ") == ""


def naive_reason(row: dict[str, Any], types: tuple[str, ...]) -> bool:
    """Whether a row is good: the contract's rules, written again."""
    if any(blank(row[name]) for name in ("event_id", "user_id")) or row["event_type"] not in types:
        return False
    try:
        happened = datetime.fromisoformat(row["event_time"] or "")
        learned = datetime.fromisoformat(row["received_at"] or "")
        if happened.year < 1900 or happened > learned + timedelta(hours=24):
            return False
    except ValueError:
        return False
    if not blank(row["price"]) and (row["price"] not in ("1.25", "0", "1e3") or row["currency"] == "USD"):
        return False
    return row["quantity"] in ("1", "2")  # "1.0" is no whole number as Spark reads one


def naive_counts(files: list[list[str]], types: tuple[str, ...] = TYPES) -> tuple[int, set[str], int]:
    """Rows read, ids accepted, rows refused."""
    read, accepted, refused = 0, set(), 0
    for line in (line for file in files for line in file if line.strip(" ")):
        read += 1
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict) and naive_reason(row, types):
            accepted.add(row["event_id"].strip(" "))
        else:
            refused += 1
    return read, accepted, refused


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return (tmp_path_factory.mktemp("dirty") for _ in iter(int, 1))


@pytest.mark.slow
# Not shrunk: a Spark run for each attempt would take many minutes.
@settings(
    max_examples=3, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(delivered=deliveries)
def test_read_is_accepted_plus_duplicate_plus_quarantined_before_and_after_a_replay(
    spark: SparkSession, settings: Settings, folders: Iterator[Path], delivered: list[list[str]]
) -> None:
    folder = next(folders)
    shutil.copytree(conf_dir(), folder / "conf")
    context = JobContext(settings, spark, Lakehouse(spark, str(folder / "warehouse")))
    job = IngestEvents()
    raw = folder / "raw" / "events" / "date=2026-03-10"
    raw.mkdir(parents=True)
    for n, file in enumerate(delivered):
        (raw / f"part-{n}.jsonl").write_text("\n".join(file), encoding="utf-8")
    options = build_parser(job).parse_args(["--source", "simulated_shop", "--input", str(folder / "raw")])
    execute(job, context, options)
    read, accepted, refused = naive_counts(delivered)
    [row] = context.lakehouse.read("ingest_ledger").collect()
    stored = [event[0] for event in context.lakehouse.read("events").select("event_id").collect()]
    assert sorted(stored) == sorted(accepted)
    assert (row["read"], row["accepted"], row["quarantined"]) == (read, len(accepted), refused)
    assert row["duplicate"] == read - len(accepted) - refused
    places = []
    if refused:
        quarantine = context.lakehouse.read("events_quarantine").collect()
        places = [delivered[int(Path(q["file"]).stem[-1])][q["line"] - 1] == q["raw"] for q in quarantine]
    assert len(places) == refused and all(places)
    check_totals(context)
    mend(folder / "conf" / "sources" / "simulated_shop.yaml", "{view: view,", "{view: view, VIEW: view, steal: cart,")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTENT_SPARK_CONF", str(folder / "conf"))
        replay(context, "unknown_event_type", "--source", "simulated_shop")
    _, accepted, refused = naive_counts(delivered, (*TYPES, "VIEW", "steal"))
    assert {event[0] for event in context.lakehouse.read("events").select("event_id").collect()} == accepted
    assert context.lakehouse.read("events").count() == len(accepted)
    assert (context.lakehouse.read("events_quarantine").count() if refused else 0) == refused
    check_totals(context)
