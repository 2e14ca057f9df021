"""Quality gates of a source: what a day's events may look like before they are told of, or held back from profiles."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from intent_spark.config.strict import Strict

NullableColumn = Literal["item_id", "category", "price", "quantity", "session_id"]


class Limits(Strict):
    """Two limits of one figure, the larger the worse: beyond ``warn`` it is told, beyond ``fail`` the day waits."""

    warn: float | None = Field(default=None, ge=0)
    fail: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Limits:
        if self.warn is None and self.fail is None:
            raise ValueError("says neither warn nor fail; give one, or leave the gate out")
        if self.warn is not None and self.fail is not None and self.warn > self.fail:
            raise ValueError("warns later than it fails; warn must not be above fail")
        return self


class PriceLimits(Limits):
    """A price is an outlier outside [lowest, highest], in minor units."""

    lowest: NonNegativeInt = 0
    highest: PositiveInt

    @model_validator(mode="after")
    def _is_a_range(self) -> PriceLimits:
        if self.lowest > self.highest:
            raise ValueError("has a lowest price above the highest")
        return self


class GateSettings(Strict):
    """The gates of a source. Each is judged for each day; one that is left out is not judged."""

    null_share: dict[NullableColumn, Limits] = Field(default_factory=dict, description="events without the column")
    unknown_types: Limits | None = Field(default=None, description="share of the day's rows of an unmapped type")
    duplicates: Limits | None = Field(default=None, description="share of the day's rows that were there already")
    low_volume: Limits | None = Field(default=None, description="share of the usual events that is missing")
    high_volume: Limits | None = Field(default=None, description="events beyond the usual, over the usual")
    top_user: Limits | None = Field(default=None, description="share of events from the most active user")
    price_outside: PriceLimits | None = Field(default=None, description="share of prices outside the range")
    time_of_day: Limits | None = Field(
        default=None, description="share of events at other hours than usual: total variation distance"
    )
    least_events: PositiveInt = Field(default=1000, description="a smaller day's shares are noise, and not judged")
    weeks: PositiveInt = Field(default=8, description="what is usual: the same weekday of so many weeks before")
    least_weeks: PositiveInt = Field(default=3, description="with fewer of them in the table nothing is usual yet")

    def limits(self) -> dict[str, Limits]:
        """The declared gates by name; ``null_share.price`` is that of one column."""
        named = {f"null_share.{column}": limits for column, limits in self.null_share.items()}
        single = {name: getattr(self, name) for name in type(self).model_fields}
        return named | {name: value for name, value in single.items() if isinstance(value, Limits)}
