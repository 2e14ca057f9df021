"""The whole flow on a small simulated shop, with two Horovod ranks; run twice; killed and run again."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import functions as F

from tests.integration.conftest import AS_OF, Run, Shop, pipeline_words, rows, small_options, start_job

# One worker runs them all: they share the undisturbed warehouse.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("integration")]
PATIENCE_SECONDS = 900


def test_ingestion_accounts_for_what_the_shop_made(undisturbed: Run, shop: Shop) -> None:
    ledger = undisturbed.lakehouse.read("ingest_ledger").collect()[0]
    reasons = {r["reason"]: r["count"] for r in rows_by_reason(undisturbed)}
    faults = shop.made.imperfections
    assert ledger["read"] == shop.made.rows
    assert ledger["accepted"] == shop.made.events == undisturbed.lakehouse.read("events").count()
    assert ledger["duplicate"] == faults["duplicate"] + faults["resent"] > 0
    assert reasons == {
        "malformed": faults["malformed"],
        "missing_user_id": faults["missing_user"],
        "unknown_event_type": faults["unknown_type"],
        "future": faults["clock_skew"],
    }
    assert min(reasons.values()) > 0


def rows_by_reason(run: Run) -> list[dict[str, int]]:
    quarantine = run.lakehouse.read("events_quarantine")
    assert quarantine.where("line is null or file is null or raw is null").isEmpty()
    return [row.asDict() for row in quarantine.groupBy("reason").count().collect()]


def test_every_user_seen_is_scored_with_a_probability(undisturbed: Run) -> None:
    lakehouse = undisturbed.lakehouse
    seen = lakehouse.read("events").where(F.col("event_date") < AS_OF).select("user_id").distinct()
    scores = lakehouse.read("scores")
    assert scores.count() == scores.select("user_id").distinct().count() == seen.count() > 400
    outside = "intent < 0 or intent > 1 or calibrated_intent < 0 or calibrated_intent > 1 or isnan(intent)"
    assert scores.where(outside).isEmpty()
    assert scores.where("spend is null or not spend > 0 or churn is null or churn < 0 or churn > 1").isEmpty()
    silent = lakehouse.read("profiles").where((F.col("as_of") == AS_OF) & (F.col("event_count_14d") == 0))
    assert silent.join(scores, on="user_id", how="inner").count() == silent.count() > 0


def test_the_evaluation_measures_all_candidates_on_all_users(undisturbed: Run) -> None:
    lakehouse = undisturbed.lakehouse
    figures = {r["candidate"]: r for r in lakehouse.read("evaluations").where("segment = 'all'").collect()}
    assert set(figures) == {
        "recency", "naive_bayes", "bgnbd", "logistic", "gbdt", "lstm", "blend", "champion, uncalibrated", "churn",
        "ceiling: events so far", "ceiling: hidden state",
    }  # fmt: skip
    assert {r["users"] for r in figures.values()} == {lakehouse.read("outcomes").count()}
    assert figures["ceiling: hidden state"]["auc"] > 0.7
    assert figures["churn"]["auc"] > 0.6
    assert 0 < figures["churn"]["positives"] < figures["churn"]["users"]
    [champion] = [figure for figure in figures.values() if figure["champion"]]
    assert champion["auc"] > 0.6
    assert 0.1 < champion["expected_spend"] / champion["spent"] < 10.0
    page = (undisturbed.report / "index.html").read_text(encoding="utf-8")
    assert (
        "<svg" in page
        and "ceiling" in page
        and ">Before calibration<" in page
        and "http://" not in page.replace("http://www.w3.org", "")
    )


def test_the_run_ledger_names_what_each_job_read(undisturbed: Run) -> None:
    runs = {r["job"]: r for r in undisturbed.lakehouse.read("job_runs").where("status = 'succeeded'").collect()}
    assert set(runs["score_users"]["input_versions"]) == {"profiles"}
    assert set(runs["build_examples"]["input_versions"]) == {"profiles", "events"}
    assert runs["ingest_events"]["rows_in"] > runs["ingest_events"]["rows_out"] > 0
    assert json.loads(runs["run_pipeline"]["arguments"])["as_of"] == AS_OF


def test_a_second_run_does_nothing_and_says_so(undisturbed: Run, run_here: Callable[[Path], Run]) -> None:
    lakehouse = undisturbed.lakehouse
    tables = ("events", "users", "items", "user_days", "profiles", "examples", "scores", "outcomes", "evaluations")
    before = {name: lakehouse.version(name) for name in tables}
    again = run_here(Path(lakehouse.root))
    assert again.outcome.status == "nothing_to_do"
    assert "nothing to do" in again.outcome.message
    assert {name: lakehouse.version(name) for name in tables} == before


def test_a_pipeline_killed_twice_ends_like_an_undisturbed_one(
    undisturbed: Run, run_here: Callable[[Path], Run], shop: Shop, tmp_path: Path
) -> None:
    """Killed while events are written, started again, killed after an epoch of the network, and started again."""
    warehouse = tmp_path / "warehouse"
    words = ["run_pipeline", *pipeline_words(shop.raw, tmp_path / "report"), "--warehouse", str(warehouse)]
    for attempt, marker in enumerate(("step=ingest_events.write_events", "step=train_intent.epoch")):
        log = tmp_path / f"log{attempt}"
        process = start_job([*words, *small_options()], log, tmp_path)
        try:
            wait_for(marker, log, process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    models = warehouse / "models"
    assert list(models.glob(".training-*/checkpoints/lstm/*.npz")), "what the next run goes on from"
    ended = run_here(warehouse)
    assert not list(models.glob(".training-*"))
    assert ended.outcome.status == "succeeded"
    same_data(ended, undisturbed)


def wait_for(marker: str, log: Path, process) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while marker not in log.read_text(errors="replace"):
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert time.monotonic() < deadline, f"{marker} did not come: {log.read_text(errors='replace')[-2000:]}"
        time.sleep(0.05)


ALL_TABLES = ("events", "user_days", "profiles", "examples", "scores", "outcomes")


def same_data(one: Run, other: Run, tables: tuple[str, ...] = ALL_TABLES) -> None:
    versions = ("model_version", "batch_id", "ingest_time")
    for table in tables:
        expected = rows(other.lakehouse, table, versions)
        found = rows(one.lakehouse, table, versions)
        pd.testing.assert_frame_equal(found, expected, obj=table)
