from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from intent_spark.models.calibration import IDENTITY, fit_platt, probabilities
from intent_spark.models.logistic import (
    FloatArray,
    Labelled,
    fit_logistic,
    mean_log_loss,
    pick_logistic,
)


def rows(count: int, seed: int = 0) -> Labelled:
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(count, 4)).astype(np.float32)
    logits = inputs @ np.array([1.0, -2.0, 0.0, 0.5]) - 1.0
    labels = (random.random(count) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    return Labelled(inputs, labels, random.integers(1, 4, count).astype(np.float64))


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
def test_equals_sklearn(l2: float) -> None:
    data = rows(800)
    ours = fit_logistic(data, l2)
    theirs = LogisticRegression(C=1 / (l2 * data.weights.sum()), tol=1e-10, max_iter=1000)
    theirs.fit(data.inputs.astype(np.float64), data.labels, data.weights)
    np.testing.assert_allclose(ours.coefficients, theirs.coef_[0], atol=1e-4)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=1e-4)
    np.testing.assert_allclose(expit(ours.logits(data.inputs)), theirs.predict_proba(data.inputs)[:, 1], atol=1e-4)


def test_summed_objectives_give_the_model_of_all_rows() -> None:
    """Stands for two ranks: this rank holds rows 0-299, the other's sums are added by the callable."""
    data, l2 = rows(500), 0.01
    whole = fit_logistic(data, l2)
    parts = [Labelled(data.inputs[s], data.labels[s], data.weights[s]) for s in (slice(0, 300), slice(300, None))]
    models = _in_lockstep(parts, l2)
    np.testing.assert_allclose(models[0].coefficients, whole.coefficients, atol=1e-6)
    np.testing.assert_array_equal(models[0].coefficients, models[1].coefficients)


def _in_lockstep(parts: list[Labelled], l2: float) -> list:
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    barrier, values = Barrier(len(parts)), [np.zeros(0)] * len(parts)

    def run(number: int):  # type: ignore[no-untyped-def]
        def total(own: FloatArray) -> FloatArray:
            values[number] = own
            barrier.wait()
            summed = np.sum(values, axis=0)
            barrier.wait()
            return summed

        return fit_logistic(parts[number], l2, total)

    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(run, range(len(parts))))


def test_picks_the_strength_that_validates_best() -> None:
    train, validation = rows(60, 1), rows(3000, 2)
    strengths = [1e-4, 1e-2, 10.0]
    model, loss = pick_logistic(train, validation, strengths)
    losses = {l2: mean_log_loss(fit_logistic(train, l2).logits(validation.inputs), validation) for l2 in strengths}
    assert model.l2 == min(losses, key=losses.__getitem__)
    assert loss == pytest.approx(min(losses.values()), abs=1e-6)


def test_log_loss_is_finite_for_certain_and_wrong_logits() -> None:
    certain = Labelled(np.zeros((1, 1)), np.array([0.0]), np.array([2.0]))
    assert mean_log_loss(np.array([1000.0]), certain) == pytest.approx(1000.0)


def test_platt_undoes_a_known_distortion_and_respects_weights() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(size=20_000)
    labels = (random.random(20_000) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    platt = fit_platt((logits - 0.5) * 2, labels, np.ones(20_000))
    assert platt.slope == pytest.approx(0.5, abs=0.03)
    assert platt.intercept == pytest.approx(0.5, abs=0.05)
    doubled = fit_platt(np.append(logits, logits[:100]), np.append(labels, labels[:100]), np.ones(20_100))
    weights = np.where(np.arange(20_000) < 100, 2.0, 1.0)
    assert fit_platt(logits, labels, weights).slope == pytest.approx(doubled.slope, abs=1e-6)
    calibrated = probabilities(platt, (logits - 0.5) * 2)
    assert calibrated.mean() == pytest.approx(labels.mean(), abs=1e-4)


def test_a_reversed_ranking_is_not_turned_round() -> None:
    labels = np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    assert fit_platt(np.array([-2.0, -1.0, 1.0, 2.0, 1.5]), labels, np.ones(5)) == IDENTITY


def test_platt_is_finite_on_separated_validation() -> None:
    platt = fit_platt(np.array([-1.0, 1.0]), np.array([0.0, 1.0]), np.ones(2))
    assert np.isfinite([platt.slope, platt.intercept]).all()
    assert platt.slope > 1
