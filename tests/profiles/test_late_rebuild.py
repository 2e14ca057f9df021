"""Random histories that come in late and in parts, built in random chunks of dates: what is built last is exact."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from intent_spark.config.loading import load_settings
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.profiles import known_at
from intent_spark.profiles.contract import profiles_contract
from intent_spark.profiles.job import BuildProfiles
from tests.profiles import test_against_oracle
from tests.profiles.frames import add_events, at
from tests.profiles.naive_oracle import Event, naive_profiles, ratio
from tests.profiles.test_against_oracle import (
    CASES,
    LONDON,
    SEED,
    SWITCHES,
    Population,
    checked,
)
from tests.profiles.test_build_profiles import quiet_settings, run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("profiles")]

population = test_against_oracle.population  # the fixture, for this module too
AS_OF = SWITCHES[0]
DATES = [AS_OF - timedelta(days=n) for n in (4, 3, 1, 0)]
ROUNDS = 3


def arrivals(events: list[Event], rng: random.Random) -> list[list[Event]]:
    """The events in the parts in which they come in; whoever comes late, comes with some of the past."""
    parts: list[list[Event]] = [[] for _ in range(ROUNDS)]
    for event in events:
        parts[rng.choices(range(ROUNDS), [6, 1, 1])[0]].append(event)
    return parts


def chunk(rng: random.Random) -> list[str]:
    """Options for some of the dates, in no order, at times side by side or by way of staging."""
    chosen = rng.sample(DATES, rng.randint(1, len(DATES) - 1))
    more = rng.choice([[], ["--parallelism", "2"], ["--staged"], ["--strategy", "roll"]])
    return [word for day in chosen for word in ("--as-of", day.isoformat())] + more


def built(lakehouse: Lakehouse, context: JobContext, as_of: date) -> dict[str, dict[str, Any]]:
    names = [c.name for c in profiles_contract(context.settings.features).columns]
    rows = lakehouse.read("profiles").where(F.col("as_of") == F.lit(as_of)).select(*names).collect()
    return {row["user_id"]: row.asDict() for row in rows}


def wanted(events: list[Event], context: JobContext, as_of: date) -> dict[str, dict[str, Any]]:
    found = naive_profiles(events, context.settings.features, as_of, LONDON)
    for row in found.values():
        row["buys_per_event"] = ratio(row["buys_7d"], row["n_7d"])
        row["doubled"] = None if row["buys_per_event"] is None else row["buys_per_event"] * 2
    return found


@pytest.mark.parametrize("seed", range(SEED, SEED + max(CASES // 500, 1)))
def test_late_parts_and_random_chunks_are_exact(
    spark: SparkSession, population: Population, tmp_path: Path, seed: int
) -> None:
    """Days and snapshots are rebuilt as events come in; what was known at an instant stays rebuildable."""
    rng, events = random.Random(seed), population.events[AS_OF]
    lakehouse = Lakehouse(spark, str(tmp_path / "warehouse"))
    context = JobContext(quiet_settings(population.features), spark, lakehouse)
    parts, here = arrivals(events, rng), []
    for number, part in enumerate(parts):
        here += part
        add_events(lakehouse, part, f"b{number}", LONDON, learned=at(f"2026-04-0{number + 1}"))
        words = chunk(rng)
        run(BuildProfiles(), context, *words)
        for as_of in (day for day in DATES if day.isoformat() in words):
            checked(built(lakehouse, context, as_of), wanted(here, context, as_of), here)
    known = known_at(AS_OF, at("2026-04-01", "18:00:00"), lakehouse.root).collect()
    shipped = naive_profiles(parts[0], load_settings().features, AS_OF, LONDON)
    checked({row["user_id"]: row.asDict() for row in known}, shipped, parts[0])
    run(BuildProfiles(), context, "--stale")
    run(BuildProfiles(), context, *[word for day in DATES for word in ("--as-of", day.isoformat())])
    for as_of in DATES:
        checked(built(lakehouse, context, as_of), wanted(events, context, as_of), events)
