"""Spans: which days a slot gains and which leave it between one date and another. Plain dates, no Spark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from intent_spark.config.features import LIFETIME, Window

BEGINNING = date.min
# How many days an event's day lies before the date; the last day before it is 1 day old.
AGE = "days before"


@dataclass(frozen=True)
class DayRange:
    """The half-open range of days [start, end)."""

    start: date
    end: date

    @property
    def sql(self) -> str:
        """The condition on ``event_date``."""
        until = f"event_date < date'{self.end}'"
        return until if self.start == BEGINNING else f"event_date >= date'{self.start}' and {until}"

    def by_age(self, as_of: date) -> str:
        """The condition on ``AGE`` at a date: one text for all dates, so that Java compiles what is made of it once."""
        oldest, youngest = (as_of - self.start).days, (as_of - self.end).days + 1
        since = f"`{AGE}` >= {youngest}"
        return since if self.start == BEGINNING else f"`{AGE}` <= {oldest} and {since}"

    def holds(self, day: date) -> bool:
        """Whether a day lies in the range."""
        return self.start <= day < self.end


@dataclass(frozen=True)
class Span:
    """The days that come into a window and those that leave it."""

    added: DayRange
    removed: DayRange | None = None

    @property
    def ranges(self) -> list[DayRange]:
        """Both ranges, as far as they hold days."""
        return [r for r in (self.added, self.removed) if r is not None and r.start < r.end]


def age_at(as_of: date) -> str:
    """SQL for the ``AGE`` of an ``event_date``."""
    return f"datediff(date'{as_of}', event_date)"


def window_start(window: Window, as_of: date) -> date:
    """The first day of [as_of - window, as_of)."""
    return BEGINNING if window == LIFETIME else as_of - timedelta(days=int(window))


def span(window: Window, as_of: date, previous: date | None) -> Span:
    """What changes in a window from ``previous`` to ``as_of``; without a previous date, all that is in it.

    From 2026-03-31 to 2026-04-01 a window of 7 days gains 2026-03-31 and loses 2026-03-24.
    """
    start = window_start(window, as_of)
    if previous is None:
        return Span(DayRange(start, as_of))
    if window == LIFETIME:
        return Span(DayRange(previous, as_of))
    left = DayRange(window_start(window, previous), min(start, previous))
    return Span(DayRange(max(previous, start), as_of), left)
