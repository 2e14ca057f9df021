"""The simulated shop's bots: ingestion lists them, and nobody else, before any profile is made."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from intent_spark.config.loading import load_settings
from intent_spark.events.job import IngestEvents
from intent_spark.lakehouse.job import JobContext, execute
from intent_spark.lakehouse.quality import days_to_cap, failed_gates
from intent_spark.lakehouse.shop import touched_days
from intent_spark.pipeline.options import build_parser
from intent_spark.simulation.simulate import simulate


@pytest.mark.slow
def test_the_cap_finds_the_bots_and_no_person(context: JobContext, tmp_path: Path) -> None:
    settings, lakehouse = load_settings(), context.lakehouse
    made = simulate(context.spark, settings.simulation, 300, 8, date(2026, 3, 1), 5, tmp_path / "raw", "jsonl")
    assert made.imperfections["bots"] == 2
    words = ["--source", "simulated_shop", "--input", str(tmp_path / "raw")]
    execute(IngestEvents(), context, build_parser(IngestEvents()).parse_args(words))

    heavy = lakehouse.read("heavy_users").select("user_id").distinct().collect()
    assert len(heavy) == 2
    theirs = lakehouse.read("events").where(f"user_id in {tuple(row['user_id'] for row in heavy)}")
    assert theirs.count() == made.imperfections["bot_events"], "their events are kept"
    cap = settings.features.daily_cap
    assert cap is not None
    suspected = days_to_cap(lakehouse, touched_days(lakehouse), cap)
    found = {row[0] for row in lakehouse.read("heavy_users").select("event_date").distinct().collect()}
    assert set(suspected) == found, "only days with a bot are looked at again"
    assert failed_gates(lakehouse) == [], "a usual shop passes its gates"
    shown = lakehouse.read("day_figures").select(
        "rows", "nulls", "read", "duplicates", "unknown_types", "top_user_events"
    )
    shown.show(20, truncate=False)
