"""Naive Bayes against scikit-learn, Bayes' rule by hand, and itself over two ranks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.naive_bayes import CategoricalNB

from intent_spark.models.logistic import Labelled
from intent_spark.models.naive_bayes import NaiveBayes, fit_naive_bayes
from tests.models.lockstep import ThreadRank, in_lockstep


def rows(count: int, seed: int = 0) -> Labelled:
    """A smooth input, one of few values, a rare mark and a constant."""
    random = np.random.default_rng(seed)
    smooth = random.normal(size=count)
    labels = (random.random(count) < expit(smooth - 1)).astype(np.float64)
    few = random.poisson(1 + labels)
    rare = random.random(count) < 0.01 + 0.02 * labels
    inputs = np.stack([smooth, few / 3.0, rare, np.zeros(count)], axis=1).astype(np.float32)
    return Labelled(inputs, labels, random.integers(1, 4, count).astype(np.float64))


def test_equals_sklearn_on_the_same_bins() -> None:
    data = rows(3000)
    ours = fit_naive_bayes(data, 8)
    codes = np.stack([np.searchsorted(e, c, side="right") for e, c in zip(ours.edges, data.inputs.T, strict=True)], 1)
    theirs = CategoricalNB(alpha=1.0).fit(codes, data.labels, data.weights)
    np.testing.assert_allclose(expit(ours.logits(data.inputs)), theirs.predict_proba(codes)[:, 1], rtol=1e-9)
    for edges, values in zip(ours.edges, codes.T, strict=True):
        assert set(values) == set(range(np.isfinite(edges).sum() + 1)), "a bin without a row"
    assert [len(set(values)) for values in codes.T] == [8, 4, 2, 1]


def test_quantile_bins_hold_like_numbers() -> None:
    data = rows(4000)
    codes = np.searchsorted(fit_naive_bayes(data, 8).edges[0], data.inputs[:, 0], side="right")
    assert np.bincount(codes) == pytest.approx(500, abs=30)


def test_a_posterior_is_a_probability_where_the_product_of_likelihoods_is_none() -> None:
    """Ten buyers and ten others, three marks: each speaks for a purchase, and so do all three together.

    P(mark | buyer) = .9, .6, .8 and P(mark | other) = .3, .2, .4. Taken for independent also of the label, the marks'
    own frequencies are .6, .4, .6, and prior times likelihoods over frequencies gives 1.5: no probability. Divided
    by the sum over both classes it is .432 / (.432 + .024).
    """
    buyers, others = (9, 6, 8), (3, 2, 4)
    marks = [[float(n < held) for held in group] for group in (buyers, others) for n in range(10)]
    data = Labelled(np.array(marks), np.repeat([1.0, 0.0], 10), np.ones(20))
    frequencies = data.inputs.mean(axis=0)
    assert 0.5 * np.prod(np.array(buyers) / 10 / frequencies) == pytest.approx(1.5)
    posterior = expit(fit_naive_bayes(data, 2, smoothing=0.0).logits(np.ones((1, 3))))
    assert posterior == pytest.approx(0.432 / (0.432 + 0.024), rel=1e-12)


def test_two_ranks_have_the_model_of_all_rows() -> None:
    data = rows(500)
    whole = fit_naive_bayes(data, 8)
    parts = [
        Labelled(data.inputs[s], data.labels[s], data.weights[s]) for s in (slice(0, 0), slice(300), slice(300, None))
    ]

    def fit(part: Labelled, rank: ThreadRank) -> NaiveBayes:
        return fit_naive_bayes(part, 8, rank.sum)

    for model in in_lockstep(fit, parts):
        assert model.prior == whole.prior
        np.testing.assert_array_equal(model.edges, whole.edges)
        np.testing.assert_array_equal(model.ratios, whole.ratios)


@pytest.mark.parametrize("inputs", [4, 0])
def test_what_is_written_is_read(inputs: int) -> None:
    data = rows(300)
    data = Labelled(data.inputs[:, :inputs], data.labels, data.weights)
    model = fit_naive_bayes(data, 8)
    found = NaiveBayes.from_json(model.to_json([f"i{n}" for n in range(inputs)]))
    np.testing.assert_array_equal(found.logits(data.inputs), model.logits(data.inputs))
