"""Daily partials: what is kept of a user's day so that every declared feature follows from the days alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from intent_spark.config.features import FeaturesConfig, WindowedFeature

Operation = Literal["sum", "min", "max"]


@dataclass(frozen=True)
class Partial:
    """One column of ``user_days``.

    ``expression`` is SQL over one event and null where the event does not count; ``within_day`` folds the events of
    a day, ``over_days`` folds the days of a window.
    """

    name: str
    expression: str
    type: str
    within_day: Operation
    over_days: Operation
    meaning: str

    @property
    def definition(self) -> tuple[str, str, str]:
        """What makes two partials the same, whatever they are called."""
        return self.expression, self.within_day, self.over_days


def event_condition(event_types: Iterable[str]) -> str:
    """SQL that is true for events of these types; of any type where none is named."""
    quoted = ", ".join(f"'{name}'" for name in sorted(event_types))
    return f"event_type in ({quoted})" if quoted else "true"


def feature_partials(feature: WindowedFeature) -> list[Partial]:
    """The partials from which a feature is computed over any window."""
    when, name, text = event_condition(feature.event_types), feature.name, feature.description
    counted = f"if({when}, 1L, null)"
    valued = f"if({when}, cast({feature.value} as bigint), null)"
    day_flag = Partial(f"{name}_day", f"if({when}, 1, null)", "int", "max", "sum", f"1 on a day that counts: {text}")
    match feature.aggregate:
        case "count":
            return [Partial(name, counted, "bigint", "sum", "sum", text)]
        case "sum":
            return [Partial(name, valued, "bigint", "sum", "sum", text)]
        case "mean":
            present = f"if({when} and ({feature.value}) is not null, 1L, null)"
            number = Partial(f"{name}_count", present, "bigint", "sum", "sum", f"{text}: how many")
            return [Partial(f"{name}_sum", valued, "bigint", "sum", "sum", f"{text}: sum"), number]
        case "min" | "max":
            fold: Operation = feature.aggregate
            return [Partial(name, valued, "bigint", fold, fold, text)]
        case "active_days":
            return [day_flag]
        case "days_since_last":
            return [Partial(f"{name}_time", f"if({when}, event_time, null)", "timestamp", "max", "max", text)]
        case "days_since_first":
            return [Partial(f"{name}_time", f"if({when}, event_time, null)", "timestamp", "min", "min", text)]


def all_partials(features: FeaturesConfig) -> list[Partial]:
    """The partials of all features; those of one definition are kept once, under the name met first."""
    distinct: dict[tuple[str, str, str], Partial] = {}
    for feature in features.windowed:
        for partial in feature_partials(feature):
            distinct.setdefault(partial.definition, partial)
    for interval in features.intervals:
        for partial in [interval_partial(interval.name, interval.event_types)]:
            distinct.setdefault(partial.definition, partial)
    return list(distinct.values())


def interval_partial(name: str, event_types: Iterable[str]) -> Partial:
    """The flag of a day that ends one interval and begins the next."""
    expression = f"if({event_condition(event_types)}, 1, null)"
    return Partial(f"{name}_day", expression, "int", "max", "sum", "1 on a day with such an event")


def columns_by_definition(partials: Iterable[Partial]) -> dict[tuple[str, str, str], str]:
    """Where a partial of some definition is kept."""
    return {partial.definition: partial.name for partial in partials}
