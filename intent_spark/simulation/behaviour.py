"""What the users of a chunk do: hidden states and events per day, and the same for bots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intent_spark.config.simulation import BOUGHT, EVENT_TYPES, STATES
from intent_spark.simulation.hidden_model import Flags, HiddenModel, Ints
from intent_spark.simulation.population import Users, draw_rows

UNREGISTERED = -1


@dataclass(frozen=True)
class Behaviour:
    """``states`` (U, days), -1 before registration; ``counts`` (U, days, 5) by ``EVENT_TYPES``."""

    states: Ints
    counts: Ints

    def purchased(self) -> Flags:
        """Whether each user bought on each day (U, days)."""
        return np.asarray(self.counts[:, :, EVENT_TYPES.index("purchase")] > 0)


def draw_behaviour(rng: np.random.Generator, model: HiddenModel, users: Users, weekdays: Ints) -> Behaviour:
    """Walk the hidden chain day by day, then draw each day's events given its state."""
    states = draw_states(rng, model, users, weekdays)
    return Behaviour(states, draw_counts(rng, model, users.traits, states, weekdays))


def draw_states(rng: np.random.Generator, model: HiddenModel, users: Users, weekdays: Ints) -> Ints:
    """Hidden states (U, days); long-known users start from the equilibrium, new ones on registration day."""
    equilibrium = model.equilibrium((weekdays[0] - 1) % 7)
    state = draw_rows(rng, equilibrium[users.traits])
    states = np.empty((users.traits.size, weekdays.size), dtype=np.int64)
    for day, weekday in enumerate(weekdays):
        moved = draw_rows(rng, model.transitions[weekday, users.traits, state])
        entered = rng.choice(len(STATES), size=state.size, p=model.new_user_state)
        state = np.where(users.registered == day, entered, moved)
        states[:, day] = np.where(users.registered > day, UNREGISTERED, state)
    return states


def draw_counts(rng: np.random.Generator, model: HiddenModel, traits: Ints, states: Ints, weekdays: Ints) -> Ints:
    """Events by type (U, days, 5): Poisson by state; 1 + Poisson purchases on days in `bought`, else none."""
    rates = model.rates[weekdays[None, :], traits[:, None], np.maximum(states, 0)]
    active = states != UNREGISTERED
    counts = np.zeros((*states.shape, len(EVENT_TYPES)), dtype=np.int64)
    counts[:, :, :-1] = rng.poisson(rates * active[:, :, None])
    purchases = 1 + rng.poisson(model.extra_purchases[traits][:, None], states.shape)
    counts[:, :, -1] = np.where(states == BOUGHT, purchases, 0)
    return counts


def draw_bots(rng: np.random.Generator, users: Users, days: int, daily_views: float) -> Behaviour:
    """Bots view from their registration on, and do nothing else."""
    counts = np.zeros((users.traits.size, days, len(EVENT_TYPES)), dtype=np.int64)
    active = users.registered[:, None] <= np.arange(days)
    counts[:, :, 0] = rng.poisson(np.where(active, daily_views, 0.0))
    return Behaviour(np.where(active, 0, UNREGISTERED), counts)


def band_counts(user: Ints, day: Ints, band: Ints, shape: tuple[int, int, int]) -> Ints:
    """Item events by user, day and price band (U, days, 3); ``band`` -1 marks events without an item."""
    has_item = band >= 0
    cell = (user[has_item] * shape[1] + day[has_item]) * shape[2] + band[has_item]
    return np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)
