"""Events to ``user_days``: what each user did on each day, as partials of the declared features."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame

from intent_spark.config.features import FeaturesConfig, SequenceSettings
from intent_spark.lakehouse.texts import folded, folded_in_order
from intent_spark.profiles.items import EventFrames, texts_of_partials, texts_of_sequence
from intent_spark.profiles.partials import Partial, all_partials
from intent_spark.profiles.sequence import NEWEST, newest, taken_apart

USER = ("user_id",)
DAY = (*USER, "event_date")


def user_days(events: EventFrames, features: FeaturesConfig) -> DataFrame:
    """The partials of each user and day.

    Args:
        events: rows of the events contract, with the items' columns where a declaration reads them.
        features: the declarations.
    """
    return days_of(events, all_partials(features), features.sequence)


def days_of(events: EventFrames, partials: Sequence[Partial], sequence: SequenceSettings | None) -> DataFrame:
    """Some partials of each user and day, and the day's last events where there is a sequence.

    Events are moved with the columns that are read, and sorted, before they are folded: a row of partials is far wider
    than the event or two that it is often made of. Keyed partials fold rows of their own.
    """
    together = [p for p in partials if p.within_day != "keyed"]
    keyed = [p for p in partials if p.within_day == "keyed"]
    told = {"events": "count(*)"} | {p.name: _within_day(p) for p in together}
    read = texts_of_partials(together)
    if sequence:
        told, read = told | {NEWEST: newest(sequence)}, read + texts_of_sequence(sequence)
    days = folded_in_order(events.moved(read, *DAY), DAY, told)
    days = taken_apart(days, sequence) if sequence else days
    if not keyed:
        return days
    return days.join(keyed_partials(events.moved(texts_of_partials(keyed), *DAY), keyed), on=list(DAY), how="left")


def _within_day(partial: Partial) -> str:
    if partial.within_day == "distinct":
        return f"slice(sort_array(collect_set({partial.expression})), 1, {kept_hashes(partial)})"
    return f"{partial.within_day}({partial.expression})"


def kept_hashes(partial: Partial) -> int:
    """One more than are counted exactly: a full set is then told from one that holds more."""
    return partial.cap + 1


def keyed_partials(events: DataFrame, partials: Sequence[Partial]) -> DataFrame:
    """The keyed partials of each user and day as maps from key to sum; an event gives a narrow row to each of them."""
    told = [f"named_struct('part', {n}, 'key', {p.key}, 'value', {p.expression})" for n, p in enumerate(partials)]
    taken_apart = events.selectExpr(*DAY, f"inline(array({', '.join(told)}))")
    rows = taken_apart.where("key is not null and value is not null")
    summed = folded(rows, (*DAY, "part", "key"), {"value": "sum(value)"})
    return folded_in_order(summed, DAY, {p.name: entries(n, "value") for n, p in enumerate(partials)})


def entries(part: int, total: str, most: int = 0) -> str:
    """SQL for one part's keys with their totals as a map in the keys' order; totals of zero are left out.

    Where there is a ``most``, only so many keys are kept, and those that add up to zero too: they hold their place.
    """
    counts = "is not null" if most else "!= 0"
    kept = f"case when part = {part} and `{total}` {counts} then named_struct('key', key, 'value', `{total}`) end"
    return as_map(f"collect_list({kept})", most)


def as_map(listed: str, most: int) -> str:
    """SQL for a map of entries in the keys' order: of all, or of the ``most`` whose keys have the smallest hashes."""
    if most:
        placed = f"sort_array(transform({listed}, e -> named_struct('place', xxhash64(e.key), 'entry', e)))"
        listed = f"transform(slice({placed}, 1, {most}), e -> e.entry)"
    return f"map_from_entries(sort_array({listed}))"
