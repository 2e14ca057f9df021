from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from intent_spark.simulation.shop_calendar import DAY_MS, ShopCalendar, day_text


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "Europe/London", "America/St_Johns", "UTC"])
def test_an_instant_lies_in_its_own_day(zone: str) -> None:
    calendar = ShopCalendar.of(zone, date(2026, 3, 27), days=5, days_after=3)
    day = np.repeat(np.arange(5), 4)
    instants = calendar.instants(day, np.tile([0.0, 0.3, 0.7, 0.9999999], 5))
    assert (calendar.days_of(instants) - calendar.start_day == day).all()
    for instant, offset in zip(instants, calendar.offsets(instants), strict=True):
        local = datetime.fromtimestamp(instant / 1000, UTC).astimezone(ZoneInfo(zone))
        shift = local.utcoffset()
        assert shift is not None and shift.total_seconds() * 1000 == offset


def test_a_day_of_a_clock_change_is_shorter() -> None:
    calendar = ShopCalendar.of("Europe/London", date(2026, 3, 28), days=3, days_after=1)
    assert np.diff(calendar.midnights).tolist() == [DAY_MS, DAY_MS * 23 // 24, DAY_MS]


def test_week_days_and_texts() -> None:
    calendar = ShopCalendar.of("Asia/Shanghai", date(2026, 3, 1), days=2, days_after=1)
    assert [calendar.weekday(day) for day in (0, 1, 7)] == [6, 0, 6]
    assert day_text(calendar.start_day) == "2026-03-01"
