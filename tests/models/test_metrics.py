"""Metrics agree with scikit-learn where it has them, and with a naive count where it has not."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from intent_spark.models import metrics
from intent_spark.models.metrics import FloatArray, ScoreHistogram


@st.composite
def scored_users(draw: st.DrawFn) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scores with many ties (0 and 1 among them), both outcomes, and positive weights."""
    size = draw(st.integers(2, 60))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    scores = np.round(rng.random(size), draw(st.integers(1, 6)))
    labels = (rng.random(size) < scores).astype(float)
    labels[:2] = 0.0, 1.0
    weights = rng.integers(1, 5, size) * draw(st.sampled_from([1.0, 0.37]))
    return scores, labels, weights


@given(scored_users())
@settings(max_examples=150, deadline=None)
def test_agrees_with_sklearn(data: tuple[FloatArray, FloatArray, FloatArray]) -> None:
    """AUC, average precision, log loss and Brier score, with ties and weights."""
    scores, labels, weights = data
    histogram = ScoreHistogram.from_scores(scores, labels, weights)
    given_to_sklearn: dict[str, Any] = {"sample_weight": weights}
    assert metrics.auc(histogram) == pytest.approx(sk.roc_auc_score(labels, scores, **given_to_sklearn))
    expected = sk.average_precision_score(labels, scores, **given_to_sklearn)
    assert metrics.pr_auc(histogram) == pytest.approx(expected)
    assert metrics.log_loss(histogram) == pytest.approx(sk.log_loss(labels, scores, **given_to_sklearn))
    assert metrics.brier(histogram) == pytest.approx(sk.brier_score_loss(labels, scores, **given_to_sklearn))


@given(scored_users())
@settings(max_examples=60, deadline=None)
def test_curves_agree_with_sklearn(data: tuple[FloatArray, FloatArray, FloatArray]) -> None:
    """Below the limit of points both curves are the whole curves."""
    scores, labels, weights = data
    histogram = ScoreHistogram.from_scores(scores, labels, weights)
    roc = metrics.roc_curve(histogram)
    fpr, tpr, thresholds = sk.roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    np.testing.assert_allclose(roc.false_positive_rate, fpr, atol=1e-12)
    np.testing.assert_allclose(roc.true_positive_rate, tpr, atol=1e-12)
    np.testing.assert_allclose(roc.threshold, thresholds)
    precision, recall, _ = sk.precision_recall_curve(labels, scores, sample_weight=weights)
    curve = metrics.pr_curve(histogram)
    np.testing.assert_allclose(curve.recall, recall[::-1], atol=1e-12)
    np.testing.assert_allclose(curve.precision, precision[::-1], atol=1e-12)


@given(scored_users())
@settings(max_examples=60, deadline=None)
def test_deciles_and_bins_lose_nobody(data: tuple[FloatArray, FloatArray, FloatArray]) -> None:
    """Deciles and bins hold the same users and buyers as the histogram, in equal parts."""
    histogram = ScoreHistogram.from_scores(*data)
    lift, bins = metrics.lift_by_decile(histogram), metrics.reliability_table(histogram, bins=7)
    for rows in (lift, bins):
        assert sum(row.users for row in rows) == pytest.approx(histogram.total)
        assert sum(row.positives for row in rows) == pytest.approx(histogram.total_positives)
        assert np.ptp([row.users for row in rows]) == pytest.approx(0.0, abs=1e-9)
    assert lift[-1].cumulative_share == pytest.approx(1.0)
    assert all(row.lowest_score <= row.mean_score + 1e-9 for row in bins)
    assert all(row.mean_score <= row.highest_score + 1e-9 for row in bins)
    assert all(0.0 <= row.rate_low <= row.rate + 1e-12 for row in bins)
    assert all(row.rate <= row.rate_high + 1e-12 <= 1.0 + 1e-12 for row in bins)


@given(scored_users(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_and_partitions_do_not_matter(data: Any, random: Any) -> None:
    """Counting two parts and adding them equals counting all; so does any order of users."""
    scores, labels, weights = data
    whole = ScoreHistogram.from_scores(scores, labels, weights)
    order = np.array(random.sample(range(len(scores)), len(scores)))
    cut = len(scores) // 2
    parts = [ScoreHistogram.from_scores(scores[i], labels[i], weights[i]) for i in (order[:cut], order[cut:])]
    added = ScoreHistogram.from_counts(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.positives for part in parts]),
        np.concatenate([part.negatives for part in parts]),
    )
    assert metrics.summary(added).to_dict() == pytest.approx(metrics.summary(whole).to_dict())


def test_calibration_error_without_ties_is_the_textbook_sum() -> None:
    """With 200 distinct scores and 10 bins each bin is 20 neighbouring users."""
    rng = np.random.default_rng(3)
    scores = np.sort(rng.random(200))
    labels = (rng.random(200) < scores**2).astype(float)
    gaps = np.abs(scores.reshape(10, 20).mean(axis=1) - labels.reshape(10, 20).mean(axis=1))
    histogram = ScoreHistogram.from_scores(scores, labels)
    assert metrics.calibration_error(histogram) == pytest.approx(gaps.mean())
    rows = metrics.reliability_table(histogram)
    assert [row.lowest_score for row in rows] == scores[::20].tolist()
    assert [row.highest_score for row in rows] == scores[19::20].tolist()


def test_lift_without_ties() -> None:
    """Twenty users, the four buyers on top: two deciles hold them all, at five times the average rate."""
    rows = metrics.lift_by_decile(ScoreHistogram.from_scores(np.arange(20) / 20, np.arange(20) >= 16))
    assert [row.decile for row in rows] == list(range(1, 11))
    assert [row.lift for row in rows] == [5.0, 5.0, *[0.0] * 8]
    assert [row.cumulative_share for row in rows][:3] == [0.5, 1.0, 1.0]
    assert [row.lowest_score for row in rows] == [(18 - 2 * i) / 20 for i in range(10)]


def test_lift_of_one_score_for_all_is_one() -> None:
    """A constant score is split in proportion: no decile is better than another."""
    rows = metrics.lift_by_decile(ScoreHistogram.from_counts([0.3], [3], [10]))
    assert [row.lift for row in rows] == pytest.approx([1.0] * 10)
    assert [row.users for row in rows] == pytest.approx([1.3] * 10)


def test_known_histogram() -> None:
    """Small enough to check by hand."""
    histogram = ScoreHistogram.from_counts([0.5, 0.25, 0.5], [1, 0, 1], [0, 1, 1])
    assert histogram.score.tolist() == [0.25, 0.5]
    assert histogram.positives.tolist() == [0.0, 2.0]
    assert histogram.negatives.tolist() == [1.0, 1.0]
    assert metrics.auc(histogram) == 0.75
    assert metrics.pr_auc(histogram) == pytest.approx(2 / 3)
    assert metrics.brier(histogram) == pytest.approx((0.25**2 + 3 * 0.25) / 4)
    assert metrics.log_loss(histogram) == pytest.approx((-np.log(0.75) - 3 * np.log(0.5)) / 4)


def test_summary_is_plain_json() -> None:
    """The figures survive a round trip through JSON unchanged."""
    figures = metrics.summary(ScoreHistogram.from_scores([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])).to_dict()
    assert json.loads(json.dumps(figures)) == figures
    assert figures["users"] == 4.0
    assert figures["base_rate"] == 0.5
    assert figures["auc"] == 0.75


def test_long_curves_are_thinned_to_their_own_points() -> None:
    """At most 500 points, each a point of the whole curve, both ends kept, and nearly the same area."""
    rng = np.random.default_rng(5)
    scores = rng.random(20_000)
    histogram = ScoreHistogram.from_scores(scores, rng.random(20_000) < scores)
    thin, whole = metrics.roc_curve(histogram), metrics.roc_curve(histogram, points=100_000)
    assert thin.threshold.size <= 500 < whole.threshold.size
    assert set(thin.threshold) <= set(whole.threshold)
    assert (thin.false_positive_rate[[0, -1]] == [0.0, 1.0]).all()
    assert (thin.true_positive_rate[[0, -1]] == [0.0, 1.0]).all()
    area = sk.auc(thin.false_positive_rate, thin.true_positive_rate)
    assert area == pytest.approx(metrics.auc(histogram), abs=1e-3)
    recall = metrics.pr_curve(histogram).recall
    assert recall.size <= 500
    assert all(left <= right for left, right in pairwise(recall))


RANKING = [metrics.auc, metrics.pr_auc, metrics.lift_by_decile, metrics.roc_curve, metrics.pr_curve]


@pytest.mark.parametrize("metric", [*RANKING, metrics.summary])
def test_one_outcome_alone_is_refused(metric: Any) -> None:
    """Ranking needs buyers and non-buyers; the sentence says what there is."""
    with pytest.raises(ValueError, match="both outcomes, but the histogram holds 0 positives and 2 neg"):
        metric(ScoreHistogram.from_scores([0.1, 0.2], [0, 0]))
    with pytest.raises(ValueError, match="needs at least one user"):
        metric(ScoreHistogram.from_scores([], []))


def test_calibration_needs_no_second_outcome() -> None:
    """Log loss, Brier and calibration are defined when nobody bought."""
    histogram = ScoreHistogram.from_scores([0.1, 0.3], [0, 0])
    assert metrics.brier(histogram) == pytest.approx(0.05)
    assert metrics.calibration_error(histogram) == pytest.approx(0.2)
    assert metrics.log_loss(histogram) == pytest.approx(-(np.log(0.9) + np.log(0.7)) / 2)


@pytest.mark.parametrize("metric", [metrics.log_loss, metrics.brier, metrics.calibration_error])
def test_scores_that_are_no_probabilities_are_refused(metric: Any) -> None:
    """A logit may be ranked but not compared with a rate."""
    histogram = ScoreHistogram.from_scores([-1.5, 2.0], [0, 1])
    assert metrics.auc(histogram) == 1.0
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\], but scores go from -1.5 to 2"):
        metric(histogram)


@pytest.mark.parametrize(
    ("scores", "labels", "weights", "sentence"),
    [
        ([0.1, 0.2], [0, 2], None, "Labels must be 0 or 1"),
        ([0.1, 0.2], [0, float("nan")], None, "Labels must be 0 or 1"),
        ([0.1, float("nan")], [0, 1], None, "finite"),
        ([0.1, 0.2], [0, 1], [1, -1], "not negative"),
        ([0.1, 0.2], [0, 1], [1], "weights have shape"),
        ([0.1], [0, 1], None, "one length"),
    ],
)
def test_wrong_input_is_refused(scores: Any, labels: Any, weights: Any, sentence: str) -> None:
    """Nothing wrong is counted silently."""
    with pytest.raises(ValueError, match=sentence):
        ScoreHistogram.from_scores(scores, labels, weights)


def test_unsorted_histogram_is_refused() -> None:
    """The constructor trusts nobody; from_counts sorts."""
    with pytest.raises(ValueError, match="ascending and unique"):
        ScoreHistogram(np.array([0.2, 0.1]), np.ones(2), np.ones(2))


def test_share_of_ceiling() -> None:
    """Half of the way from chance to the ceiling is one half."""
    assert metrics.share_of_ceiling(0.7, 0.9) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="knows nothing"):
        metrics.share_of_ceiling(0.7, 0.5)
