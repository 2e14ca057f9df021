"""The true purchase probability of every user and day, with and without knowledge of the hidden state.

The filter is the forward algorithm (Rabiner 1989, eq. 19-20) over the joint of static traits and daily
state, normalised each day. It is exact: given traits and state, the daily counts are independent Poisson,
the price bands categorical, and all else in the log depends on neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from intent_spark.config.simulation import BOUGHT
from intent_spark.simulation.behaviour import Behaviour
from intent_spark.simulation.hidden_model import Flags, Floats, HiddenModel, Ints
from intent_spark.simulation.population import Users


@dataclass(frozen=True)
class Truth:
    """Rows of the truth for one chunk, all arrays of one length.

    ``user`` is the place within the chunk, ``as_of`` the simulated day; ``label`` is -1 where the horizon
    reaches beyond the simulated days.
    """

    user: Ints
    as_of: Ints
    p_state: Floats
    p_filter: Floats
    label: Ints


def beliefs(
    model: HiddenModel, prior: Floats, registered: Ints, counts: Ints, bands: Ints, weekdays: Ints
) -> Iterator[Floats]:
    """After each day, P(traits, state | all events up to and with this day) as (U, T, K)."""
    belief = prior[:, :, None] * model.equilibrium((weekdays[0] - 1) % 7)
    entering = prior[:, :, None] * model.new_user_state
    for day, weekday in enumerate(weekdays):
        belief = np.einsum("utk,tkl->utl", belief, model.transitions[weekday], optimize=True)
        belief = np.where((registered == day)[:, None, None], entering, belief)
        belief *= likelihood(model, counts[:, day], bands[:, day], int(weekday))
        belief /= belief.sum(axis=(1, 2), keepdims=True)
        yield belief


def likelihood(model: HiddenModel, counts: Ints, bands: Ints, weekday: int) -> Floats:
    """P(one day's counts (U, 5) and price bands (U, 3) | traits, state), (U, T, K), up to a factor a user."""
    rates = model.rates[weekday]
    log = np.einsum("uc,tkc->utk", counts[:, :-1], np.log(rates), optimize=True) - rates.sum(axis=2)
    log += np.einsum("ub,tb->ut", bands, np.log(model.bands), optimize=True)[:, :, None]
    purchases = counts[:, -1]
    extra = model.extra_purchases
    log[:, :, BOUGHT] += np.maximum(purchases - 1, 0)[:, None] * np.log(extra) - extra
    log[purchases > 0, :, :BOUGHT] = -np.inf
    log[purchases == 0, :, BOUGHT] = -np.inf
    log -= log.max(axis=(1, 2), keepdims=True)
    return np.asarray(np.exp(log))


def true_probabilities(
    model: HiddenModel,
    users: Users,
    behaviour: Behaviour,
    bands: Ints,
    weekdays: Ints,
    as_of_days: list[int],
    horizon: int,
) -> Truth:
    """P(purchase in [D, D + horizon)) at each as_of day D, for the users registered before it."""
    rows: list[Truth] = []
    purchased = behaviour.purchased()
    wanted = set(as_of_days)
    daily = beliefs(model, users.prior, users.registered, behaviour.counts, bands, weekdays)
    for as_of, belief in enumerate(daily, start=1):
        if as_of in wanted:
            ahead = model.purchase_probability(int(weekdays[as_of - 1] + 1) % 7, horizon)
            known = np.flatnonzero(users.registered < as_of)
            p_state = ahead[users.traits[known], behaviour.states[known, as_of - 1]]
            p_filter = np.einsum("utk,tk->u", belief[known], ahead, optimize=True)
            rows.append(_at(known, as_of, p_state, p_filter, _label(purchased[known], as_of, horizon)))
    return _concatenate(rows)


def zero_probabilities(users: Users, days: int, as_of_days: list[int], horizon: int) -> Truth:
    """The truth about bots: they never buy."""
    rows = []
    for as_of in as_of_days:
        known = np.flatnonzero(users.registered < as_of)
        zero, never = np.zeros(known.size), np.zeros((known.size, days), dtype=bool)
        rows.append(_at(known, as_of, zero, zero, _label(never, as_of, horizon)))
    return _concatenate(rows)


def _label(purchased: Flags, as_of: int, horizon: int) -> Ints:
    if as_of + horizon > purchased.shape[1]:
        return np.full(purchased.shape[0], -1)
    return np.asarray(purchased[:, as_of : as_of + horizon].any(axis=1).astype(np.int64))


def _at(user: Ints, as_of: int, p_state: Floats, p_filter: Floats, label: Ints) -> Truth:
    return Truth(user, np.full(user.size, as_of), p_state, p_filter, label)


def _concatenate(rows: list[Truth]) -> Truth:
    if not rows:
        nothing, no_number = np.zeros(0), np.zeros(0, dtype=np.int64)
        return Truth(no_number, no_number, nothing, nothing, no_number)
    names = ("user", "as_of", "p_state", "p_filter", "label")
    return Truth(*(np.concatenate([getattr(row, name) for row in rows]) for name in names))
