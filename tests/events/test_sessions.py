from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from intent_spark.events.sessions import cut_sessions

START = datetime(2026, 3, 1, 23)
SCHEMA = "user_id string, event_time timestamp, event_id string"


def events(spark: SparkSession, *rows: tuple[str, int]) -> DataFrame:
    """(user, minute) rows."""
    told = [(user, START + timedelta(minutes=minute), f"{user}{minute}") for user, minute in rows]
    return spark.createDataFrame(told, SCHEMA)


def sessions(cut: DataFrame) -> dict[str, str]:
    return {row["event_id"]: row["session_id"] for row in cut.collect()}


def test_a_gap_longer_than_said_begins_a_session(spark: SparkSession) -> None:
    rows = events(spark, ("u", 0), ("u", 30), ("u", 61), ("v", 30), ("u", 200))
    found = sessions(cut_sessions(rows, None, 30))
    assert found["u0"] == found["u30"]
    assert len({found["u0"], found["u61"], found["u200"], found["v30"]}) == 4
    assert sessions(cut_sessions(rows.repartition(3), None, 30)) == found
    assert len(set(sessions(cut_sessions(rows, None, 31)).values())) == 3


def test_a_session_goes_on_over_midnight_and_from_batch_to_batch(spark: SparkSession) -> None:
    stored = cut_sessions(events(spark, ("u", 0), ("u", 20), ("v", 0)), None, 30)
    known = sessions(stored)
    later = sessions(cut_sessions(events(spark, ("u", 45), ("u", 70), ("v", 45), ("w", 1)), stored, 30))
    assert later["u45"] == later["u70"] == known["u0"]
    assert len({*later.values(), *known.values()}) == 4
    bridge = sessions(cut_sessions(events(spark, ("u", -10)), stored, 30))
    assert bridge == {"u-10": known["u0"]}


def naive(minutes: list[int], gap: int) -> list[set[int]]:
    found: list[set[int]] = []
    for minute in sorted(minutes):
        if found and minute - max(found[-1]) <= gap:
            found[-1].add(minute)
        else:
            found.append({minute})
    return found


@pytest.mark.slow
@settings(max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(minutes=st.lists(st.integers(0, 600), unique=True, min_size=1, max_size=40), gap=st.integers(1, 60))
def test_sessions_are_those_of_a_loop(spark: SparkSession, minutes: list[int], gap: int) -> None:
    found = sessions(cut_sessions(events(spark, *[("u", minute) for minute in minutes]), None, gap))
    together: dict[str, set[int]] = {}
    for event_id, session in found.items():
        together.setdefault(session, set()).add(int(event_id[1:]))
    assert sorted(map(sorted, together.values())) == sorted(map(sorted, naive(minutes, gap)))
