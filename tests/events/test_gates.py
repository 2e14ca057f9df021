"""Judging days by gates, from counts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from intent_spark.config.gates import GateSettings
from intent_spark.events.gates import FAIL, OPEN, PASS, WARN, DayCounts, judge

DAY = date(2026, 4, 1)
EVEN = (100,) * 24
USUAL = DayCounts(
    DAY, rows=2400, read=2500, duplicates=50, unknown_types=10, nulls={"price": 600}, priced=1800, price_outside=9,
    hours=EVEN, top_user_events=120, most_events=120,
)  # fmt: skip


def declared(**gates: Any) -> GateSettings:
    return GateSettings.model_validate(gates)


def judged(
    counts: DayCounts, gates: GateSettings, history: Sequence[DayCounts] = (), is_over: bool = True
) -> dict[str, Any]:
    return {figure.gate: (figure.value, figure.status) for figure in judge(counts, history, gates, is_over)}


def weeks(*rows: int, hours: tuple[int, ...] = EVEN) -> list[DayCounts]:
    """The same weekday one, two, … weeks before."""
    return [DayCounts(DAY - timedelta(weeks=n), rows=r, hours=hours) for n, r in enumerate(rows, start=1)]


def test_each_share_is_of_its_own_whole() -> None:
    gates = declared(
        null_share={"price": {"warn": 0.2, "fail": 0.3}, "item_id": {"fail": 0}},
        unknown_types={"fail": 0.003}, duplicates={"warn": 0.02}, top_user={"warn": 0.04, "fail": 0.05},
        price_outside={"lowest": 1, "highest": 500, "fail": 0.005},
    )  # fmt: skip
    assert judged(USUAL, gates) == {
        "null_share.price": (0.25, WARN),
        "null_share.item_id": (0.0, PASS),
        "unknown_types": (0.004, FAIL),
        "duplicates": (0.02, PASS),
        "top_user": (0.05, WARN),
        "price_outside": (0.005, PASS),
    }


def test_volume_is_measured_against_the_median_of_the_weekday() -> None:
    gates = declared(low_volume={"warn": 0.4, "fail": 0.8}, high_volume={"warn": 1, "fail": 4})
    history = [*weeks(1000, 900, 10**6, 1000), DayCounts(DAY - timedelta(days=1), rows=5)]
    found = {rows: judged(replace(USUAL, rows=rows), gates, history) for rows in (1000, 500, 100, 2500, 5100)}
    assert {rows: (f["low_volume"][1], f["high_volume"][1]) for rows, f in found.items()} == {
        1000: (PASS, PASS), 500: (WARN, PASS), 100: (FAIL, PASS), 2500: (PASS, WARN), 5100: (PASS, FAIL)
    }  # fmt: skip
    assert found[100]["low_volume"][0] == pytest.approx(0.9)
    assert found[5100]["high_volume"][0] == pytest.approx(4.1)


def test_a_day_without_an_event_misses_all_of_its_volume() -> None:
    found = judged(DayCounts(DAY), declared(low_volume={"fail": 0.9}, top_user={"fail": 0}), weeks(9, 9, 9))
    assert found == {"low_volume": (1.0, FAIL), "top_user": (None, OPEN)}


def test_nothing_is_usual_before_enough_weeks_and_no_day_is_judged_before_its_end() -> None:
    gates = declared(low_volume={"fail": 0.1}, time_of_day={"fail": 0}, weeks=4)
    assert judged(USUAL, gates, weeks(9000, 9000)) == {"low_volume": (None, OPEN), "time_of_day": (None, OPEN)}
    assert judged(USUAL, gates, weeks(9000, 9000, 9000))["low_volume"][1] == FAIL
    assert judged(USUAL, gates, weeks(9000, 9000, 9000), is_over=False)["low_volume"] == (None, OPEN)
    too_old = [replace(day, day=day.day - timedelta(weeks=4)) for day in weeks(9000, 9000, 9000)]
    assert judged(USUAL, gates, too_old)["low_volume"] == (None, OPEN)


def test_moved_hours_are_the_share_that_would_have_to_move() -> None:
    gates = declared(time_of_day={"warn": 0.2, "fail": 0.5})
    shifted = (0,) * 12 + (200,) * 12
    night = (2400,) + (0,) * 23
    found = [
        judged(replace(USUAL, hours=h), gates, weeks(2400, 4800, 2400))["time_of_day"] for h in (EVEN, shifted, night)
    ]
    assert found == [(pytest.approx(0.0), PASS), (pytest.approx(0.5), WARN), (pytest.approx(23 / 24), FAIL)]


def test_shares_of_a_small_day_are_not_judged() -> None:
    gates = declared(top_user={"fail": 0.01}, least_events=2401)
    assert judged(USUAL, gates) == {"top_user": (None, OPEN)}
    assert judged(USUAL, declared(top_user={"fail": 0.01}, least_events=2400))["top_user"][1] == FAIL


@pytest.mark.parametrize(
    ("gates", "problem"),
    [
        ({"top_user": {}}, "says neither warn nor fail"),
        ({"top_user": {"warn": 0.5, "fail": 0.1}}, "warns later than it fails"),
        ({"price_outside": {"lowest": 9, "highest": 3, "warn": 0}}, "lowest price above the highest"),
        ({"null_share": {"user_id": {"warn": 0}}}, "null_share.user_id"),
        ({"top_users": {"warn": 0}}, "top_users"),
    ],
)
def test_what_cannot_be_meant_is_refused(gates: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        declared(**gates)
