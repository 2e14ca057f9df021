"""The simulated shop: its hidden customers, its calendar, its catalogue and the faults of its log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from intent_spark.config.strict import Strict

STATES = ("dormant", "browsing", "intending", "bought")
BOUGHT = STATES.index("bought")
EVENT_TYPES = ("view", "search", "cart", "favourite", "purchase")
COUNTED_TYPES = EVENT_TYPES[:4]
PRICE_BANDS = ("low", "middle", "high")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FileFormat = Literal["jsonl", "csv", "parquet"]

Probability = Annotated[float, Field(ge=0, le=1)]
FaultRate = Annotated[float, Field(ge=0, le=0.2)]
Rate = Annotated[float, Field(gt=0, le=200)]
Factor = Annotated[float, Field(gt=0, le=20)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
CategoryPath = Annotated[str, Field(pattern=r"^[a-z0-9_]+/[a-z0-9_]+$")]


def _require_sum_of_one(values: Iterable[float], what: str) -> None:
    total = sum(values)
    if abs(total - 1.0) > 1e-9:
        raise ValueError(f"{what} must sum to 1, found {total:.6g}")


class DailyRates(Strict):
    """Expected events of one day, by type. Above zero, so that no history is impossible to the filter."""

    view: Rate
    search: Rate
    cart: Rate
    favourite: Rate


class StateRates(Strict):
    """Daily rates in each hidden state."""

    dormant: DailyRates
    browsing: DailyRates
    intending: DailyRates
    bought: DailyRates


class NextState(Strict):
    """One row of a transition matrix: tomorrow's state, given today's."""

    dormant: Probability
    browsing: Probability
    intending: Probability
    bought: Probability

    @model_validator(mode="after")
    def _is_a_distribution(self) -> Self:
        _require_sum_of_one(self.probabilities(), "the probabilities of the next state")
        return self

    def probabilities(self) -> tuple[float, ...]:
        """In the order of ``STATES``."""
        return self.dormant, self.browsing, self.intending, self.bought


class Transitions(Strict):
    """Where each state leads to on the next day, before price sensitivity and day of week."""

    dormant: NextState
    browsing: NextState
    intending: NextState
    bought: NextState


class UserType(Strict):
    """A kind of customer: a static hidden trait."""

    share: Probability
    extra_purchases: Annotated[float, Field(gt=0, le=10)]
    rates: StateRates
    transitions: Transitions


class PriceSensitivity(Strict):
    """A static hidden trait: the price bands looked at, and how readily an intention ends in a purchase."""

    share: Probability
    price_bands: tuple[Probability, Probability, Probability]
    buying_factor: Factor

    @field_validator("price_bands")
    @classmethod
    def _bands_are_a_distribution(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        _require_sum_of_one(value, "price_bands")
        if min(value) == 0:
            raise ValueError("price_bands must all be above 0, or the filter would find histories impossible")
        return value


class WeekdayFactors(Strict):
    """How one day of the week multiplies the rates of events and the transitions into `bought`."""

    activity: Factor
    buying: Factor


class Week(Strict):
    """Monday to Sunday, in the shop's time zone."""

    monday: WeekdayFactors
    tuesday: WeekdayFactors
    wednesday: WeekdayFactors
    thursday: WeekdayFactors
    friday: WeekdayFactors
    saturday: WeekdayFactors
    sunday: WeekdayFactors


class DemographicGroup(Strict):
    """A group's share of the users, and how much likelier it makes a named trait (factor; 1 if not named)."""

    share: Probability
    traits: dict[Name, Factor] = {}


class Demographics(Strict):
    """What the shop knows about a user, each correlated with the hidden traits."""

    gender: dict[Name, DemographicGroup]
    age: dict[Annotated[str, Field(pattern=r"^\d\d-\d\d$")], DemographicGroup]
    city_tier: dict[Annotated[int, Field(ge=1, le=9)], DemographicGroup]
    marketing_consent: Probability

    @model_validator(mode="after")
    def _shares_are_distributions(self) -> Self:
        for name, groups in (("gender", self.gender), ("age", self.age), ("city_tier", self.city_tier)):
            _require_sum_of_one((group.share for group in groups.values()), f"the shares of {name}")
        return self

    def groups(self) -> list[DemographicGroup]:
        """All groups of all demographics."""
        return [*self.gender.values(), *self.age.values(), *self.city_tier.values()]


class CatalogueConfig(Strict):
    """The items: so many in each category and price band, bought by a Zipf law."""

    categories: Annotated[tuple[CategoryPath, ...], Field(min_length=2, max_length=500)]
    items_per_band: Annotated[int, Field(ge=1, le=1000)]
    brands: Annotated[int, Field(ge=1, le=400)]
    zipf_exponent: Annotated[float, Field(ge=0, le=3)]
    revisit_share: Probability

    @field_validator("categories")
    @classmethod
    def _no_category_twice(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("categories must not repeat")
        return value


class Imperfections(Strict):
    """Share of the true events that also (or, for late ones, instead) arrive in a faulty way."""

    duplicate: FaultRate
    resent: FaultRate
    late: FaultRate
    malformed: FaultRate
    missing_user: FaultRate
    unknown_type: FaultRate
    clock_skew: FaultRate
    late_days_max: Annotated[int, Field(ge=1, le=30)]
    skew_days_max: Annotated[int, Field(ge=3, le=60)]
    bots: Annotated[int, Field(ge=0, le=1000)]
    bot_factor: Annotated[float, Field(ge=1, le=100_000)]


class TruthConfig(Strict):
    """For which days the true purchase probability is written."""

    horizon_days: Annotated[int, Field(ge=1, le=366)]
    first_day: Annotated[int, Field(ge=1)]
    every_days: Annotated[int, Field(ge=1)]


class SimulationConfig(Strict):
    """All that defines a simulated shop but its size, its dates and its seed."""

    time_zone: str
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    chunk_users: Annotated[int, Field(ge=1, le=100_000)]
    chunks_per_block: Annotated[int, Field(ge=1, le=10_000)]
    minimum_blocks: Annotated[int, Field(ge=1, le=10_000)]
    new_user_share: Probability
    tenure_days_max: Annotated[int, Field(ge=1, le=10_000)]
    new_user_state: NextState
    events_per_session: Annotated[float, Field(ge=1, le=100)]
    user_types: Annotated[dict[Name, UserType], Field(min_length=1)]
    price_sensitivity: Annotated[dict[Name, PriceSensitivity], Field(min_length=1)]
    week: Week
    demographics: Demographics
    catalogue: CatalogueConfig
    imperfections: Imperfections
    truth: TruthConfig

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{value!r} is not a time zone such as Asia/Shanghai") from None
        return value

    @model_validator(mode="after")
    def _traits_agree(self) -> Self:
        _require_sum_of_one((kind.share for kind in self.user_types.values()), "the shares of user_types")
        levels = self.price_sensitivity.values()
        _require_sum_of_one((level.share for level in levels), "the shares of price_sensitivity")
        known = {*self.user_types, *self.price_sensitivity}
        named = {trait for group in self.demographics.groups() for trait in group.traits}
        unknown = sorted(named - known)
        if unknown:
            raise ValueError(f"demographics name unknown traits {unknown}, known are {sorted(known)}")
        return self
