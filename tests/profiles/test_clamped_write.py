"""One day is built over ninety days of input: each table gains that partition, and every other byte stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.profiles.job import BuildProfiles
from tests.profiles.frames import add_events, at, bytes_by_partition, day, small_features, windowed
from tests.profiles.naive_oracle import Event
from tests.profiles.test_build_profiles import BY_DAYS, quiet_settings, run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("profiles")]

FIRST, DAYS = day("2026-01-01"), 90
TABLES = ("user_days", "profile_states", "profiles")


def purchases() -> list[Event]:
    """Three users who buy on every third of ninety days, each on days of their own."""
    days = [str(FIRST.fromordinal(FIRST.toordinal() + n)) for n in range(DAYS)]
    return [
        Event(f"u{n % 3}", f"e{n:02}", "purchase", at(text), "c", f"i{n % 5}", 100 + n, 1)
        for n, text in enumerate(days)
    ]


@pytest.fixture
def ninety_days(spark: SparkSession, tmp_path: Path) -> JobContext:
    """All ninety days as user_days, and snapshots of three dates, the last but one day missing."""
    declared = [
        windowed("spend", "sum", [7, 90, "lifetime"], value="price"),
        windowed("top", "max", [90], value="price"),
    ]
    features = small_features(windowed=declared, derived=[])
    context = JobContext(quiet_settings(features), spark, Lakehouse(spark, str(tmp_path / "warehouse")))
    add_events(context.lakehouse, purchases(), "b1")
    run(BuildProfiles(), context, "--as-of", "2026-03-01", "--as-of", "2026-03-30", "--as-of", "2026-04-01", *BY_DAYS)
    return context


def changed(before: dict[str, object], after: dict[str, object]) -> set[str]:
    return {partition for partition in before.keys() | after.keys() if before.get(partition) != after.get(partition)}


def test_a_missing_snapshot_and_then_a_late_day(ninety_days: JobContext) -> None:
    lakehouse = ninety_days.lakehouse
    held = {table: bytes_by_partition(lakehouse, table) for table in TABLES}
    assert len(held["user_days"]) == DAYS

    run(BuildProfiles(), ninety_days, "--as-of", "2026-03-31", *BY_DAYS)
    new = {table: bytes_by_partition(lakehouse, table) for table in TABLES}
    assert [changed(held[table], new[table]) for table in TABLES] == [set(), {"2026-03-31"}, {"2026-03-31"}]

    add_events(lakehouse, [Event("u1", "late", "purchase", at("2026-02-15"), "c", "i", 7, 1)], "b2")
    run(BuildProfiles(), ninety_days, "--as-of", "2026-03-30", *BY_DAYS)
    late = {table: bytes_by_partition(lakehouse, table) for table in TABLES}
    assert [changed(new[table], late[table]) for table in TABLES] == [{"2026-02-15"}, {"2026-03-30"}, {"2026-03-30"}]
    total = lakehouse.read("profiles").where("as_of = '2026-03-30'").agg({"spend_lifetime": "sum"}).collect()[0][0]
    assert total == sum(event.price or 0 for event in purchases()[:88]) + 7
