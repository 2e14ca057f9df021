"""What features are: the declarations in ``conf/features.yaml``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from intent_spark.config.source import EVENT_TYPES
from intent_spark.config.strict import Strict

LIFETIME = "lifetime"
INTERVAL_STATISTICS = ("mean", "std", "min", "max")
Window = PositiveInt | Literal["lifetime"]
Aggregate = Literal["count", "sum", "mean", "min", "max", "active_days", "days_since_last", "days_since_first"]


def _known_type(value: str) -> str:
    if value not in EVENT_TYPES:
        raise ValueError(f"is no event type; allowed are {', '.join(EVENT_TYPES)}")
    return value


EventType = Annotated[str, AfterValidator(_known_type)]
# What a profile or a training example holds besides features.
RESERVED = ("as_of", "user_id", "definition_hash", "label", "split", "weight")
SEQUENCE_NAMES = ("seq_event_type", "seq_category", "seq_item", "seq_price_band", "seq_gap_seconds")


class WindowedFeature(Strict):
    """An aggregate of a user's events over each of some windows before ``as_of``."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    aggregate: Aggregate
    event_types: list[EventType] = Field(default_factory=list, description="all types if none is said")
    value: str | None = Field(default=None, description="SQL expression over an event; an integer")
    windows: list[Window] = Field(min_length=1)
    unit: str
    description: str
    owner: str

    def column(self, window: Window) -> str:
        """The generated name: ``purchase_count`` over 7 days is ``purchase_count_7d``.

        Days since something are counted over the lifetime and need no suffix.
        """
        if window == LIFETIME:
            return self.name if self.aggregate.startswith("days_since") else f"{self.name}_{LIFETIME}"
        return f"{self.name}_{window}d"

    @model_validator(mode="after")
    def _consistent(self) -> WindowedFeature:
        needs_value = self.aggregate in ("sum", "mean", "min", "max")
        if needs_value != (self.value is not None):
            raise ValueError(f"aggregate {self.aggregate} {'needs' if needs_value else 'takes no'} value")
        return self


class DerivedFeature(Strict):
    """An expression over other features of the same profile."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    expression: str
    unit: str
    description: str
    owner: str


class UserFeature(Strict):
    """An attribute of the user as it was at ``as_of``; ``as_of`` may be used in the expression."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    expression: str
    role: Literal["numeric", "categorical"]
    unit: str
    description: str
    owner: str


class PreferredCategories(Strict):
    """The categories a user meets most, weighted by event type."""

    count: PositiveInt = Field(le=20)
    window_days: PositiveInt
    weights: dict[EventType, PositiveInt]


class PurchaseIntervals(Strict):
    """Statistics of the gaps between the days on which these events happen."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    event_types: list[EventType] = Field(min_length=1)


class SequenceSettings(Strict):
    """The last events of a user, oldest first."""

    length: PositiveInt = Field(le=500)
    window_days: PositiveInt


class FeaturesConfig(Strict):
    """All declared features. Names must differ."""

    windowed: list[WindowedFeature]
    derived: list[DerivedFeature]
    user: list[UserFeature]
    preferred_categories: PreferredCategories
    intervals: list[PurchaseIntervals]
    sequence: SequenceSettings

    @model_validator(mode="after")
    def _distinct_names(self) -> FeaturesConfig:
        names = [f.column(w) for f in self.windowed for w in f.windows]
        names += [d.name for d in self.derived] + [u.name for u in self.user]
        names += [f"{i.name}_{statistic}" for i in self.intervals for statistic in INTERVAL_STATISTICS]
        names += [f"top_category_{n}" for n in range(1, self.preferred_categories.count + 1)]
        names += [*RESERVED, *SEQUENCE_NAMES]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"declares two columns named {', '.join(twice)}")
        return self
