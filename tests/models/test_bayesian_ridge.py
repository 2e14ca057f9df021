"""Linear regression whose penalty the data tell."""

from __future__ import annotations

import numpy as np
import pytest

from intent_spark.models.bayesian_ridge import fit_bayesian_ridge
from intent_spark.models.logistic import FloatArray, Labelled


def rows(count: int, noise: float, inputs: int = 5, seed: int = 1) -> tuple[Labelled, FloatArray]:
    random = np.random.default_rng(seed)
    features = random.normal(2.0, 1.0, (count, inputs))
    truth = np.linspace(-1.0, 1.0, inputs)
    labels = 3.0 + features @ truth + noise * random.normal(size=count)
    return Labelled(features, labels, np.ones(count)), truth


def test_with_many_rows_it_is_least_squares() -> None:
    told, _ = rows(5000, noise=0.5)
    design = np.column_stack([told.inputs, np.ones(5000)])
    expected = np.linalg.lstsq(design, told.labels, rcond=None)[0]
    found = fit_bayesian_ridge(told)
    np.testing.assert_allclose(np.append(found.coefficients, found.intercept), expected, atol=2e-3)


def test_a_weight_is_a_number_of_rows_and_ranks_add_up() -> None:
    told, _ = rows(60, noise=1.0)
    twice = Labelled(*(np.concatenate([part, part[:20]]) for part in (told.inputs, told.labels, told.weights)))
    weighted = Labelled(told.inputs, told.labels, np.where(np.arange(60) < 20, 2.0, 1.0))
    one, other = fit_bayesian_ridge(twice), fit_bayesian_ridge(weighted)
    np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=1e-9)
    parts: list[FloatArray] = []
    for part in (slice(0, 25), slice(25, 25), slice(25, 60)):  # the second rank has no row
        share = Labelled(told.inputs[part], told.labels[part], told.weights[part])
        with pytest.raises(StopIteration):
            fit_bayesian_ridge(share, lambda moments: stop(parts, moments))
    summed = fit_bayesian_ridge(told, lambda _: np.sum(parts, axis=0))
    np.testing.assert_allclose(summed.coefficients, fit_bayesian_ridge(told).coefficients, rtol=1e-9)


def stop(parts: list[FloatArray], moments: FloatArray) -> FloatArray:
    parts.append(moments)
    raise StopIteration


def test_of_few_noisy_rows_it_shrinks_and_is_nearer_the_truth() -> None:
    told, truth = rows(40, noise=6.0, inputs=30)
    design = np.column_stack([told.inputs, np.ones(40)])
    exact = np.linalg.lstsq(design, told.labels, rcond=None)[0][:-1]
    found = fit_bayesian_ridge(told).coefficients
    assert np.linalg.norm(found - truth) < np.linalg.norm(exact - truth)


@pytest.mark.parametrize("labels", [np.full(3, 7.0), np.array([7.0])])
def test_labels_that_are_all_alike_are_the_intercept(labels: FloatArray) -> None:
    found = fit_bayesian_ridge(Labelled(np.ones((len(labels), 2)), labels, np.ones(len(labels))))
    assert found.intercept == pytest.approx(7.0) and found.coefficients == pytest.approx([0.0, 0.0])
