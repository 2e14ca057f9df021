from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from intent_spark.config.simulation import BOUGHT, EVENT_TYPES
from intent_spark.simulation.chunk import Chunk, Shop, ShopPlan
from intent_spark.simulation.imperfections import SPOILED, Fault
from intent_spark.simulation.shop_calendar import DAY_MS

PURCHASE, SEARCH = EVENT_TYPES.index("purchase"), EVENT_TYPES.index("search")


@pytest.fixture(scope="module")
def shop(make_plan: Callable[..., ShopPlan]) -> Shop:
    return Shop(make_plan(users=1000, days=30, chunk_users=1000))


@pytest.fixture(scope="module")
def chunk(shop: Shop) -> Chunk:
    return shop.chunk(0)


def test_purchases_happen_on_the_days_in_bought_and_on_no_other(chunk: Chunk) -> None:
    assert ((chunk.behaviour.states == BOUGHT) == chunk.behaviour.purchased()).all()


def test_every_counted_event_is_there_once(chunk: Chunk) -> None:
    made = np.zeros_like(chunk.behaviour.counts)
    np.add.at(made, (chunk.events.user, chunk.events.day, chunk.events.kind), 1)
    assert (made == chunk.behaviour.counts).all()


def test_nobody_acts_before_registration(chunk: Chunk) -> None:
    assert (chunk.events.day >= chunk.users.registered[chunk.events.user]).all()
    assert 0.1 < (chunk.users.registered >= 0).mean() < 0.2


def test_events_lie_in_their_day_and_in_order(shop: Shop, chunk: Chunk) -> None:
    events = chunk.events
    assert (shop.calendar.days_of(events.time) - shop.calendar.start_day == events.day).all()
    same_user = np.diff(events.user) == 0
    assert (np.diff(events.time)[same_user] >= 0).all()
    ends_day = np.diff(events.user * 100 + events.day, append=-1) != 0
    last_kinds = events.kind[ends_day]
    assert (last_kinds == PURCHASE).sum() == chunk.behaviour.purchased().sum()


def test_items_fit_their_category_and_searches_have_none(shop: Shop, chunk: Chunk) -> None:
    events = chunk.events
    search = events.kind == SEARCH
    assert (events.item[search] == -1).all() and (events.band[search] == -1).all()
    assert (shop.catalogue.category_of(events.item[~search]) == events.category[~search]).all()
    sessions_categories = np.unique(np.stack([events.session, events.category]), axis=1).shape[1]
    assert sessions_categories == np.unique(events.session).size


def test_spoiled_rows_are_extra_and_have_ids_of_their_own(chunk: Chunk) -> None:
    rows, size = chunk.deliveries, chunk.events.time.size
    true = rows.fault <= Fault.LATE
    assert np.sort(rows.event[true]).tolist() == list(range(size))
    assert (rows.number[true] == rows.event[true]).all()
    spoiled = np.isin(rows.fault, SPOILED)
    assert np.unique(rows.number[spoiled]).size == spoiled.sum() > 0
    assert rows.number[spoiled].min() >= size
    repeated = np.isin(rows.fault, (Fault.DUPLICATE, Fault.RESENT))
    assert (rows.number[repeated] < size).all()


def test_each_fault_is_what_it_says(chunk: Chunk) -> None:
    rows = chunk.deliveries
    first = dict(zip(rows.event[rows.fault <= Fault.LATE], rows.received[rows.fault <= Fault.LATE], strict=True))
    again = {fault: rows.received[rows.fault == fault] for fault in Fault}
    base = {fault: np.array([first[event] for event in rows.event[rows.fault == fault]]) for fault in Fault}
    assert (again[Fault.DUPLICATE] == base[Fault.DUPLICATE]).all()
    assert (again[Fault.RESENT] > base[Fault.RESENT]).all()
    delay = rows.received - rows.event_time
    assert (delay[rows.fault == Fault.LATE] >= DAY_MS).all()
    assert (delay[rows.fault == Fault.NONE] < DAY_MS / 24).all()
    assert (delay[rows.fault == Fault.CLOCK_SKEW] < -DAY_MS).all()
    assert (np.diff(rows.received) >= 0).all()


def test_bots_view_a_thousand_times_as_much_and_never_buy(shop: Shop, chunk: Chunk) -> None:
    bot = shop.chunk(shop.plan.people_chunks)
    active_days = (bot.behaviour.states >= 0).sum()
    people_days = (chunk.behaviour.states >= 0).sum()
    ratio = bot.events.time.size / active_days / (chunk.behaviour.counts[:, :, 0].sum() / people_days)
    assert 850 < ratio < 1150
    assert set(bot.events.kind) == {0}
    assert bot.truth.p_state.max() == bot.truth.p_filter.max() == 0


def test_a_chunk_does_not_depend_on_the_number_of_users_or_on_other_chunks(
    make_plan: Callable[..., ShopPlan],
) -> None:
    few, many = Shop(make_plan(users=200)), Shop(make_plan(users=400))
    many.chunk(0)
    assert few.rows(few.chunk(1)).equals(many.rows(many.chunk(1)))
    assert not few.rows(few.chunk(0)).equals(few.rows(few.chunk(1)))
    other_seed = Shop(make_plan(users=200, seed=6))
    assert not few.rows(few.chunk(1)).equals(other_seed.rows(other_seed.chunk(1)))


def test_price_bands_follow_sensitivity_and_age_follows_demographics(shop: Shop, chunk: Chunk) -> None:
    careful = chunk.users.traits[chunk.events.user] % 2 == 1
    has_item = chunk.events.band >= 0
    for group, expected in ((~careful, (0.25, 0.40, 0.35)), (careful, (0.55, 0.32, 0.13))):
        shares = np.bincount(chunk.events.band[group & has_item]) / (group & has_item).sum()
        np.testing.assert_allclose(shares, expected, atol=0.03)
    table = shop.users_table(chunk)
    assert table.num_rows == 1000 and table["user_id"].to_pylist() == sorted(table["user_id"].to_pylist())
    assert min(table["age"].to_pylist()) >= 18 and max(table["age"].to_pylist()) <= 75
