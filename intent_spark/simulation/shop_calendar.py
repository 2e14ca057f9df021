"""Days and instants of the shop's time zone, as arrays of milliseconds since 1970 (UTC)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from intent_spark.simulation.hidden_model import Floats, Ints

DAY_MS = 86_400_000
_SLOT_MS = 900_000
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class ShopCalendar:
    """The simulated days in the shop's zone.

    ``midnights`` (days + 1,) are the instants at which they begin; ``offsets_ms`` is the zone's offset in
    each quarter of an hour from ``first_slot`` on, which knows every change of the clocks in between.
    """

    start_date: date
    days: int
    midnights: Ints
    first_slot: int
    offsets_ms: Ints

    @classmethod
    def of(cls, time_zone: str, start_date: date, days: int, days_after: int) -> ShopCalendar:
        """``days_after`` is how far beyond the last simulated day instants may lie."""
        zone = ZoneInfo(time_zone)
        midnights = [_midnight_ms(start_date + timedelta(days=day), zone) for day in range(days + 1)]
        first_slot = midnights[0] // _SLOT_MS - 1
        slots = range(first_slot, (midnights[-1] + (days_after + 1) * DAY_MS) // _SLOT_MS)
        offsets = [_offset_ms(slot * _SLOT_MS, zone) for slot in slots]
        return cls(start_date, days, np.array(midnights), first_slot, np.array(offsets))

    @property
    def start_day(self) -> int:
        """The first day, in days since 1970."""
        return (self.start_date - _EPOCH).days

    def weekday(self, day: int) -> int:
        """Week day of the simulated day, 0 is Monday."""
        return (self.start_date.weekday() + day) % 7

    def instants(self, day: Ints, fraction: Floats) -> Ints:
        """When that fraction of those days, in [0, 1), has passed; also of days of 23 or 25 hours."""
        begin = self.midnights[day]
        length = self.midnights[day + 1] - begin
        return np.asarray(begin + (fraction * length).astype(np.int64))

    def offsets(self, instants: Ints) -> Ints:
        """The zone's offset at each instant, in milliseconds."""
        return np.asarray(self.offsets_ms[instants // _SLOT_MS - self.first_slot])

    def days_of(self, instants: Ints) -> Ints:
        """The day of each instant in the shop's zone, in days since 1970."""
        return np.asarray((instants + self.offsets(instants)) // DAY_MS)


def day_text(day: int) -> str:
    """ISO text of a day since 1970."""
    return (_EPOCH + timedelta(days=day)).isoformat()


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    begin = datetime(day.year, day.month, day.day, tzinfo=zone)
    return round(begin.timestamp()) * 1000


def _offset_ms(instant_ms: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(instant_ms / 1000, UTC).astimezone(zone).utcoffset()
    return round((offset or timedelta()).total_seconds()) * 1000
