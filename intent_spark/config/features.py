"""What features are: the declarations in ``conf/features.yaml``."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from intent_spark.config.source import EVENT_TYPES
from intent_spark.config.strict import Strict

LIFETIME = "lifetime"
INTERVAL_STATISTICS = ("mean", "std", "min", "max")
Days = Annotated[int, Field(ge=1, le=36_500)]  # a century: dates reach no further back than year 1
Window = Days | Literal["lifetime"]
Aggregate = Literal[
    "count", "sum", "mean", "std", "min", "max", "first", "last", "active_days", "days_since_last", "days_since_first",
    "distinct", "top", "decayed_sum", "intervals",
]  # fmt: skip
NEEDS_VALUE = ("sum", "mean", "std", "min", "max", "first", "last", "distinct", "top", "decayed_sum")
# What one aggregate alone understands, and must be told.
PARAMETERS = {"top": "places", "decayed_sum": "half_life_days"}
BY_KEY = ("count", "sum")
# A text in SQL, in either kind of quotes.
LITERAL = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
# The times of a sequence's events, which days and states keep beside its columns.
SEQUENCE_TIME = "last_event_time"
# What a profile or a training example holds besides features.
RESERVED = ("as_of", "user_id", "definition_hash", "label", "churned", "spent", "split", "weight")


def _known_type(value: str) -> str:
    if value not in EVENT_TYPES:
        raise ValueError(f"is no event type; allowed are {', '.join(EVENT_TYPES)}")
    return value


EventType = Annotated[str, AfterValidator(_known_type)]
ItemColumn = Literal["item_brand", "item_title", "item_list_price", "item_category", "item_price_level"]
# The largest value that each of the numbers among them can have.
NUMBERS_OF_ITEMS = {"item_list_price": 2**63 - 1, "item_price_level": 2**31 - 1}
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class WindowedFeature(Strict):
    """An aggregate of a user's events over each of some windows before ``as_of``."""

    name: Name
    aggregate: Aggregate
    event_types: list[EventType] = Field(default_factory=list, description="all types if none is said")
    filter: str | None = Field(default=None, description="SQL condition over an event, beside its type")
    value: str | None = Field(default=None, description="SQL expression over an event; an integer where it is summed")
    by: str | None = Field(default=None, description="SQL expression over an event: one number for each of its values")
    windows: list[Window] = Field(min_length=1)
    cap: int | None = Field(
        default=None, ge=16, le=4096,
        description="distinct values counted exactly, above it a sketch; or the most values kept of a user's lifetime",
    )  # fmt: skip
    places: int | None = Field(default=None, ge=1, le=20, description="how many of the top values are kept")
    weights: dict[EventType, PositiveInt] = Field(
        default_factory=dict, description="of an event in top, of these types only; 1 of every one if not said"
    )
    half_life_days: float | None = Field(default=None, gt=0, description="an event this old weighs half")
    unit: str
    description: str
    owner: str

    @property
    def is_keyed(self) -> bool:
        """Whether a number is kept for each of some values."""
        return self.by is not None or self.aggregate == "top"

    @property
    def _told(self) -> str:
        return f"aggregate {self.aggregate}" + (f" by {self.by}" if self.by else "")

    @property
    def title(self) -> str:
        """The name without a window: one for each declaration."""
        return self.name if self.by is None else f"{self.name}_by_{self.by}"

    def column(self, window: Window) -> str:
        """The generated name: ``purchase_count`` over 7 days is ``purchase_count_7d``.

        Days since something and intervals over the lifetime need no suffix.
        """
        suffix = "" if self.by is None else f"_by_{self.by}"
        if window == LIFETIME:
            bare = self.aggregate.startswith("days_since") or self.aggregate == "intervals"
            return self.name + suffix if bare else f"{self.name}_{LIFETIME}{suffix}"
        return f"{self.name}_{window}d{suffix}"

    def columns(self, window: Window) -> list[str]:
        """All generated names: a column for each place of ``top`` and each statistic of ``intervals``."""
        name = self.column(window)
        if self.aggregate == "top":
            return [f"{name}_{place}" for place in range(1, (self.places or 0) + 1)]
        if self.aggregate == "intervals":
            return [f"{name}_{statistic}" for statistic in INTERVAL_STATISTICS]
        return [name]

    @model_validator(mode="after")
    def _consistent(self) -> WindowedFeature:
        """Everything the aggregate needs is said, and nothing that it would not read."""
        needs_value = self.aggregate in NEEDS_VALUE
        if needs_value != (self.value is not None):
            raise ValueError(f"aggregate {self.aggregate} {'needs' if needs_value else 'takes no'} value")
        for aggregate, parameter in PARAMETERS.items():
            needs = self.aggregate == aggregate
            if needs != (getattr(self, parameter) is not None):
                raise ValueError(f"aggregate {self.aggregate} {'needs' if needs else 'takes no'} {parameter}")
        grows = self.is_keyed and LIFETIME in self.windows
        if (self.aggregate == "distinct" or grows) != (self.cap is not None):
            lifetime = " over the lifetime" if grows else ""
            raise ValueError(f"{self._told}{lifetime} {'takes no' if self.cap else 'needs'} cap")
        if self.weights and self.aggregate != "top":
            raise ValueError(f"aggregate {self.aggregate} takes no weights")
        if self.event_types and (stray := sorted(self.weights.keys() - set(self.event_types))):
            raise ValueError(f"weights name {', '.join(stray)}, which event_types leave out")
        if self.by is not None and (self.aggregate not in BY_KEY or not self.by.isidentifier()):
            raise ValueError(f"by names one column of an event, and only for {' and '.join(BY_KEY)}")
        if self.aggregate == "decayed_sum" and LIFETIME in self.windows:
            raise ValueError("aggregate decayed_sum takes windows of days, not the lifetime")
        return self


class DerivedFeature(Strict):
    """An expression over other features of the same profile, in any order of declaration."""

    name: Name
    expression: str
    unit: str
    description: str
    owner: str


class UserFeature(Strict):
    """An attribute of the user as it was at ``as_of``; ``as_of`` may be used in the expression."""

    name: Name
    expression: str
    role: Literal["numeric", "categorical"]
    default: float | str | None = Field(default=None, description="of a user who is not in users; null if not said")
    unit: str
    description: str
    owner: str

    @model_validator(mode="after")
    def _default_fits(self) -> UserFeature:
        """A number has a number for a default, a category a text."""
        if self.default is not None and isinstance(self.default, str) != (self.role == "categorical"):
            raise ValueError(f"role {self.role} does not fit default {self.default!r}")
        return self


class SequenceColumn(Strict):
    """One of the aligned columns of the last events."""

    name: Name
    value: str | None = Field(default=None, description="SQL expression over an event")
    gap: bool = Field(default=False, description="instead of a value seconds to the next event, or to as_of")
    type: Literal["string", "int", "bigint", "double"] = Field(
        default="string", description="to the networks string and int are categories, bigint and double numbers"
    )
    unit: str
    description: str
    owner: str

    @model_validator(mode="after")
    def _one_meaning(self) -> SequenceColumn:
        """A column is a value or a gap."""
        if self.gap == (self.value is not None):
            raise ValueError("a column of the sequence has either a value or gap: true")
        if self.name == SEQUENCE_TIME:
            raise ValueError(f"{SEQUENCE_TIME} is the name under which the events' times are kept; choose another")
        if self.gap and self.type != "bigint":
            raise ValueError("a gap is of type bigint")
        return self


class SequenceSettings(Strict):
    """The last events of a user, oldest first, as aligned columns."""

    length: PositiveInt = Field(le=500)
    window_days: Days
    event_types: list[EventType] = Field(default_factory=list, description="all types if none is said")
    filter: str | None = Field(default=None, description="SQL condition over an event, beside its type")
    columns: list[SequenceColumn] = Field(min_length=1)


class FeaturesConfig(Strict):
    """All declared features. Names must differ, and no derived feature may need itself."""

    windowed: list[WindowedFeature]
    derived: list[DerivedFeature]
    user: list[UserFeature]
    daily_cap: PositiveInt | None = Field(
        default=None, description="events of a user's day that count: the first ones; all if not said"
    )
    unknown_item: dict[ItemColumn, str | int] = Field(
        default_factory=dict, description="what an event's item columns are where its item is not in items"
    )
    sequence: SequenceSettings | None = Field(default=None, description="none: the model reads the profile alone")

    @model_validator(mode="after")
    def _distinct_names(self) -> FeaturesConfig:
        names = [column for f in self.windowed for window in f.windows for column in f.columns(window)]
        names += [d.name for d in self.derived] + [u.name for u in self.user] + [*RESERVED]
        names += [c.name for c in self.sequence.columns] if self.sequence else []
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"declares two columns named {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _unknown_item_fits(self) -> FeaturesConfig:
        for name, value in self.unknown_item.items():
            if isinstance(value, int) != (name in NUMBERS_OF_ITEMS):
                raise ValueError(f"gives an unknown item's {name} the value {value!r}, which is of another type")
            if isinstance(value, int) and abs(value) > NUMBERS_OF_ITEMS[name]:
                raise ValueError(f"gives an unknown item's {name} the value {value}, which is out of range")
        return self

    @model_validator(mode="after")
    def _no_cycle(self) -> FeaturesConfig:
        self.derived_in_levels()
        return self

    def derived_in_levels(self) -> list[list[DerivedFeature]]:
        """The derived features, each level made of those before it.

        Raises:
            ValueError: some need one another.
        """
        by_name = {feature.name: feature for feature in self.derived}
        sorter = TopologicalSorter({d.name: words(d.expression) & by_name.keys() for d in self.derived})
        try:
            sorter.prepare()
        except CycleError as error:
            raise ValueError(f"derived features need one another: {' → '.join(error.args[1])}") from error
        levels: list[list[DerivedFeature]] = []
        while sorter.is_active():
            ready = sorter.get_ready()
            levels.append([by_name[name] for name in ready])
            sorter.done(*ready)
        return levels


def words(expression: str) -> set[str]:
    """The words of an expression outside quotes, in lower case as all names are: among them the features it reads."""
    return set(re.findall(r"[a-z_]\w*", LITERAL.sub(" ", expression).lower()))
