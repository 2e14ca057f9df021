"""Daily partials: what is kept of a user's day so that every declared feature follows from the days alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from intent_spark.config.features import FeaturesConfig, WindowedFeature

# How the events of a day become one value. ``keyed`` is a sum for each key, ``distinct`` a set of hashes.
WithinDay = Literal["sum", "min", "max", "keyed", "distinct"]
COUNTED = "bigint"
# Sums of squares of cents outgrow 64 bits.
WIDE = "decimal(38,0)"
DATED = "struct<event_time:timestamp,event_id:string,value:string>"


@dataclass(frozen=True)
class Partial:
    """One column of ``user_days``.

    ``expression`` is SQL over one event and null where the event does not count; ``key`` is the expression that a
    keyed partial is told by; ``cap`` bounds a set of hashes.
    """

    name: str
    expression: str
    type: str
    within_day: WithinDay
    meaning: str
    key: str = ""
    cap: int = 0

    @property
    def definition(self) -> tuple[str, str, str, str, int]:
        """What makes two partials the same, whatever they are called."""
        return self.expression, self.type, self.within_day, self.key, self.cap


def event_condition(event_types: Iterable[str], condition: str | None = None) -> str:
    """SQL that is true for events of these types, of any type where none is named, for which the condition holds."""
    quoted = ", ".join(f"'{name}'" for name in sorted(set(event_types)))
    parts = [f"event_type in ({quoted})"] if quoted else []
    parts += [f"({condition})"] if condition else []
    return " and ".join(parts) or "true"


def feature_partials(feature: WindowedFeature) -> list[Partial]:
    """The partials from which a feature is computed over any window, in the order that its formula reads them."""
    if feature.is_keyed:
        return [_keyed(feature)]
    when, name, text = event_condition(feature.event_types, feature.filter), feature.name, feature.description
    counted, valued = f"if({when}, 1L, null)", f"if({when}, cast({feature.value} as bigint), null)"
    present = f"if({when} and ({feature.value}) is not null, 1L, null)"
    total = Partial(f"{name}_sum", valued, COUNTED, "sum", f"{text}: sum")
    number = Partial(f"{name}_count", present, COUNTED, "sum", f"{text}: how many")
    match feature.aggregate:
        case "count":
            return [Partial(name, counted, COUNTED, "sum", text)]
        case "sum" | "decayed_sum":
            return [Partial(name, valued, COUNTED, "sum", text)]
        case "mean":
            return [total, number]
        case "std":
            wide = f"cast(cast({feature.value} as bigint) as {WIDE})"
            square = f"cast(if({when}, {wide} * {wide}, null) as {WIDE})"
            return [total, number, Partial(f"{name}_squares", square, WIDE, "sum", f"{text}: sum of squares")]
        case "min":
            return [Partial(name, valued, COUNTED, "min", text)]
        case "max":
            return [Partial(name, valued, COUNTED, "max", text)]
        case "first" | "last":
            return [_dated(feature, when)]
        case "active_days" | "intervals":
            return [Partial(f"{name}_day", f"if({when}, 1L, null)", COUNTED, "max", f"1 on a day that counts: {text}")]
        case "days_since_last":
            return [Partial(f"{name}_time", f"if({when}, event_time, null)", "timestamp", "max", text)]
        case "days_since_first":
            return [Partial(f"{name}_time", f"if({when}, event_time, null)", "timestamp", "min", text)]
        case "distinct":
            # 63 bits, never negative: the place of a value among all values.
            hashed = f"if({when} and ({feature.value}) is not null, xxhash64({feature.value}) & {2**63 - 1}L, null)"
            return [Partial(name, hashed, "array<bigint>", "distinct", f"{text}: hashes", cap=feature.cap or 0)]
    raise AssertionError(f"no partials for {feature.aggregate}")


def _keyed(feature: WindowedFeature) -> Partial:
    """A sum for each key: of ones, of the value, or of the weights of the event's type."""
    when = event_condition(feature.event_types, feature.filter)
    key, weight = (feature.by, feature.value or "1L") if feature.by else (feature.value, _weight(feature))
    expression = f"if({when}, cast({weight} as bigint), null)"
    meaning = f"{feature.description}: by {key}"
    return Partial(feature.title, expression, "map<string,bigint>", "keyed", meaning, key=f"cast({key} as string)")


def _weight(feature: WindowedFeature) -> str:
    if not feature.weights:
        return "1L"
    cases = " ".join(f"when event_type = '{name}' then {weight}L" for name, weight in sorted(feature.weights.items()))
    return f"case {cases} end"


def _dated(feature: WindowedFeature, when: str) -> Partial:
    """The first or last value with its instant; of equal instants the event's id decides."""
    value = f"cast({feature.value} as string)"
    dated = f"named_struct('event_time', event_time, 'event_id', event_id, 'value', {value})"
    expression = f"if({when} and ({feature.value}) is not null, {dated}, null)"
    return Partial(
        feature.name, expression, DATED, "min" if feature.aggregate == "first" else "max", feature.description
    )


def all_partials(features: FeaturesConfig) -> list[Partial]:
    """The partials of all features; those of one definition are kept once, under the name met first."""
    distinct: dict[tuple[str, str, str, str, int], Partial] = {}
    for feature in features.windowed:
        for partial in feature_partials(feature):
            distinct.setdefault(partial.definition, partial)
    return list(distinct.values())
