"""Which days a window gains and loses: against the plain definition of a window."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from intent_spark.config.features import LIFETIME
from intent_spark.profiles.spans import BEGINNING, DayRange, span

days = st.integers(1, 400).map(lambda n: date(2026, 1, 1) + timedelta(days=n))


def test_one_day_on() -> None:
    found = span(7, date(2026, 4, 1), date(2026, 3, 31))
    assert found.added == DayRange(date(2026, 3, 31), date(2026, 4, 1))
    assert found.removed == DayRange(date(2026, 3, 24), date(2026, 3, 25))
    assert span(LIFETIME, date(2026, 4, 1), date(2026, 3, 31)).removed is None
    assert span(LIFETIME, date(2026, 4, 1), None).added == DayRange(BEGINNING, date(2026, 4, 1))


@given(st.integers(1, 90), days, st.integers(1, 120), days)
def test_what_was_in_and_came_and_left_is_what_is_in(window: int, as_of: date, step: int, day: date) -> None:
    previous = as_of - timedelta(days=step)
    moved = span(window, as_of, previous)
    was_in = span(window, previous, None).added.holds(day)
    is_in = span(window, as_of, None).added.holds(day)
    left = moved.removed is not None and moved.removed.holds(day)
    assert was_in + moved.added.holds(day) - left == is_in


def test_a_range_as_sql() -> None:
    assert DayRange(BEGINNING, date(2026, 4, 1)).sql == "event_date < date'2026-04-01'"
    assert DayRange(date(2026, 3, 1), date(2026, 4, 1)).sql.startswith("event_date >= date'2026-03-01' and ")


def test_a_range_by_age_is_one_text_for_all_dates() -> None:
    as_of, later = date(2026, 4, 1), date(2026, 4, 8)
    assert DayRange(BEGINNING, as_of).by_age(as_of) == "`days before` >= 1"
    week, week_later = (span(7, day, None).added.by_age(day) for day in (as_of, later))
    assert week == week_later == "`days before` <= 7 and `days before` >= 1"


@given(days, days, days, days)
def test_a_range_by_age_holds_the_same_days(start: date, end: date, as_of: date, day: date) -> None:
    condition = DayRange(start, end).by_age(as_of).replace("`days before`", str((as_of - day).days))
    assert eval(condition) == DayRange(start, end).holds(day)  # noqa: S307
