"""Validation metrics exact over ranks: sums and histograms are reduced, then metrics computed once.

The log loss comes from sums over rows. The others read a histogram of calibrated probabilities in
``BINS`` equal bins; each bin stands for its mean, so only the order within a bin is lost.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from intent_spark.models.logistic import SumOverRanks, one_rank
from intent_spark.models.metrics import ScoreHistogram, summary

FloatArray = npt.NDArray[np.float64]
BINS = 1 << 14


def validation_metrics(
    scores: FloatArray, labels: FloatArray, weights: FloatArray, sum_over_ranks: SumOverRanks = one_rank
) -> dict[str, float]:
    """Metrics of all ranks' probabilities [n]; every rank returns the same."""
    histogram = _histogram(scores, labels, weights, sum_over_ranks)
    eps = np.finfo(np.float64).eps
    clipped = np.clip(scores, eps, 1.0 - eps)
    losses = -(labels * np.log(clipped) + (1.0 - labels) * np.log1p(-clipped))
    loss, weight = sum_over_ranks(np.array([weights @ losses, weights.sum()]))
    return summary(histogram).to_dict() | {"log_loss": float(loss / weight)}


def amount_metrics(
    logits: FloatArray, targets: FloatArray, weights: FloatArray, sum_over_ranks: SumOverRanks = one_rank
) -> dict[str, float]:
    """How far all ranks' logarithms of amounts [n] are off, apart from what all are off by, since they are to add up.

    The root mean square, and the share of the variance of ``targets`` that is explained.
    """
    errors = targets - logits
    sums = [weights.sum(), weights @ targets, weights @ targets**2, weights @ errors, weights @ errors**2]
    weight, first, second, off, squared = sum_over_ranks(np.array(sums))
    variance = second / weight - (first / weight) ** 2
    unexplained = max(squared / weight - (off / weight) ** 2, 0.0)
    explained = 1.0 - unexplained / variance if variance > 0 else 0.0
    return {"log_rmse": float(np.sqrt(unexplained)), "log_variance_explained": float(explained)}


def _histogram(
    scores: FloatArray, labels: FloatArray, weights: FloatArray, sum_over_ranks: SumOverRanks
) -> ScoreHistogram:
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    parts = (weights * labels, weights * (1.0 - labels), weights * scores)
    counted = np.stack([np.bincount(bins, part, minlength=BINS).astype(np.float64) for part in parts])
    positives, negatives, score_sum = sum_over_ranks(counted)
    kept = positives + negatives > 0
    mean = score_sum[kept] / (positives + negatives)[kept]
    return ScoreHistogram.from_counts(mean, positives[kept], negatives[kept])
