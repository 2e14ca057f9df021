"""Items as they change over days, and how dear each is for its category: counted anew for every question."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from statistics import fmean, pstdev
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession

from intent_spark.profiles.items import ROWS
from tests.profiles.naive_oracle import Event, Shop


class Item(NamedTuple):
    """One version of an item."""

    item_id: str
    valid_from: date
    valid_to: date | None
    category: str | None
    price: int | None

    def holds(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


def items_frame(spark: SparkSession, items: Iterable[Item]) -> DataFrame:
    rows = [(i.item_id, i.valid_from, i.valid_to, f"of {i.item_id}", None, i.price, i.category) for i in items]
    return spark.createDataFrame(rows, ROWS)


def price_level(items: Sequence[Item], item_id: str | None, day: date) -> float | None:
    """The standard score of the logarithm of an item's price among the items of its category that day, times 1000."""
    there = [item for item in items if item.holds(day)]
    mine = next((item for item in there if item.item_id == item_id), None)
    if mine is None or not mine.price or mine.category is None:
        return None
    logs = [_thousandths(item.price) for item in there if item.category == mine.category and item.price]
    deviation = pstdev(logs)
    return 1000 * (_thousandths(mine.price) - fmean(logs)) / deviation if deviation else 0.0


def with_levels(events: Iterable[Event], items: Sequence[Item], shop: Shop) -> list[Event]:
    """The events with their items' levels, rounded away from zero where they lie on a half."""
    scores = [price_level(items, event.item_id, shop.day(event.time)) for event in events]
    levels = [None if s is None else int(math.copysign(math.floor(abs(s) + 0.5), s)) for s in scores]
    return [replace(event, price_level=level) for event, level in zip(events, levels, strict=True)]


def random_catalogue(rng: random.Random, ids: Iterable[str], first: date, days: int) -> list[Item]:
    """Each item with some versions from ``first`` on, of other prices or categories; some days it is not there."""
    items = []
    for item_id in ids:
        begins = sorted(rng.sample(range(days), rng.randint(1, 4)))
        for begin, end in zip(begins, [*begins[1:], rng.choice([None, days])], strict=True):
            if rng.random() < 0.9:
                until = None if end is None else first + timedelta(days=end)
                price = rng.choice([None, 0, 100, rng.randrange(1, 10**6)])
                items.append(Item(item_id, first + timedelta(days=begin), until, rng.choice("xyz"), price))
    return items


def _thousandths(price: int | None) -> int:
    assert price is not None
    return math.floor(1000 * math.log(price) + 0.5)
