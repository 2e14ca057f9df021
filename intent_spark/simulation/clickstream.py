"""From counts per user and day to single events: sessions, times, categories, items.

Nothing here looks at hidden traits or states but the price band, which the forward filter weighs: a choice
that depended on them in any other way would make the filter inexact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intent_spark.config.simulation import EVENT_TYPES, SimulationConfig
from intent_spark.simulation.catalogue import Catalogue
from intent_spark.simulation.hidden_model import Floats, Ints
from intent_spark.simulation.identifiers import mix, uniform
from intent_spark.simulation.shop_calendar import ShopCalendar

DEVICES = ("android", "ios", "web", "tablet")
_DEVICE_SHARES = (0.46, 0.31, 0.18, 0.05)
_USUAL_DEVICE = 0.85
_TASTE_STEPS = (0.50, 0.72, 0.84)
_HOURLY = (6, 3, 2, 1, 1, 1, 3, 6, 8, 9, 10, 10, 12, 11, 9, 9, 9, 9, 10, 13, 17, 18, 15, 10)
_LONGEST_PAUSE_S = 90.0
_DAY_S = 86_400.0
_SEARCH = EVENT_TYPES.index("search")
_PURCHASE = EVENT_TYPES.index("purchase")
_CART = EVENT_TYPES.index("cart")
_PLACE_IN_DAY = (0.0, -0.3, 0.5, 0.3, 4.0)


@dataclass(frozen=True)
class Events:
    """The true events of a chunk, as arrays of one length N.

    ``user`` is the place within the chunk, ``day`` the simulated day, ``kind`` the place in ``EVENT_TYPES``;
    ``band`` and ``item`` are -1 for searches; ``time`` is in milliseconds since 1970 (UTC).
    """

    user: Ints
    day: Ints
    kind: Ints
    session: Ints
    device: Ints
    category: Ints
    band: Ints
    item: Ints
    quantity: Ints
    time: Ints


@dataclass(frozen=True)
class _Sessions:
    """``of_event`` is each event's session; of a session, ``begin`` is the first event's place."""

    of_event: Ints
    begin: Ints
    size: Ints
    start_s: Floats
    end_s: Floats


def draw_events(
    rng: np.random.Generator,
    config: SimulationConfig,
    catalogue: Catalogue,
    calendar: ShopCalendar,
    counts: Ints,
    band_shares: Floats,
) -> Events:
    """Expand ``counts`` (U, days, 5); ``band_shares`` (U, 3) is each user's price band distribution."""
    user, day, kind = _expand(rng, counts)
    cell = user * counts.shape[1] + day
    sessions = _draw_sessions(rng, cell, config.events_per_session)
    category = _draw_categories(rng, catalogue, user, sessions, counts.shape[0])
    band = np.where(kind == _SEARCH, -1, _draw_bands(rng, band_shares, user))
    bought = (kind == _PURCHASE) | (kind == _CART)
    return Events(
        user=user,
        day=day,
        kind=kind,
        session=sessions.of_event,
        device=_draw_devices(rng, user, sessions, counts.shape[0]),
        category=category,
        band=band,
        item=_draw_items(rng, config, catalogue, user, day, category, band),
        quantity=np.where(bought, rng.choice([1, 2, 3], size=user.size, p=[0.85, 0.11, 0.04]), 1),
        time=_draw_times(rng, calendar, day, sessions),
    )


def _expand(rng: np.random.Generator, counts: Ints) -> tuple[Ints, Ints, Ints]:
    """User, day and type of each event, in the order in which they happen; purchases end the day."""
    place = np.repeat(np.arange(counts.size), counts.ravel())
    cell, kind = np.divmod(place, len(EVENT_TYPES))
    order = np.argsort(cell * 8.0 + np.array(_PLACE_IN_DAY)[kind] + rng.random(cell.size))
    cell, kind = cell[order], kind[order]
    user, day = np.divmod(cell, counts.shape[1])
    return user, day, kind


def _draw_sessions(rng: np.random.Generator, cell: Ints, events_per_session: float) -> _Sessions:
    """Cut each user's day into sessions at random, then place them in the day, in order."""
    if cell.size == 0:
        return _Sessions(cell, cell, cell, np.zeros(0), np.zeros(0))
    new_day = np.diff(cell, prepend=-1) != 0
    first = new_day | (rng.random(cell.size) < 1.0 / events_per_session)
    begin = np.flatnonzero(first)
    size = np.diff(begin, append=cell.size)
    start = np.sort(cell[begin] * _DAY_S + _draw_seconds(rng, begin.size)) - cell[begin] * _DAY_S
    same_day_next = np.append(cell[begin][1:] == cell[begin][:-1], False)
    limit = np.where(same_day_next, np.append(start[1:], 0.0), _DAY_S)
    end = np.minimum(limit, start + size * _LONGEST_PAUSE_S * rng.random(begin.size))
    return _Sessions(np.cumsum(first) - 1, begin, size, start, end)


def _draw_seconds(rng: np.random.Generator, count: int) -> Floats:
    hour = rng.choice(24, size=count, p=np.array(_HOURLY) / np.sum(_HOURLY))
    return np.asarray((hour + rng.random(count)) * 3600.0)


def _draw_times(rng: np.random.Generator, calendar: ShopCalendar, day: Ints, sessions: _Sessions) -> Ints:
    """Spread a session's events over its span, in order, never beyond the end of the day."""
    of_event = sessions.of_event
    place = np.arange(day.size) - sessions.begin[of_event]
    share = (place + rng.random(day.size)) / sessions.size[of_event]
    span = sessions.end_s - sessions.start_s
    return calendar.instants(day, (sessions.start_s[of_event] + span[of_event] * share) / _DAY_S)


def _draw_categories(
    rng: np.random.Generator, catalogue: Catalogue, user: Ints, sessions: _Sessions, users: int
) -> Ints:
    """A session keeps to one category: one of the user's three favourites, or any by popularity."""
    favourites = catalogue.category(rng.random((users, len(_TASTE_STEPS))))
    which = np.searchsorted(_TASTE_STEPS, rng.random(sessions.begin.size), side="right")
    liked = favourites[user[sessions.begin], np.minimum(which, len(_TASTE_STEPS) - 1)]
    other = catalogue.category(rng.random(sessions.begin.size))
    return np.asarray(np.where(which < len(_TASTE_STEPS), liked, other)[sessions.of_event])


def _draw_devices(rng: np.random.Generator, user: Ints, sessions: _Sessions, users: int) -> Ints:
    usual = rng.choice(len(DEVICES), size=users, p=_DEVICE_SHARES)
    other = rng.choice(len(DEVICES), size=sessions.begin.size, p=_DEVICE_SHARES)
    keeps = rng.random(sessions.begin.size) < _USUAL_DEVICE
    return np.asarray(np.where(keeps, usual[user[sessions.begin]], other)[sessions.of_event])


def _draw_bands(rng: np.random.Generator, band_shares: Floats, user: Ints) -> Ints:
    steps = band_shares.cumsum(axis=1)[:, :-1]
    chance = rng.random(user.size)
    return np.asarray((chance >= steps[user, 0]).astype(np.int64) + (chance >= steps[user, 1]))


def _draw_items(
    rng: np.random.Generator,
    config: SimulationConfig,
    catalogue: Catalogue,
    user: Ints,
    day: Ints,
    category: Ints,
    band: Ints,
) -> Ints:
    """An item by popularity, or the one this user returns to in this week, category and band."""
    fresh = rng.random(user.size)
    salt = rng.integers(0, 2**63, dtype=np.uint64)
    topic = ((user * 1_000 + day // 7) * 1_000 + category) * 4 + band + 1
    returning = uniform(mix(topic.astype(np.uint64)) ^ salt)
    revisit = rng.random(user.size) < config.catalogue.revisit_share
    item = catalogue.item(category, np.maximum(band, 0), np.where(revisit, returning, fresh))
    return np.where(band < 0, -1, item)
