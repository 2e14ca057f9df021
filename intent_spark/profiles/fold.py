"""Days folded over spans: for each user what comes into each slot, less what leaves it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from typing import Protocol

from pyspark.sql import DataFrame

from intent_spark.config.features import SequenceSettings
from intent_spark.lakehouse.texts import folded, folded_in_order, selected
from intent_spark.profiles.sequence import newest_of_days
from intent_spark.profiles.slots import DECAY_UNIT, Slot
from intent_spark.profiles.spans import AGE, DayRange, Span, age_at, span
from intent_spark.profiles.user_days import USER, entries, kept_hashes


@dataclass(frozen=True)
class Step:
    """A way from a known date to another; from nothing where ``previous`` is None."""

    as_of: date
    previous: date | None = None

    def span(self, slot: Slot) -> Span:
        """The days that a slot gains and loses."""
        return span(slot.window, self.as_of, self.previous)


def read_ranges(slots: Iterable[Slot], step: Step) -> list[DayRange]:
    """The distinct ranges of days that a step reads for some slots."""
    return sorted({r for slot in slots for r in step.span(slot).ranges}, key=lambda r: (r.start, r.end))


class Days(Protocol):
    """Where the days of users come from: as stored, or straight from the events."""

    def fold(self, slots: Sequence[Slot], step: Step, met: Sequence[DayRange] = ()) -> DataFrame:
        """What comes into each slot less what leaves it, by user; also users met only in the ranges of ``met``."""
        ...

    def last_events(self, reach: DayRange, sequence: SequenceSettings) -> DataFrame:
        """The last events of each user within some days, newest first."""
        ...


@dataclass(frozen=True)
class StoredDays:
    """The rows of ``user_days``."""

    rows: DataFrame

    def fold(self, slots: Sequence[Slot], step: Step, met: Sequence[DayRange] = ()) -> DataFrame:
        """Fold the stored partials.

        They are moved first: a day's partials are fewer than the slots of all windows that it adds to.
        """
        aged = selected(self.rows, ("*",), {AGE: age_at(step.as_of)})
        keyed = [s for s in slots if s.fold == "keyed"]
        others = [s for s in slots if s.fold != "keyed"]
        found = fold(aged.repartition("user_id"), others, step, [*met, *read_ranges(keyed, step)])
        return found.join(_keyed(aged, keyed, step), on="user_id", how="left") if keyed else found

    def last_events(self, reach: DayRange, sequence: SequenceSettings) -> DataFrame:
        """The last of the days' last events."""
        moved = within(self.rows, [reach]).repartition("user_id")
        return newest_of_days(moved, sequence, are_one=(reach.end - reach.start).days == 1)


def fold(days: DataFrame, slots: Sequence[Slot], step: Step, met: Sequence[DayRange] = ()) -> DataFrame:
    """One row a user with any day that a slot reads or that lies in ``met``; nothing to count is null.

    ``days`` have their ``AGE`` at the step's date beside ``event_date``, which tells the files apart. No slot is keyed.
    ``gaps`` slots come as the sorted days to be counted, as gaps join on only behind the days known before.
    """
    plain = [s for s in slots if s.fold in ("sum", "min", "max", "decayed") and not s.type.startswith("struct")]
    listed = [s for s in slots if s.fold in ("distinct", "gaps") or s.type.startswith("struct<event_time")]
    present = within(days, [*read_ranges(slots, step), *met])
    families = [folded(present, USER, {"days": "count(*)"} | {s.name: _plain(s, step) for s in plain})]
    if listed:
        near = within(days, read_ranges(listed, step))
        families.append(folded_in_order(near, USER, {s.name: _listed(s, step) for s in listed}))
    return reduce(lambda left, right: left.join(right, on="user_id", how="left"), families).drop("days")


def within(days: DataFrame, ranges: Sequence[DayRange]) -> DataFrame:
    """The rows of these days; a condition on the partition's column, so that no other file is opened."""
    return days.where(" or ".join(f"({r.sql})" for r in ranges) or "false")


def _signed(slot: Slot, step: Step, column: str) -> str:
    days = step.span(slot)
    leaving = f" when {days.removed.by_age(step.as_of)} then -{column}" if days.removed else ""
    return f"sum(case when {days.added.by_age(step.as_of)} then {column}{leaving} end)"


def _plain(slot: Slot, step: Step) -> str:
    column = f"`{slot.partial.name}`"
    if slot.fold == "sum":
        return _signed(slot, step, column)
    inside = step.span(slot).added.by_age(step.as_of)
    if slot.fold == "decayed":
        return f"sum(case when {inside} then {column} * {_weight(slot)} end)"
    return f"{slot.fold}(case when {inside} then {column} end)"


def decay_weights(slot: Slot) -> list[int]:
    """The weight of a day by its age, the youngest first, in whole ``DECAY_UNIT``ths: sums stay exact."""
    return [round(DECAY_UNIT * 2 ** (-age / slot.half_life_days)) for age in range(int(slot.window))]


def _weight(slot: Slot) -> str:
    listed = ", ".join(f"{weight}L" for weight in decay_weights(slot))
    return f"element_at(array({listed}), `{AGE}`)"


def _listed(slot: Slot, step: Step) -> str:
    column, inside = f"`{slot.partial.name}`", step.span(slot).added.by_age(step.as_of)
    if slot.fold == "gaps":
        return f"sort_array(collect_list(case when {inside} and {column} = 1 then event_date end))"
    if slot.fold == "distinct":
        united = f"array_distinct(flatten(collect_list(case when {inside} then {column} end)))"
        return f"slice(sort_array({united}), 1, {kept_hashes(slot.partial)})"
    return f"{slot.fold}(case when {inside} then {column} end)"


def _keyed(days: DataFrame, slots: list[Slot], step: Step) -> DataFrame:
    """Maps taken apart to a narrow row for each entry, moved, and put together again slot by slot.

    Every slot sums the entries of all parts: a sum that is never looked at costs less than asking for the part.
    """
    parts = {name: n for n, name in enumerate(dict.fromkeys(s.partial.name for s in slots))}
    maps = f"posexplode(array({', '.join(f'`{name}`' for name in parts)})) as (part, entries)"
    near = within(days, read_ranges(slots, step)).selectExpr(*USER, f"`{AGE}`", maps)
    rows = near.selectExpr(*USER, f"`{AGE}`", "part", "explode(entries)").repartition("user_id")
    summed = folded(rows, (*USER, "part", "key"), {s.name: _signed(s, step, "value") for s in slots})
    return folded_in_order(summed, USER, {s.name: entries(parts[s.partial.name], s.name, s.most_keys) for s in slots})
