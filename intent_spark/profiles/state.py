"""The state of every user at a date: all slots and the last events, from the days alone or from an earlier state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from pyspark.sql import DataFrame

from intent_spark.config.features import FeaturesConfig
from intent_spark.lakehouse.texts import selected
from intent_spark.profiles.fold import Days, Step, read_ranges
from intent_spark.profiles.sequence import joined_on, kept_types, within_window
from intent_spark.profiles.slots import GAPS, Slot, Slots
from intent_spark.profiles.spans import BEGINNING, DayRange, span, window_start
from intent_spark.profiles.user_days import USER, as_map, kept_hashes


@dataclass(frozen=True)
class Base:
    """An earlier state, or one of the same date that lacks some slots."""

    as_of: date
    columns: dict[str, str] = field(default_factory=dict)
    """Where the state holds a slot: its column by the slot's definition."""

    def holds(self, slot: Slot) -> bool:
        """Whether the state knows the slot."""
        return slot.definition in self.columns


@dataclass(frozen=True)
class Way:
    """How each slot comes to a date: carried over, rolled from the base, or merged from the days of its window."""

    as_of: date
    base: Base | None
    carried: tuple[Slot, ...]
    rolled: tuple[Slot, ...]
    merged: tuple[Slot, ...]

    @property
    def is_there(self) -> bool:
        """Whether the base already is what is wanted, each slot under its name."""
        if self.base is None or self.base.as_of != self.as_of or self.merged:
            return False
        return all(self.base.columns[slot.definition] == slot.name for slot in self.carried)

    def read(self, sequence_days: int | None) -> list[DayRange]:
        """The ranges of days that are read, last events included."""
        previous = self.base.as_of if self.base else None
        last = [span(sequence_days, self.as_of, previous).added] if sequence_days else []
        new = DayRange(previous or BEGINNING, self.as_of)
        rolled, merged = (
            read_ranges(self.rolled, Step(self.as_of, previous)),
            read_ranges(self.merged, Step(self.as_of)),
        )
        return [r for r in {*rolled, *merged, *last, new} if r.start < r.end]


def find_way(slots: Slots, as_of: date, base: Base | None) -> Way:
    """The cheapest exact way slot by slot, from a base or from nothing."""
    known = [s for s in slots if base is not None and base.holds(s)]
    same_date = base is not None and base.as_of == as_of
    carried = known if same_date else []
    rolled = [] if same_date else [s for s in known if s.rolls]
    merged = [s for s in slots if s not in carried and s not in rolled]
    return Way(as_of, base, tuple(carried), tuple(rolled), tuple(merged))


def first_instant(day: date, time_zone: str) -> datetime:
    """The first instant of a day in the shop's zone, in UTC. 2017-12-03 in Asia/Shanghai is 2017-12-02T16:00Z."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone)).astimezone(UTC)


def build_state(
    days: Days, features: FeaturesConfig, way: Way, time_zone: str, base: DataFrame | None = None
) -> DataFrame:
    """One row a user seen before ``way.as_of``: user_id, a column a slot, those of the last events.

    Args:
        days: stored or straight from events; those at and after the date are not looked at.
        features: the declarations.
        way: how the slots are made.
        time_zone: the shop's.
        base: the rows of the way's base.
    """
    if base is not None and features.sequence:
        since = first_instant(window_start(features.sequence.window_days, way.as_of), time_zone)
        base = within_window(base, features.sequence, since)
    joined = _from_nothing(days, features, way) if base is None else _from_base(days, features, way, base)
    rolled = set(way.rolled)
    told = {slot: f"`+{slot.name}`" for slot in way.carried}
    for slot in (*way.rolled, *way.merged):
        told[slot] = _combined(slot, f"`-{slot.name}`" if slot in rolled else None, f"`+{slot.name}`")
    columns = {slot.name: f"cast({told[slot]} as {slot.type})" for slot in Slots(features)}
    columns |= joined_on(features.sequence) if features.sequence else {}
    return selected(joined, USER, columns)


def _prefixed(frame: DataFrame, sign: str) -> DataFrame:
    return selected(frame, USER, {sign + name: f"`{name}`" for name in frame.columns if name not in USER})


def _from_nothing(days: Days, features: FeaturesConfig, way: Way) -> DataFrame:
    folded = days.fold(way.merged, Step(way.as_of), met=[DayRange(BEGINNING, way.as_of)])
    joined = _prefixed(_with_last_events(folded, days, features, way), "+")
    return selected(joined, ("*",), _no_events(features, "-"))


def _from_base(days: Days, features: FeaturesConfig, way: Way, base: DataFrame) -> DataFrame:
    assert way.base is not None
    before = way.base
    named = {
        ("+" if s in way.carried else "-") + s.name: f"`{before.columns[s.definition]}`"
        for s in (*way.carried, *way.rolled)
    }
    last = {f"-{name}": f"`{name}`" for name in kept_types(features.sequence)}
    joined = selected(base, USER, named | last)
    if before.as_of == way.as_of:
        joined = selected(joined, ("*",), _no_events(features, "+"))
        if not way.merged:
            return joined
        return joined.join(_prefixed(days.fold(way.merged, Step(way.as_of)), "+"), on="user_id", how="left")
    step, met = Step(way.as_of, before.as_of), [DayRange(before.as_of, way.as_of)]
    moved = _with_last_events(days.fold(way.rolled, step, met), days, features, way)
    if way.merged:
        # Joined to each other first, as a full join leaves no frame moved by user. Whoever moved is met.
        merged = days.fold(way.merged, Step(way.as_of), [*met, *read_ranges(way.rolled, step)])
        new = merged.join(moved.hint("shuffle_hash"), on="user_id", how="left")
        return joined.join(_prefixed(new, "+"), on="user_id", how="full")
    # What moved is small beside the state: as a hash table it spares sorting both.
    return joined.join(_prefixed(moved, "+").hint("shuffle_hash"), on="user_id", how="full")


def _with_last_events(folded: DataFrame, days: Days, features: FeaturesConfig, way: Way) -> DataFrame:
    if not features.sequence:
        return folded
    previous = way.base.as_of if way.base else None
    reach = span(features.sequence.window_days, way.as_of, previous).added
    return folded.join(days.last_events(reach, features.sequence), on="user_id", how="left")


def _no_events(features: FeaturesConfig, sign: str) -> dict[str, str]:
    return {f"{sign}{name}": f"cast(null as {kind})" for name, kind in kept_types(features.sequence).items()}


def _combined(slot: Slot, before: str | None, delta: str) -> str:
    """SQL for what was known and what came in, as the slot's value."""
    known = before or f"cast(null as {slot.type})"
    match slot.fold:
        case "sum" | "decayed":
            return f"coalesce({known}, 0) + coalesce({delta}, 0)"
        case "min":
            return f"least({known}, {delta})"
        case "max":
            return f"greatest({known}, {delta})"
        case "distinct":
            nothing = "cast(array() as array<bigint>)"
            united = f"array_union(coalesce({known}, {nothing}), coalesce({delta}, {nothing}))"
            return f"slice(sort_array({united}), 1, {kept_hashes(slot.partial)})"
        case "keyed":
            return _keyed(known, delta, slot.most_keys)
        case "gaps":
            return _gaps(known, delta)


def _keyed(known: str, delta: str, most: int) -> str:
    nothing = "cast(map() as map<string,bigint>)"
    summed = f"map_zip_with(coalesce({known}, {nothing}), {delta}, (k, a, b) -> coalesce(a, 0L) + coalesce(b, 0L))"
    told = as_map(f"map_entries({summed})" if most else f"filter(map_entries({summed}), e -> e.value != 0)", most)
    return f"if({delta} is null, coalesce({known}, {nothing}), {told})"


def _gaps(known: str, days: str) -> str:
    gap = "cast(datediff(day, s.last) as bigint)"
    none = "cast(null as bigint)"
    begun = f"named_struct('first', day, 'last', day, 'days', 1L, 'squares', 0L, 'shortest', {none}, 'longest', {none})"
    parts = [
        "'first', s.first", "'last', day", "'days', s.days + 1", f"'squares', s.squares + {gap} * {gap}",
        f"'shortest', least(s.shortest, {gap})", f"'longest', greatest(s.longest, {gap})",
    ]  # fmt: skip
    next_one = f"named_struct({', '.join(parts)})"
    step = f"cast(if(s is null, cast({begun} as {GAPS}), cast({next_one} as {GAPS})) as {GAPS})"
    return f"aggregate(coalesce({days}, cast(array() as array<date>)), cast({known} as {GAPS}), (s, day) -> {step})"


def same_slots(slots: Iterable[Slot]) -> dict[str, str]:
    """The columns of a state by their slots' definitions, as a base is described."""
    return {slot.definition: slot.name for slot in slots}
