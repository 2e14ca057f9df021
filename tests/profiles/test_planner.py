"""The planner's choices, from what the tables are said to hold. No Spark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta

import pytest

from intent_spark.lakehouse.job_runs import Cost
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
from tests.profiles.frames import day, small_features, windowed

FEATURES = small_features()
AS_OF = day("2026-03-31")
EVERY_DAY = [AS_OF - timedelta(days=n) for n in range(1, 91)]
NAMES = {slot.definition: slot.name for slot in Slots(FEATURES)}


def state(events: int, sequence: str | None = None) -> Build:
    details = {"slots": NAMES, "sequence": sequence or sequence_hash(FEATURES)}
    return Build("build_profiles", inputs={"events": events}, details=details)


def holdings(
    states: dict[date, Build], rows_a_day: int = 1000, touched: int = 3, unbuilt: Iterable[date] = (),
    items: dict[int, date] | None = None,
) -> Holdings:  # fmt: skip
    days = EVERY_DAY
    versions = dict.fromkeys(days, touched)
    bases, spoilt = judge_states({d.isoformat(): b for d, b in states.items()}, FEATURES, versions, items or {})
    sizes = {d: Size(rows_a_day, 10 * rows_a_day) for d in days}
    events = dict.fromkeys(days, Size(3 * rows_a_day, 90 * rows_a_day))
    known = dict.fromkeys(states, Size(5000, 50_000))
    return Holdings(versions, sizes, events, frozenset(unbuilt), known, bases, spoilt)


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


def test_a_lone_date_of_plain_sums_without_user_days_comes_straight_from_the_events() -> None:
    """Building 90 days to read each of them once costs more than one pass over the events."""
    plain = small_features(
        windowed=[windowed("n", "count", [7, 30]), windowed("dear", "max", [7], value="price")], derived=[]
    )
    held = holdings({}, unbuilt=EVERY_DAY)
    [found] = plan_snapshots([AS_OF], plain, held, "auto", {})
    assert (found.strategy, found.builds, found.reads) == ("direct", (), Size(270_000, 8_100_000))
    assert "reads 270,000 rows, 8.1 MB" in found.describe()
    [asked] = plan_snapshots([AS_OF], plain, held, "merge", {})
    assert (asked.strategy, len(asked.builds), asked.builds_from) == ("merge", 90, Size(270_000, 8_100_000))
    assert asked.describe().endswith("8.1 MB; 90 days to be built for it from 270,000 events, 8.1 MB")


def test_days_that_would_be_made_anyway_are_kept() -> None:
    """Other features go by way of days on the direct way too: then these had better be stored."""
    [found] = plan_snapshots([AS_OF], FEATURES, holdings({}, unbuilt=EVERY_DAY), "auto", {})
    assert (found.strategy, len(found.builds)) == ("merge", 90)
    measured = {"direct": 0.001, "merge": 0.01, "days": 0.01}
    [found] = plan_snapshots([AS_OF], FEATURES, holdings({}, unbuilt=EVERY_DAY), "auto", measured)
    assert found.strategy == "direct"


def test_the_day_after_a_direct_one_builds_only_the_days_it_rolls_over() -> None:
    held = holdings({AS_OF - timedelta(days=1): state(3)}, unbuilt=EVERY_DAY)
    [found] = plan_snapshots([AS_OF], FEATURES, held, "auto", {})
    assert (found.strategy, len(found.builds)) == ("roll", 8)


def test_dates_on_end_share_the_days_that_are_built() -> None:
    """A day is built once, for the snapshot that needs it first; what was measured decides over what is read."""
    dates = [AS_OF - timedelta(days=n) for n in (60, 30, 0)]
    found = plan_snapshots(dates, FEATURES, holdings({}, unbuilt=EVERY_DAY), "auto", {})
    built = [day for snapshot in found for day in snapshot.builds]
    assert len(built) == len(set(built))
    slow_direct = {"direct": 1.0, "merge": 0.001, "roll": 0.001, "days": 0.001}
    found = plan_snapshots(dates, FEATURES, holdings({}, unbuilt=EVERY_DAY), "auto", slow_direct)
    assert [s.strategy for s in found] == ["merge", "roll", "roll"]
    assert sum(len(s.builds) for s in found) == 90


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
    assert seconds_per_row([Cost(*cost) for cost in costs]) == {"roll": 0.2, "merge": 0.01}


def test_changed_declarations_are_named() -> None:
    before, after = {"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}
    assert changed_features(before, after) == "b changed; d new; c gone"
    assert changed_features(before, before) == "another version of this software"
    assert changed_features({}, dict.fromkeys("abcdefg", "1")) == "a, b, c, d, e and 2 more new"


def test_changed_items_spoil_the_states_after_them_and_older_ones_serve() -> None:
    """A state that knew the change, or lies before it, or read no items, is not concerned."""
    older, yesterday = AS_OF - timedelta(days=9), AS_OF - timedelta(days=1)
    made_of = {"events": 3, "items": 4}
    states = {day: replace(state(3), inputs=made_of) for day in (older, yesterday)}
    [found] = plan_snapshots([AS_OF], FEATURES, holdings(states, items={5: older}), "roll", {})
    assert found.way.base is not None and found.way.base.as_of == older
    assert found.why == f"not from {yesterday}: the items of its days have changed"
    for changes in ({4: older}, {5: AS_OF}):
        [found] = plan_snapshots([AS_OF], FEATURES, holdings(states, items=changes), "roll", {})
        assert found.way.base is not None and found.way.base.as_of == yesterday
    [found] = plan_snapshots([AS_OF], FEATURES, holdings({yesterday: state(3)}, items={5: older}), "roll", {})
    assert found.way.base is not None and found.way.base.as_of == yesterday
