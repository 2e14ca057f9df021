"""Events folded straight into slots, where a day in between adds nothing: one narrow exchange, one aggregation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.features import words
from intent_spark.config.source import EVENT_TYPES
from intent_spark.profiles.fold import Step, StoredDays, fold, newest_events, within
from intent_spark.profiles.partials import Partial
from intent_spark.profiles.slots import Slot
from intent_spark.profiles.spans import DayRange
from intent_spark.profiles.user_days import days_of

# Enough to tell the types of events apart; any other type is an error of ingestion's contract.
TYPE_BITS = len(EVENT_TYPES).bit_length()


@dataclass(frozen=True)
class EventDays:
    """The days of users straight from their events; nothing is stored in between."""

    events: DataFrame

    def fold(self, slots: Sequence[Slot], step: Step, met: Sequence[DayRange] = ()) -> DataFrame:
        """Events count as days of their own where a slot does not care; the other slots go by way of days."""
        straight = [s for s in slots if adds_up(s)]
        by_days = [s for s in slots if not adds_up(s)]
        partials = list(dict.fromkeys(s.partial for s in straight))
        folded = fold(event_rows(self.events, partials), straight, step, met)
        if not by_days:
            return folded
        kept = list(dict.fromkeys(s.partial for s in by_days))
        other = StoredDays(days_of(self.events, kept, 0)).fold(by_days, step, met)
        return folded.join(other, on="user_id", how="left")

    def last_events(self, reach: DayRange, length: int) -> DataFrame:
        """The last events within some days."""
        return newest_events(within(self.events, [reach]), length)


def adds_up(slot: Slot) -> bool:
    """Whether folding events gives what folding days of folded events does."""
    return slot.fold == slot.partial.within_day and slot.fold in ("sum", "min", "max")


def event_rows(events: DataFrame, partials: Sequence[Partial]) -> DataFrame:
    """One row an event, a column a partial, moved to where its user is aggregated.

    What moves is narrow: day and type of event as one number, beside the columns that the expressions read. Every
    column costs eight bytes of an exchange, however small its values.
    """
    read = set().union(*[words(p.expression) for p in partials]) & set(events.columns)
    others = sorted(read - {"user_id", "event_date", "event_type"})
    day, code = "cast(unix_date(event_date) as bigint)", _type_code()
    packed = events.select("user_id", F.expr(f"shiftleft({day}, {TYPE_BITS}) | {code}").alias("packed"), *others)
    moved = packed.repartition("user_id").select(
        "user_id",
        F.expr(f"date_from_unix_date(cast(shiftright(packed, {TYPE_BITS}) as int))").alias("event_date"),
        F.expr(f"element_at({_types()}, cast(packed & {(1 << TYPE_BITS) - 1} as int) + 1)").alias("event_type"),
        *others,
    )
    return moved.select("user_id", "event_date", *[F.expr(p.expression).alias(p.name) for p in partials])


def _types() -> str:
    return f"array({', '.join(repr(name) for name in EVENT_TYPES)})"


def _type_code() -> str:
    return f"cast(array_position({_types()}, event_type) - 1 as bigint)"
