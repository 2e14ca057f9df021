"""Bootstrap intervals: the figure itself, the textbook's standard error, and pairs on the same draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from intent_spark.models.intervals import (
    Ranked,
    auc_differences,
    histogram_intervals,
    mean_interval,
)
from intent_spark.models.metrics import ScoreHistogram, auc


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_weighted_auc_is_that_of_repeated_users(seed: int, decimals: int) -> None:
    """A user who is drawn twice counts as two, ties included."""
    rng = np.random.default_rng(seed)
    scores, labels = np.round(rng.random(40), decimals), rng.integers(0, 2, 40).astype(float)
    labels[:2] = 0.0, 1.0
    counts = rng.integers(0, 4, 40)
    counts[:2] = 1
    expected = roc_auc_score(np.repeat(labels, counts), np.repeat(scores, counts))
    assert Ranked.of(scores, labels).auc(counts.astype(float)) == pytest.approx(expected)


def test_no_auc_without_both_outcomes() -> None:
    assert np.isnan(Ranked.of(np.array([0.1, 0.2]), np.array([0.0, 1.0])).auc(np.array([2.0, 0.0])))


def test_interval_has_the_width_that_theory_gives() -> None:
    """Of a mean loss: 1.96 standard errors to each side."""
    rng = np.random.default_rng(3)
    mine, other = rng.exponential(0.5, 4000), rng.exponential(0.5, 4000)
    apart = mine - other
    error = apart.std() / np.sqrt(4000)
    found = mean_interval(apart, np.ones(4000), seed=1, draws=2000)
    assert found.value == pytest.approx(apart.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.06)
    # The same from sums over groups of users.
    group = rng.integers(0, 256, 4000)
    grouped = mean_interval(np.bincount(group, apart), np.bincount(group).astype(float), seed=1, draws=2000)
    assert grouped.value == pytest.approx(apart.mean())
    assert (grouped.high - grouped.low) / 2 == pytest.approx(1.96 * error, rel=0.15)


def test_histogram_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of 100 shops of one kind, about 95 have the kind's AUC in their interval."""
    rng = np.random.default_rng(5)
    draw = [(rng.normal(1.0, 1.0, 150), rng.normal(0.0, 1.0, 150)) for _ in range(100)]
    truth = 0.7602  # P(N(1, 2) > 0)
    inside = 0
    for number, (bought, not_bought) in enumerate(draw):
        scores = 1 / (1 + np.exp(-np.concatenate([bought, not_bought])))
        histogram = ScoreHistogram.from_scores(scores, np.repeat([1.0, 0.0], 150))
        found = histogram_intervals(histogram, number, draws=100)["auc"]
        assert found.value == auc(histogram)
        inside += found.low <= truth <= found.high
    assert 86 <= inside <= 100


def test_histogram_interval_refuses_weights() -> None:
    histogram = ScoreHistogram.from_scores([0.1, 0.9], [0, 1], [0.5, 1.0])
    with pytest.raises(ValueError, match="whole numbers"):
        histogram_intervals(histogram, 0)


def test_a_pair_is_compared_on_the_same_draws() -> None:
    """Two candidates that hardly differ: their difference is far surer than either AUC."""
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 2, 500).astype(float)
    scores = labels + rng.normal(0, 2, 500)
    close = scores + rng.normal(0, 0.05, 500)
    found = auc_differences({"a": [scores], "b": [close]}, labels, "a", seed=1, draws=200)
    alone = histogram_intervals(ScoreHistogram.from_scores(1 / (1 + np.exp(-scores)), labels), 1, 200)["auc"]
    assert found["a"].low == found["a"].high == 0.0
    assert found["b"].high - found["b"].low < (alone.high - alone.low) / 5


def test_the_mean_over_trainings_is_compared() -> None:
    labels = np.array([0.0, 1.0, 0.0, 1.0])
    good, bad = np.array([0.1, 0.9, 0.2, 0.8]), np.array([0.9, 0.1, 0.8, 0.2])
    found = auc_differences({"one": [good, bad], "other": [good, good]}, labels, "other", seed=1, draws=20)
    assert found["one"].value == pytest.approx(-0.5)
