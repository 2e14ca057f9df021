"""The planner's choices, from what the tables are said to hold. No Spark."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from intent_spark.lakehouse.lakehouse import Build
from intent_spark.profiles.contract import sequence_hash
from intent_spark.profiles.planner import (
    Holdings,
    Size,
    changed_features,
    judge_states,
    plan_snapshots,
    seconds_per_row,
)
from intent_spark.profiles.slots import Slots
from tests.profiles.frames import day, small_features

FEATURES = small_features()
AS_OF = day("2026-03-31")
NAMES = {slot.definition: slot.name for slot in Slots(FEATURES)}


def state(events: int, sequence: str | None = None) -> Build:
    details = {"slots": NAMES, "sequence": sequence or sequence_hash(FEATURES)}
    return Build("build_profiles", inputs={"events": events}, details=details)


def holdings(states: dict[date, Build], rows_a_day: int = 1000, touched: int = 3) -> Holdings:
    days = [AS_OF - timedelta(days=n) for n in range(1, 91)]
    versions = dict.fromkeys(days, touched)
    bases, spoilt = judge_states({d.isoformat(): b for d, b in states.items()}, FEATURES, versions)
    sizes = {d: Size(rows_a_day, 10 * rows_a_day) for d in days}
    return Holdings(versions, sizes, dict.fromkeys(states, Size(5000, 50_000)), bases, spoilt)


def test_without_a_state_the_days_are_merged() -> None:
    [found] = plan_snapshots([AS_OF], FEATURES, holdings({}), "auto", {"merge": 0.001})
    assert (found.strategy, found.way.rolled, found.reads.rows) == ("merge", (), 90_000)
    assert found.describe() == "merge (no earlier state): reads 90,000 rows, 0.9 MB, about 90.0 s"


def test_yesterdays_state_is_rolled_on_and_what_cannot_be_is_merged() -> None:
    yesterday = AS_OF - timedelta(days=1)
    [found] = plan_snapshots([AS_OF], FEATURES, holdings({yesterday: state(3)}), "auto", {})
    assert found.strategy == "roll"
    assert {s.fold for s in found.way.merged} == {"min", "max", "distinct", "decayed", "gaps"}
    assert all(s.window != "lifetime" or s.fold in ("sum", "keyed") for s in found.way.merged)
    # The state, and the eight days that bounded windows of up to seven days touch.
    assert found.reads.rows == 5000 + 8 * 1000


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (state(2), "not from 2026-03-30: late events touched its days"),
        (state(3, "other"), "not from 2026-03-30: its last events were kept under another definition"),
    ],
)
def test_a_state_that_does_not_fit_is_told(build: Build, why: str) -> None:
    [found] = plan_snapshots([AS_OF], FEATURES, holdings({AS_OF - timedelta(days=1): build}), "auto", {})
    assert (found.strategy, found.why) == ("merge", why)


def test_merging_where_the_state_is_larger_than_the_days() -> None:
    held = holdings({AS_OF - timedelta(days=1): state(3)}, rows_a_day=10)
    [found] = plan_snapshots([AS_OF], FEATURES, held, "auto", {})
    assert (found.strategy, found.why) == ("merge", "cheaper than from 2026-03-30")
    [asked] = plan_snapshots([AS_OF], FEATURES, held, "roll", {})
    assert asked.strategy == "roll"


def test_a_range_rolls_from_one_date_to_the_next() -> None:
    dates = [AS_OF - timedelta(days=n) for n in (2, 0, 1)]
    found = plan_snapshots(dates, FEATURES, holdings({}), "auto", {})
    assert [s.way.as_of for s in found] == sorted(dates)
    assert [s.way.base.as_of if s.way.base else None for s in found] == [None, *sorted(dates)[:2]]


def test_a_state_of_the_date_needs_nothing_but_what_it_lacks() -> None:
    [found] = plan_snapshots([AS_OF], FEATURES, holdings({AS_OF: state(3)}), "auto", {})
    assert (found.strategy, found.way.merged, found.reads.rows) == ("extend", (), 0)


def test_the_last_runs_tell_the_rate() -> None:
    costs = [("roll", 10, 1.0), ("roll", 10, 3.0), ("roll", 10, 2.0), ("merge", 100, 1.0), ("merge", 0, 9.0)]
    builds = [Build("b", details={"cost": {"strategy": s, "rows": r, "seconds": t}}) for s, r, t in costs]
    assert seconds_per_row([*builds, Build("b")]) == {"roll": 0.2, "merge": 0.01}


def test_changed_declarations_are_named() -> None:
    before, after = {"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}
    assert changed_features(before, after) == "b changed; d new; c gone"
    assert changed_features(before, before) == "another order"
    assert changed_features({}, dict.fromkeys("abcdefg", "1")) == "a, b, c, d, e and 2 more new"
