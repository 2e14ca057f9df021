"""How dear an item is for its category on a day, against a naive count of the day's items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from intent_spark.profiles.items import LEVEL, with_items
from tests.profiles.cases import CASES, collected
from tests.profiles.frames import at, events_frame
from tests.profiles.naive_catalogue import Item, items_frame, price_level
from tests.profiles.naive_oracle import Event

DAYS = [date(2026, 3, 1) + timedelta(days=n) for n in range(6)]
PRICES = st.one_of(st.sampled_from([None, 0, 1, 99, 100, 9**18]), st.integers(1, 10**6))


@st.composite
def catalogues(draw: st.DrawFn) -> list[Item]:
    """Items whose versions follow one another, with gaps, some without price or category."""
    items = []
    for name in "abcdef"[: draw(st.integers(1, 6))]:
        begins = sorted(draw(st.sets(st.sampled_from(DAYS[:-1]), min_size=1, max_size=4)))
        ends = [*begins[1:], draw(st.sampled_from([None, DAYS[-1]]))]
        for begin, end in zip(begins, ends, strict=True):
            category, price = draw(st.sampled_from(["x", "x", "y", None])), draw(PRICES)
            if draw(st.integers(0, 4)):
                items.append(Item(name, begin, end, category, price))
    return items


def apart(case: int, item: Item) -> Item:
    """The item in a shop of its own."""
    category = item.category and f"{case}/{item.category}"
    return item._replace(item_id=f"{case}/{item.item_id}", category=category)


def levels(
    spark: SparkSession, items: Sequence[Item], ids: Sequence[str], days: Sequence[date], known: Sequence[date]
) -> dict[tuple[str, date], int | None]:
    """The level of each item on each day, as an event meets it; an event stays one event."""
    events = [Event("u", f"{name} {day}", "view", at(f"{day}"), "e", name) for name in ids for day in days]
    rows = with_items(events_frame(spark, events, "UTC"), items_frame(spark, items), known)
    found = rows.select("item_id", "event_date", LEVEL).collect()
    assert len(found) == len(events)
    return {(row["item_id"], row["event_date"]): row[LEVEL] for row in found}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "number", "known"), [(0, 6, DAYS), (2, 1, DAYS), (2, 1, DAYS[2:3]), (3, 2, DAYS[3:])]
)
def test_levels_are_those_of_a_naive_count(spark: SparkSession, first: int, number: int, known: list[date]) -> None:
    cases = [[apart(n, item) for item in items] for n, items in enumerate(collected(catalogues(), CASES))]
    days, ids = DAYS[first : first + number], [f"{n}/{name}" for n in range(CASES) for name in "abcdef"]
    found = levels(spark, [item for items in cases for item in items], ids, days, known)
    wanted = {(name, day): price_level(cases[int(name.split("/")[0])], name, day) for name in ids for day in days}
    assert {key for key, level in found.items() if level is None} == {key for key, w in wanted.items() if w is None}
    # The last bit of a mean may round a score that lies on a half either way.
    wrong = {
        key: (level, wanted[key]) for key, level in found.items() if abs((level or 0) - (wanted[key] or 0)) > 0.500001
    }
    assert not wrong
    assert len({level for level in found.values()}) > 20


def test_a_price_is_dear_or_cheap_for_its_category(spark: SparkSession) -> None:
    """Alone an item is at the mean; of two one is a deviation above it, one below; other categories change nothing."""
    items = [
        Item("a", DAYS[0], None, "x", 100),
        Item("b", DAYS[1], None, "x", 1_000),
        Item("c", DAYS[0], None, "dear", 1_000_000),
        Item("d", DAYS[0], None, None, 5),
    ]
    found = levels(spark, items, "abcde", DAYS[:2], DAYS[:2])
    assert [found["a", day] for day in DAYS[:2]] == [0, -1000]
    assert [found["b", day] for day in DAYS[:2]] == [None, 1000]
    assert [found[name, DAYS[1]] for name in "cde"] == [0, None, None]
