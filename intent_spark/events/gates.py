"""Judging a day's events by the declared gates, from counts alone. No Spark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from statistics import median

from intent_spark.config.gates import GateSettings, Limits

PASS, WARN, FAIL, OPEN = "pass", "warn", "fail", "open"
HOURS = 24


@dataclass(frozen=True)
class DayCounts:
    """What is counted of one day of one source."""

    day: date
    rows: int = 0
    read: int = 0
    duplicates: int = 0
    unknown_types: int = 0
    nulls: Mapping[str, int] = field(default_factory=dict)
    priced: int = 0
    price_outside: int = 0
    hours: Sequence[int] = (0,) * HOURS
    top_user_events: int = 0
    most_events: int = 0

    def with_raw(self, read: int, duplicates: int, unknown_types: int) -> DayCounts:
        """The same day with more raw rows."""
        return replace(
            self,
            read=self.read + read,
            duplicates=self.duplicates + duplicates,
            unknown_types=self.unknown_types + unknown_types,
        )


@dataclass(frozen=True)
class Figure:
    """One gate of one day. ``value`` is None, and the status open, where there is nothing to judge by."""

    gate: str
    value: float | None
    limits: Limits

    @property
    def status(self) -> str:
        """Pass, warn, fail or open."""
        if self.value is None:
            return OPEN
        if self.limits.fail is not None and self.value > self.limits.fail:
            return FAIL
        return WARN if self.limits.warn is not None and self.value > self.limits.warn else PASS

    def describe(self) -> str:
        """``low_volume 0.93 (warn above 0.4, fail above 0.8)``."""
        told = [f"{name} above {limit:g}" for name, limit in self.limits.model_dump(include={"warn", "fail"}).items()
                if limit is not None]  # fmt: skip
        return f"{self.gate} {'not judged' if self.value is None else f'{self.value:.4g}'} ({', '.join(told)})"


def judge(counts: DayCounts, history: Iterable[DayCounts], gates: GateSettings, is_over: bool) -> list[Figure]:
    """Every declared gate of a day.

    Args:
        counts: the day.
        history: other days of the same source; those of the same weekday before it say what is usual.
        gates: the declarations.
        is_over: whether the day was over when it was counted; volume and hours of a day that still runs are open.
    """
    usual = usual_days(counts.day, history, gates) if is_over else []
    figures = shares(counts, gates) if counts.rows >= gates.least_events else {}
    if usual and counts.rows >= gates.least_events:
        figures["time_of_day"] = moved_hours(counts.hours, usual)
    if usual:
        middle = median(day.rows for day in usual)
        figures["low_volume"] = max(0.0, 1 - counts.rows / middle)
        figures["high_volume"] = max(0.0, counts.rows / middle - 1)
    return [Figure(name, figures.get(name), limits) for name, limits in gates.limits().items()]


def usual_days(day: date, history: Iterable[DayCounts], gates: GateSettings) -> list[DayCounts]:
    """The days of the same weekday before, if there are enough of them."""
    before = {day - timedelta(weeks=n) for n in range(1, gates.weeks + 1)}
    found = [other for other in history if other.day in before and other.rows > 0]
    return found if len(found) >= gates.least_weeks else []


def shares(counts: DayCounts, gates: GateSettings) -> dict[str, float]:
    """The figures that the day alone tells."""
    found = {f"null_share.{column}": counts.nulls.get(column, 0) / counts.rows for column in gates.null_share}
    found["top_user"] = counts.top_user_events / counts.rows
    if counts.read > 0:
        found |= {"unknown_types": counts.unknown_types / counts.read, "duplicates": counts.duplicates / counts.read}
    return found | ({"price_outside": counts.price_outside / counts.priced} if counts.priced else {})


def moved_hours(hours: Sequence[int], usual: Sequence[DayCounts]) -> float:
    """The share of events that would have to move to another hour for the day to be a usual one, from 0 to 1."""
    together = [sum(day.hours[hour] for day in usual) for hour in range(HOURS)]
    here, there = sum(hours), sum(together)
    return sum(abs(a / here - b / there) for a, b in zip(hours, together, strict=True)) / 2
