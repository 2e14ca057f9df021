"""The users of a chunk: what the shop knows of them, and the hidden traits it does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from itertools import product

import numpy as np
import pyarrow as pa

from intent_spark.config.simulation import DemographicGroup, SimulationConfig
from intent_spark.simulation.hidden_model import Flags, Floats, Ints, trait_prior
from intent_spark.simulation.identifiers import user_ids

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Demography:
    """All combinations of gender, age band and city tier: their shares (C,) and trait priors (C, T)."""

    genders: list[str]
    ages: list[tuple[int, int]]
    tiers: list[int]
    shares: Floats
    priors: Floats

    @classmethod
    def from_config(cls, config: SimulationConfig) -> Demography:
        """One row a combination; the three demographics are independent of each other."""
        known = config.demographics
        combined = list(product(known.gender.items(), known.age.items(), known.city_tier.items()))
        groups: list[list[DemographicGroup]] = [[group for _, group in row] for row in combined]
        return cls(
            genders=[row[0][0] for row in combined],
            ages=[(int(row[1][0][:2]), int(row[1][0][3:])) for row in combined],
            tiers=[row[2][0] for row in combined],
            shares=np.array([np.prod([group.share for group in row]) for row in groups]),
            priors=np.array([trait_prior(config, row) for row in groups]),
        )

    def trait_shares(self) -> Floats:
        """P(traits) over all users (T,)."""
        return np.asarray(self.shares @ self.priors)


@dataclass(frozen=True)
class Users:
    """A chunk's users: ``ids`` and columns of length U; ``prior`` (U, T) is P(traits | demographics).

    ``registered`` counts days from the first simulated one; below zero is before it.
    """

    ids: pa.Array
    numbers: Ints
    combination: Ints
    age: Ints
    registered: Ints
    consent: Flags
    traits: Ints
    prior: Floats


def draw_users(
    rng: np.random.Generator,
    config: SimulationConfig,
    demography: Demography,
    numbers: Ints,
    days: int,
    seed: int,
) -> Users:
    """Draw demographics, then hidden traits given them, so that ``prior`` is exact."""
    count = numbers.size
    shares = demography.shares / demography.shares.sum()
    combination = rng.choice(shares.size, size=count, p=shares)
    prior = demography.priors[combination]
    spans = np.array(demography.ages)[combination]
    new = rng.random(count) < config.new_user_share
    within, before = rng.integers(0, days, count), rng.integers(-config.tenure_days_max, 0, count)
    return Users(
        ids=user_ids(numbers, seed),
        numbers=numbers,
        combination=combination,
        age=rng.integers(spans[:, 0], spans[:, 1] + 1),
        registered=np.where(new, within, before),
        consent=rng.random(count) < config.demographics.marketing_consent,
        traits=draw_rows(rng, prior),
        prior=prior,
    )


def draw_rows(rng: np.random.Generator, probabilities: Floats) -> Ints:
    """One draw from each row's distribution."""
    thresholds = probabilities.cumsum(axis=1)
    chance = rng.random(probabilities.shape[0])[:, None] * thresholds[:, -1:]
    return np.asarray((chance >= thresholds[:, :-1]).sum(axis=1))


def users_table(users: Users, demography: Demography, start_date: date) -> pa.Table:
    """The users as the shop's own file holds them, ordered by id."""
    registration = users.registered + (start_date - _EPOCH).days
    table = pa.table(
        {
            "user_id": users.ids,
            "age": pa.array(users.age, pa.int32()),
            "gender": pa.array(demography.genders).take(pa.array(users.combination)),
            "city_tier": pa.array(np.array(demography.tiers)[users.combination], pa.int32()),
            "registration_date": pa.array(registration.astype(np.int32)).cast(pa.date32()),
            "marketing_consent": pa.array(users.consent),
        }
    )
    return table.sort_by("user_id")
