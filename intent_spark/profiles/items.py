"""What an event's item was on the event's day, and how dear for its category."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import get_args

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from intent_spark.config.features import FeaturesConfig, ItemColumn, SequenceSettings, words
from intent_spark.profiles.category_prices import category_prices, price_level
from intent_spark.profiles.partials import Partial, all_partials
from intent_spark.profiles.sequence import counted_events

DESCRIBED = {"brand": "item_brand", "title": "item_title", "price": "item_list_price", "category": "item_category"}
LEVEL = "item_price_level"
ITEM_COLUMNS = frozenset(get_args(ItemColumn))
# Of the items contract what is read.
ROWS = "item_id string, valid_from date, valid_to date, brand string, title string, price bigint, category string"
_NEVER = date(9999, 12, 31)


def items_read(features: FeaturesConfig) -> frozenset[str]:
    """The columns of the item that declarations name."""
    sequence = texts_of_sequence(features.sequence) if features.sequence else []
    return named_columns([*texts_of_partials(all_partials(features)), *sequence])


def texts_of_partials(partials: Iterable[Partial]) -> list[str]:
    """The expressions over an event that partials are made of."""
    return [f"{p.expression} {p.key}" for p in partials]


def texts_of_sequence(sequence: SequenceSettings) -> list[str]:
    """The expressions over an event that a sequence is made of."""
    return [counted_events(sequence), *[column.value or "" for column in sequence.columns]]


def named_columns(texts: Iterable[str]) -> frozenset[str]:
    """The columns of the item that expressions name."""
    named: set[str] = set().union(*map(words, texts))
    return ITEM_COLUMNS & named


@dataclass(frozen=True)
class EventFrames:
    """Events with what their items were, and the same without: who reads no item need not look for it.

    ``capped`` tells that no user has more events on a day than one task may fold.
    """

    described: DataFrame
    bare: DataFrame
    capped: bool = True

    @classmethod
    def of(cls, events: DataFrame, capped: bool = True) -> EventFrames:
        """Events that have all that is read of their items already."""
        return cls(events, events, capped)

    def reading(self, texts: Iterable[str]) -> DataFrame:
        """The frame for some expressions."""
        return self.described if named_columns(texts) else self.bare

    def where(self, condition: Column) -> EventFrames:
        """Some of the events."""
        return EventFrames(self.described.where(condition), self.bare.where(condition), self.capped)

    def moved(self, texts: Iterable[str], *keys: str) -> DataFrame:
        """The frame for some expressions, moved to where it is folded by the keys.

        Where days are not capped it stays where it is read: each task folds its part of a heavy user's day, and Spark
        moves and folds the parts.
        """
        rows = self.reading(texts)
        return rows.repartition(*keys) if self.capped else rows


def with_items(
    events: DataFrame,
    items: DataFrame,
    days: Collection[date],
    unknown: Mapping[ItemColumn, str | int] | None = None,
    read: Collection[str] = ITEM_COLUMNS,
) -> DataFrame:
    """The events with what their items were on the event's day.

    Args:
        events: rows of the events contract.
        items: rows of the items contract, valid from–to.
        days: those of the events; an event of a day outside their range has an unknown item.
        unknown: by column what an item that was not known on the day is given; null if not said, as without item.
        read: the columns that are read; the others may be left out.
    """
    held = held_within(items, days)
    joined = events.join(_known(held), on=_on_its_day(), how="left")
    joined = _with_level(joined, held, max(days, default=_NEVER)) if LEVEL in read else joined
    is_unknown = F.col("item_id").isNotNull() & F.col("known_item").isNull()
    given: dict[str, Column] = {
        name: F.when(is_unknown, F.lit(value)).otherwise(F.col(name))
        for name, value in (unknown or {}).items() if name in joined.columns
    }  # fmt: skip
    return joined.withColumns(given).drop("known_item", "valid_from", "valid_to")


def without_known_item(events: DataFrame, items: DataFrame) -> DataFrame:
    """The events that name an item which was not known on their day."""
    named = events.where(F.col("item_id").isNotNull())
    return named.join(_known(items), on=_on_its_day(), how="left_anti")


def no_items(spark: SparkSession) -> DataFrame:
    """The items of a shop that has told of none; known to be empty before anything is planned to join them."""
    return spark.createDataFrame([], ROWS).where(F.lit(False))


def held_within(items: DataFrame, days: Collection[date]) -> DataFrame:
    """The items as far as events of some days need them: what held before the first day begins on it."""
    first, last = min(days, default=_NEVER), max(days, default=_NEVER)
    held = (F.col("valid_from") <= F.lit(last)) & (F.coalesce("valid_to", F.lit(_NEVER)) > F.lit(first))
    return items.where(held).withColumn("valid_from", F.greatest("valid_from", F.lit(first)))


def _known(items: DataFrame) -> DataFrame:
    """The items under the names that their columns have beside an event's."""
    described = [F.col(name).alias(column) for name, column in DESCRIBED.items()]
    return items.select(F.col("item_id").alias("known_item"), "valid_from", "valid_to", *described)


def _on_its_day() -> Column:
    """An event's item, as it was on the event's day."""
    ends = F.coalesce("valid_to", F.lit(_NEVER))
    valid = (F.col("event_date") >= F.col("valid_from")) & (F.col("event_date") < ends)
    return (F.col("item_id") == F.col("known_item")) & valid


def _with_level(described: DataFrame, items: DataFrame, last: date) -> DataFrame:
    """Joined by equality, a row for each category and day: prices that change daily are as many ranges as days."""
    prices = category_prices(items).where(F.col("priced_from") <= F.lit(last))
    until = F.least(F.coalesce(F.date_sub("priced_to", 1), F.lit(last)), F.lit(last))
    daily = prices.withColumn("priced_on", F.explode(F.sequence("priced_from", until))).drop("priced_from", "priced_to")
    same = (F.col("item_category") == F.col("priced_category")) & (F.col("event_date") == F.col("priced_on"))
    level = price_level(F.col("item_list_price"), F.col("mean_log"), F.col("log_deviation"))
    return described.join(daily, on=same, how="left").withColumn(LEVEL, level).drop(*daily.columns)
