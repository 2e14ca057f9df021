"""The hidden Markov model as arrays, and what follows from it without any data.

A user's hidden traits are ``user type x price sensitivity``, flattened to ``traits`` = T values; the daily
state has K = 4 values. Week days are 0 (Monday) to 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intent_spark.config.simulation import (
    BOUGHT,
    COUNTED_TYPES,
    STATES,
    WEEKDAYS,
    DemographicGroup,
    SimulationConfig,
    UserType,
)

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_WEEKS_TO_EQUILIBRIUM = 256


@dataclass(frozen=True)
class HiddenModel:
    """Parameters by trait and week day.

    ``transitions`` (7, T, K, K): into the state of a day of that week day; ``rates`` (7, T, K, 4): expected
    events by counted type; ``extra_purchases`` (T,); ``bands`` (T, 3); ``new_user_state`` (K,).
    """

    transitions: Floats
    rates: Floats
    extra_purchases: Floats
    bands: Floats
    new_user_state: Floats

    @classmethod
    def from_config(cls, config: SimulationConfig) -> HiddenModel:
        """Lay the configuration out as arrays; traits run through sensitivities within user types."""
        kinds, levels = list(config.user_types.values()), list(config.price_sensitivity.values())
        week = [getattr(config.week, day) for day in WEEKDAYS]
        pairs = [(kind, level) for kind in kinds for level in levels]
        buying = np.array([[level.buying_factor * day.buying for _, level in pairs] for day in week])
        activity = np.array([day.activity for day in week])
        matrices = np.array([_matrix(kind) for kind, _ in pairs])
        rates = np.array([_rates(kind) for kind, _ in pairs])
        return cls(
            transitions=_favour_buying(matrices, buying),
            rates=activity[:, None, None, None] * rates,
            extra_purchases=np.array([kind.extra_purchases for kind, _ in pairs]),
            bands=np.array([level.price_bands for _, level in pairs]),
            new_user_state=np.array(config.new_user_state.probabilities()),
        )

    @property
    def traits(self) -> int:
        """The number T of trait combinations."""
        return int(self.bands.shape[0])

    def equilibrium(self, weekday: int) -> Floats:
        """State distribution (T, K) on a day of this week day, for users registered long ago."""
        week = np.eye(len(STATES))
        for day in range(weekday + 1, weekday + 8):
            week = week @ self.transitions[day % 7]
        return np.asarray(np.linalg.matrix_power(week, _WEEKS_TO_EQUILIBRIUM).mean(axis=1))

    def purchase_probability(self, weekday: int, horizon: int) -> Floats:
        """P(purchase in [D, D + horizon)) by trait and state on the day before D (T, K).

        One minus the mass that never enters `bought`: the product of the sub-transition matrices of the
        horizon's days, without the column of `bought`. D falls on ``weekday``.
        """
        no_purchase = np.ones((self.traits, len(STATES)))
        for day in reversed(range(weekday, weekday + horizon)):
            no_purchase[:, BOUGHT] = 0.0
            no_purchase = np.einsum("tkl,tl->tk", self.transitions[day % 7], no_purchase)
        return 1.0 - no_purchase

    def mean_daily_views(self, trait_shares: Floats) -> float:
        """Expected views per user and day at equilibrium, over the week; ``trait_shares`` is (T,)."""
        by_day = [
            np.einsum("t,tk,tk->", trait_shares, self.equilibrium(day), self.rates[day, :, :, 0]) for day in range(7)
        ]
        return float(np.mean(by_day))


def _matrix(kind: UserType) -> Floats:
    return np.array([getattr(kind.transitions, state).probabilities() for state in STATES])


def _rates(kind: UserType) -> Floats:
    return np.array([[getattr(getattr(kind.rates, state), name) for name in COUNTED_TYPES] for state in STATES])


def _favour_buying(matrices: Floats, buying: Floats) -> Floats:
    """Multiply the transitions into `bought` by ``buying`` (7, T), then let each row sum to one again."""
    weighted = np.repeat(matrices[None], len(WEEKDAYS), axis=0)
    weighted[:, :, :, BOUGHT] *= buying[:, :, None]
    return np.asarray(weighted / weighted.sum(axis=-1, keepdims=True))


def trait_prior(config: SimulationConfig, groups: list[DemographicGroup]) -> Floats:
    """P(traits | demographics) of a user who belongs to these groups (T,)."""

    def weights(shares: dict[str, float]) -> Floats:
        factors = [share * np.prod([group.traits.get(name, 1.0) for group in groups]) for name, share in shares.items()]
        return np.asarray(np.array(factors) / np.sum(factors))

    kinds = weights({name: kind.share for name, kind in config.user_types.items()})
    levels = weights({name: level.share for name, level in config.price_sensitivity.items()})
    return np.asarray(np.outer(kinds, levels).ravel())
