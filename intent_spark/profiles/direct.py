"""Events folded straight into slots, where a day in between adds nothing: one narrow exchange, one aggregation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import IntegerType

from intent_spark.config.features import SequenceSettings, words
from intent_spark.config.source import EVENT_TYPES
from intent_spark.lakehouse.texts import selected
from intent_spark.profiles.fold import Step, StoredDays, fold
from intent_spark.profiles.items import EventFrames, texts_of_partials, texts_of_sequence
from intent_spark.profiles.partials import Partial
from intent_spark.profiles.sequence import newest_of_events
from intent_spark.profiles.slots import Slot
from intent_spark.profiles.spans import AGE, DayRange, age_at
from intent_spark.profiles.user_days import DAY, USER, days_of


@dataclass(frozen=True)
class EventDays:
    """The days of users straight from their events; nothing is stored in between."""

    events: EventFrames

    def fold(self, slots: Sequence[Slot], step: Step, met: Sequence[DayRange] = ()) -> DataFrame:
        """Events count as days of their own where a slot does not care; the other slots go by way of days."""
        straight = [s for s in slots if adds_up(s)]
        by_days = [s for s in slots if not adds_up(s)]
        partials = list(dict.fromkeys(s.partial for s in straight))
        rows = event_rows(self.events.reading(texts_of_partials(partials)), partials, step.as_of)
        folded = fold(rows, straight, step, met)
        if not by_days:
            return folded
        kept = list(dict.fromkeys(s.partial for s in by_days))
        other = StoredDays(days_of(self.events, kept, None)).fold(by_days, step, met)
        return folded.join(other, on="user_id", how="left")

    def last_events(self, reach: DayRange, sequence: SequenceSettings) -> DataFrame:
        """The last events within some days."""
        moved = self.events.where(F.expr(reach.sql)).moved(texts_of_sequence(sequence), *USER)
        return newest_of_events(moved, sequence, *USER)


def adds_up(slot: Slot) -> bool:
    """Whether folding events gives what folding days of folded events does."""
    return slot.fold == slot.partial.within_day and slot.fold in ("sum", "min", "max")


def event_rows(events: DataFrame, partials: Sequence[Partial], as_of: date) -> DataFrame:
    """One row an event, a column a partial, moved to where its user is aggregated.

    What moves is narrow: day, type and one of the integers in one number, beside the columns that the expressions
    read. Every column costs eight bytes of an exchange, however small its values.
    """
    told = [_by_type_bit(p.expression) for p in partials]
    read = set().union(*[words(text) for text in told]) & set(events.columns)
    others = sorted(read - {"user_id", "event_date", "event_type"})
    small = next((name for name in others if isinstance(events.schema[name].dataType, IntegerType)), None)
    whole = [name for name in others if name != small]
    moved = selected(events, (*USER, *whole), {PACKED: _packed(small)}).repartition("user_id")
    unpacked = {"event_date": _day()} | ({small: _small()} if small else {})
    unpacked |= {"event_type": _type()} if "event_type" in read else {}
    rows = selected(moved, (*USER, PACKED, *whole), unpacked)
    made = {AGE: age_at(as_of)} | {p.name: text for p, text in zip(partials, told, strict=True)}
    return selected(rows, DAY, made)


# The packed number: 32 bits of an integer, a bit that is set where it is null, the day, a bit for each type.
PACKED = "packed"
TYPES = {name: 1 << place for place, name in enumerate(EVENT_TYPES)}
NAME = re.compile("|".join(TYPES))
TYPE_TEST = re.compile(rf"event_type in \(((?:'(?:{NAME.pattern})'(?:, )?)+)\)")
NULL_BIT, DAY_ZERO = 1 << 31, 1 << (30 - len(TYPES))


def _packed(small: str | None) -> str:
    types = "case event_type " + " ".join(f"when '{name}' then {bit}L" for name, bit in TYPES.items()) + " else 0L end"
    day = f"shiftleft(cast(unix_date(event_date) as bigint) + {DAY_ZERO}, {len(TYPES)})"
    if small is None:
        return f"{day} | {types}"
    return f"coalesce(shiftleft(cast({small} as bigint), 32), {NULL_BIT}L) | {day} | {types}"


def _day() -> str:
    return f"date_from_unix_date(cast(shiftright({PACKED} & {NULL_BIT - 1}L, {len(TYPES)}) as int) - {DAY_ZERO})"


def _small() -> str:
    return f"if({PACKED} & {NULL_BIT}L != 0, null, cast(shiftright({PACKED}, 32) as int))"


def _type() -> str:
    return "case " + " ".join(f"when {PACKED} & {bit}L != 0 then '{name}'" for name, bit in TYPES.items()) + " end"


def _by_type_bit(expression: str) -> str:
    """The same expression with its tests of the type as tests of bits: cheaper than comparing text."""

    def mask(found: re.Match[str]) -> str:
        named = sum({TYPES[name] for name in NAME.findall(found[1])})
        return f"{PACKED} & {named}L != 0"

    return TYPE_TEST.sub(mask, expression)
