from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import exp, factorial, prod

import numpy as np
import pytest

from intent_spark.config.simulation import BOUGHT, STATES
from intent_spark.simulation.chunk import Shop, ShopPlan
from intent_spark.simulation.forward_filter import Truth, beliefs
from intent_spark.simulation.hidden_model import Floats, HiddenModel, Ints

DAYS = 3
HISTORIES = {
    "quiet": [[0, 0, 0, 0, 0]] * 3,
    "carts": [[0, 0, 0, 0, 0], [2, 1, 1, 0, 0], [3, 0, 2, 1, 0]],
    "bought": [[1, 0, 0, 0, 0], [2, 1, 1, 0, 2], [0, 0, 0, 0, 0]],
}
BANDS = {
    "quiet": [[0, 0, 0]] * 3,
    "carts": [[0, 0, 0], [2, 1, 0], [0, 3, 3]],
    "bought": [[0, 1, 0], [5, 0, 0], [0] * 3],
}


@pytest.fixture(scope="module")
def model(make_plan: Callable[..., ShopPlan]) -> HiddenModel:
    return HiddenModel.from_config(make_plan().config)


def _poisson(count: int, rate: float) -> float:
    return float(rate**count * exp(-rate) / factorial(count))


def _emission(model: HiddenModel, weekday: int, trait: int, state: int, counts: list[int], bands: list[int]) -> float:
    """P(counts, bands | trait, state) written out from the definition."""
    purchases = counts[-1]
    if (state == BOUGHT) != (purchases > 0):
        return 0.0
    likelihood = prod(
        _poisson(count, rate) for count, rate in zip(counts[:-1], model.rates[weekday, trait, state], strict=True)
    )
    likelihood *= _poisson(purchases - 1, model.extra_purchases[trait]) if purchases else 1.0
    return float(likelihood * prod(model.bands[trait] ** np.array(bands)))


def _enumerate(model: HiddenModel, prior: Floats, registered: int, name: str, weekdays: Ints) -> Floats:
    """P(trait, last state | history) by summing over every hidden path."""
    posterior = np.zeros((model.traits, len(STATES)))
    before = model.equilibrium((weekdays[0] - 1) % 7)
    first = max(registered, 0)
    for trait, *path in product(range(model.traits), *[range(len(STATES))] * (DAYS - first)):
        weight = prior[trait]
        if registered >= 0:
            weight *= model.new_user_state[path[0]]
        else:
            weight *= before[trait] @ model.transitions[weekdays[0], trait, :, path[0]]
        for day in range(first, DAYS):
            state = path[day - first]
            if day > first:
                weight *= model.transitions[weekdays[day], trait, path[day - first - 1], state]
            weight *= _emission(model, weekdays[day], trait, state, HISTORIES[name][day], BANDS[name][day])
        posterior[trait, path[-1]] += weight
    return np.asarray(posterior / posterior.sum())


@pytest.mark.parametrize(
    ("name", "registered"),
    [("quiet", -9), ("carts", -9), ("bought", -9), ("carts", 1), ("quiet", 2), ("bought", 0)],
)
def test_the_filter_equals_the_sum_over_all_hidden_paths(model: HiddenModel, name: str, registered: int) -> None:
    weekdays = np.array([5, 6, 0])
    prior = np.array([[0.3, 0.2, 0.1, 0.15, 0.05, 0.2]])
    counts, bands = np.array([HISTORIES[name]]), np.array([BANDS[name]])
    *_, belief = beliefs(model, prior, np.array([registered]), counts, bands, weekdays)
    np.testing.assert_allclose(belief[0], _enumerate(model, prior[0], registered, name, weekdays), rtol=1e-9)


def test_the_horizon_equals_the_sum_over_all_paths_ahead(model: HiddenModel) -> None:
    weekday, horizon = 4, 3
    expected = np.zeros((model.traits, len(STATES)))
    for trait, state, *path in product(range(model.traits), *[range(len(STATES))] * (horizon + 1)):
        if BOUGHT in path:
            steps = zip([state, *path], path, strict=False)
            expected[trait, state] += prod(
                model.transitions[(weekday + day) % 7, trait, begin, end] for day, (begin, end) in enumerate(steps)
            )
    np.testing.assert_allclose(model.purchase_probability(weekday, horizon), expected, rtol=1e-12)


def test_the_equilibrium_repeats_after_a_week(model: HiddenModel) -> None:
    state = model.equilibrium(2)
    np.testing.assert_allclose(state.sum(axis=1), 1)
    for day in range(3, 10):
        state = np.einsum("tk,tkl->tl", state, model.transitions[day % 7])
    np.testing.assert_allclose(state, model.equilibrium(2), rtol=1e-9)


@pytest.fixture(scope="module")
def truth(make_plan: Callable[..., ShopPlan]) -> Truth:
    """Three as_of dates of 8,000 users, with what then happened."""
    plan = make_plan(users=8000, days=35, seed=11, chunk_users=8000, truth={"every_days": 7})
    return Shop(plan).chunk(0).truth


@pytest.mark.parametrize("name", ["p_state", "p_filter"])
def test_the_truth_is_calibrated(truth: Truth, name: str) -> None:
    matured = truth.label >= 0
    probability, label = getattr(truth, name)[matured], truth.label[matured]
    assert 0.08 < label.mean() < 0.15
    assert probability.min() >= 0 and probability.max() <= 1
    order = np.argsort(probability, kind="stable")
    for part in np.array_split(order, 10):
        expected = probability[part].mean()
        noise = np.sqrt((probability[part] * (1 - probability[part])).sum()) / part.size
        assert abs(label[part].mean() - expected) < 4 * noise


def _auc(label: Ints, score: Floats) -> float:
    """The rank sum statistic, ties at their mean rank."""
    values, place, size = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (size.cumsum() - (size - 1) / 2)[place]
    positive = label.sum()
    return float((ranks[label == 1].sum() - positive * (positive + 1) / 2) / (positive * (label.size - positive)))


def test_knowing_the_state_beats_the_filter_and_the_filter_is_worth_learning(truth: Truth) -> None:
    matured = truth.label >= 0
    by_state, by_filter = (
        _auc(truth.label[matured], getattr(truth, name)[matured]) for name in ("p_state", "p_filter")
    )
    assert by_state > by_filter + 0.01
    assert 0.78 < by_filter < 0.87


def test_only_registered_users_have_a_truth_and_only_closed_horizons_a_label(
    make_plan: Callable[..., ShopPlan],
) -> None:
    chunk = Shop(make_plan(users=100, days=28, new_user_share=1.0)).chunk(0)
    assert (chunk.users.registered[chunk.truth.user] < chunk.truth.as_of).all()
    assert ((chunk.truth.label >= 0) == (chunk.truth.as_of + 7 <= 28)).all()
    assert chunk.truth.as_of.max() == 28 and chunk.truth.as_of.min() == 14
