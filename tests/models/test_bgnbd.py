"""BG/NBD against integrals over the customers' rates, and against customers drawn from the process."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import approx_fprime
from scipy.special import expit

from intent_spark.models.bgnbd import (
    FEATURES,
    BgNbd,
    Histories,
    PurchaseHistory,
    fit_bgnbd,
    histories,
    is_customer,
    likelihood_terms,
)
from intent_spark.models.encode import Encoded
from intent_spark.models.schema import FeatureSchema, NumericFeature
from tests.models.lockstep import ThreadRank, in_lockstep

# Fader, Hardie and Lee (2005), table 2: a tenth of CDNOW's customers over 39 weeks, in weeks.
CDNOW = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)
CUSTOMERS = Histories(
    repeats=np.array([0.0, 1.0, 2.0, 5.0, 11.0]),
    last=np.array([0.0, 3.0, 30.43, 38.0, 12.0]),
    age=np.array([38.86, 30.0, 38.86, 38.5, 35.0]),
    weights=np.ones(5),
)


def integrals(x: float, last: float, age: float, horizon: float) -> tuple[float, float, float]:
    """Likelihood, that of being active at T, and that of being active and buying within the horizon.

    Equation 2 of the paper (a customer's likelihood given rate and leaving probability), weighted by the densities of
    both and summed over a grid of their logarithm and log odds, where the integrand fades on every side.
    """
    log_rate, odds = np.arange(-80, 6, 0.05)[:, None], np.arange(-40, 25, 0.05)
    lam, p = np.exp(log_rate), expit(odds)
    cells = (
        stats.gamma(CDNOW.r, scale=1 / CDNOW.alpha).pdf(lam) * lam * stats.beta(CDNOW.a, CDNOW.b).pdf(p) * p * (1 - p)
    )
    cells *= 0.05**2
    active = cells * (1 - p) ** x * lam**x * np.exp(-lam * age)
    left = cells * p * (1 - p) ** (x - 1) * lam**x * np.exp(-lam * last) if x else 0.0
    return (active + left).sum(), active.sum(), (active * -np.expm1(-lam * horizon)).sum()


def log_likelihood(model: BgNbd, of: Histories) -> np.ndarray:
    return likelihood_terms(np.array(astuple(model)), of)[0]


@pytest.mark.parametrize("number", range(5))
def test_equals_the_integrals(number: int) -> None:
    one = Histories(*(values[number : number + 1] for values in vars(CUSTOMERS).values()))
    whole, active, buys = integrals(one.repeats[0], one.last[0], one.age[0], horizon=13.0)
    assert log_likelihood(CDNOW, one)[0] == pytest.approx(np.log(whole), abs=1e-7)
    assert CDNOW.active(one)[0] == pytest.approx(active / whole, rel=1e-7)
    assert CDNOW.buys(one, 13.0)[0] == pytest.approx(buys / whole, rel=1e-7)


def test_derivatives() -> None:
    point = np.array(astuple(CDNOW))
    found = likelihood_terms(point, CUSTOMERS)[1].sum(axis=1)
    by_differences = approx_fprime(point, lambda p: likelihood_terms(p, CUSTOMERS)[0].sum(), 1e-7)
    np.testing.assert_allclose(found, by_differences, rtol=1e-4)


def drawn(count: int, seed: int = 5) -> tuple[Histories, np.ndarray]:
    """Customers of CDNOW's parameters over 20 to 60 weeks, and whether each buys in the 13 weeks after."""
    random = np.random.default_rng(seed)
    age = random.uniform(20, 60, count)
    repeats, last, buys = np.zeros(count), np.zeros(count), np.zeros(count, bool)
    for n in range(count):
        rate, leaves = random.gamma(CDNOW.r, 1 / CDNOW.alpha), random.beta(CDNOW.a, CDNOW.b)
        time = 0.0
        while (time := time + random.exponential(1 / max(rate, 1e-300))) <= age[n] + 13:
            if time > age[n]:
                buys[n] = True
                break
            repeats[n], last[n] = repeats[n] + 1, time
            if random.random() < leaves:
                break
    return Histories(repeats, last, age, np.ones(count)), buys


def test_recovers_the_process_and_its_future() -> None:
    customers, buys = drawn(20_000)
    found = fit_bgnbd(customers)
    assert found.r == pytest.approx(CDNOW.r, rel=0.1)
    assert found.alpha == pytest.approx(CDNOW.alpha, rel=0.15)
    assert found.a / (found.a + found.b) == pytest.approx(CDNOW.a / (CDNOW.a + CDNOW.b), rel=0.15)
    assert log_likelihood(found, customers).mean() >= log_likelihood(CDNOW, customers).mean()
    score = found.buys(customers, 13.0)
    for part in np.array_split(np.argsort(score, kind="stable"), 5):
        assert score[part].mean() == pytest.approx(buys[part].mean(), abs=0.02)


def test_weights_count_customers_and_units_scale() -> None:
    customers, _ = drawn(3000)
    whole = fit_bgnbd(customers)
    doubled = fit_bgnbd(Histories(*(np.append(v, v[:500]) for v in vars(customers).values())))
    heavy = Histories(customers.repeats, customers.last, customers.age, np.where(np.arange(3000) < 500, 2.0, 1.0))
    assert vars(fit_bgnbd(heavy)) == pytest.approx(vars(doubled), rel=1e-3)
    days = fit_bgnbd(Histories(customers.repeats, 7 * customers.last, 7 * customers.age, customers.weights))
    assert days.alpha / 7 == pytest.approx(whole.alpha, rel=1e-2)


def test_ranks_agree_and_one_may_have_nobody() -> None:
    customers, _ = drawn(2000)
    parts = [Histories(*(v[s] for v in vars(customers).values())) for s in (slice(0), slice(700), slice(700, None))]

    def fit(part: Histories, rank: ThreadRank) -> BgNbd:
        return fit_bgnbd(part, rank.sum)

    found = in_lockstep(fit, parts)
    assert found[0] == found[1] == found[2]
    assert vars(found[0]) == pytest.approx(vars(fit_bgnbd(customers)), rel=1e-3)


def profiles() -> tuple[Encoded, FeatureSchema]:
    """Three profiles: bought on 3 days between 40 and 10 days ago, once 20 days ago, never."""
    schema = FeatureSchema(tuple(NumericFeature(n, 0.5, 2.0, True) for n in FEATURES), (), (), 4)
    days = np.array([[3.0, 10.0, 40.0], [1.0, 20.0, 20.0], [0.0, np.nan, np.nan]])
    numeric = np.zeros((3, 6))
    numeric[:, ::2] = np.nan_to_num((np.log1p(days) - 0.5) / 2.0)
    numeric[:, 1::2] = np.isnan(days)
    return Encoded(numeric.astype(np.float32), {}, np.zeros(4, np.int64)), schema


def test_histories_of_profiles() -> None:
    encoded, schema = profiles()
    assert is_customer(encoded, schema).tolist() == [True, True, False]
    found = histories(encoded, schema, np.array([1.0, 2.0, 3.0]))
    assert found.repeats.tolist() == [2.0, 0.0]
    assert found.last == pytest.approx([30.0, 0.0], rel=1e-5)
    assert found.age == pytest.approx([40.0, 20.0], rel=1e-5)
    assert found.weights.tolist() == [1.0, 2.0]


def test_one_who_never_bought_has_the_rate_of_such_users() -> None:
    encoded, schema = profiles()
    model = PurchaseHistory(BgNbd(0.2, 30.0, 0.8, 2.4), 14, 0.05)
    score = 1 / (1 + np.exp(-model.logits(encoded, schema)))
    assert score[:2] == pytest.approx(model.model.buys(histories(encoded, schema), 14), rel=1e-9)
    assert score[2] == pytest.approx(0.05)
    assert PurchaseHistory.from_json(model.to_json()) == model
