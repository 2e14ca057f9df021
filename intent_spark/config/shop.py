"""The shop whose events a warehouse holds."""

from __future__ import annotations

from datetime import date
from zoneinfo import ZoneInfo

from pydantic import Field, PositiveInt, field_validator

from intent_spark.config.strict import Strict


class ShopSettings(Strict):
    """What a warehouse's shop is; recorded at the first ingestion."""

    time_zone: str
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    horizon_days: PositiveInt

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError("is no time zone; write it as Europe/London") from error
        return value


class DateRange(Strict):
    """The days a source is known to cover; rows outside are quarantined. Half-open: [first, end)."""

    first: date | None = None
    end: date | None = None
