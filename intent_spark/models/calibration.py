"""From a candidate's logits to calibrated ones, fitted on validation only and exact over ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import expit, logit

from intent_spark.models.logistic import FloatArray, Labelled, SumOverRanks, fit_logistic, one_rank

# Keeps the slope finite where validation is separated perfectly; too small to move it elsewhere.
_RIDGE = 1e-6
# Probabilities are told apart to this many equal bins when isotonic regression counts them.
_BINS = 1 << 14


class Calibration(Protocol):
    """A map of logits that does not turn their order round."""

    def logits(self, logits: FloatArray) -> FloatArray:
        """Calibrated log odds float64 [n] of logits [n]."""

    def to_tree(self) -> dict[str, Any]:
        """The fitted numbers, JSON-able."""


def probabilities(calibration: Calibration, logits: FloatArray) -> FloatArray:
    """Calibrated probabilities float64 [n] of logits [n]."""
    return np.asarray(expit(calibration.logits(logits)))


@dataclass(frozen=True)
class PlattScaling:
    """``slope * logit + intercept``: Platt (Advances in Large Margin Classifiers, 1999), without smoothed targets.

    Temperature scaling (Guo et al., On Calibration of Modern Neural Networks, 2017) is its case without intercept.
    """

    slope: float
    intercept: float

    def logits(self, logits: FloatArray) -> FloatArray:
        """Calibrated log odds float64 [n] of logits [n]."""
        return np.asarray(self.slope * logits + self.intercept)

    def to_tree(self) -> dict[str, Any]:
        """The fitted numbers, JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class Isotonic:
    """Straight lines between (predicted, observed) probabilities, both ascending (Zadrozny and Elkan, 2002)."""

    predicted: tuple[float, ...]
    observed: tuple[float, ...]

    def logits(self, logits: FloatArray) -> FloatArray:
        """Calibrated log odds float64 [n] of logits [n]."""
        return np.asarray(logit(np.interp(expit(logits), self.predicted, self.observed)))

    def to_tree(self) -> dict[str, Any]:
        """The fitted numbers, JSON-able."""
        return asdict(self)


@dataclass(frozen=True)
class Smearing:
    """A predicted logarithm, held to what is usual, and a constant: Duan, Smearing Estimate, JASA 1983.

    The exponential of a mean logarithm is less than the mean; ``shift`` makes up for it. ``lowest`` and ``highest``
    keep one odd user's prediction from being larger than all others' together.
    """

    shift: float
    lowest: float
    highest: float

    def logits(self, logits: FloatArray) -> FloatArray:
        """Logarithms of amounts float64 [n] of predicted ones [n]."""
        return np.asarray(np.clip(logits, self.lowest, self.highest) + self.shift)

    def to_tree(self) -> dict[str, Any]:
        """The fitted numbers, JSON-able."""
        return asdict(self)


IDENTITY = PlattScaling(1.0, 0.0)
Fit = Callable[[FloatArray, FloatArray, FloatArray, SumOverRanks], Calibration]


def fit_platt(
    logits: FloatArray, labels: FloatArray, weights: FloatArray, sum_over_ranks: SumOverRanks = one_rank
) -> PlattScaling:
    """Fit on all ranks' rows [n]; identity where a slope below 0 would turn the ranking round."""
    model = fit_logistic(Labelled(logits[:, None], labels, weights), _RIDGE, sum_over_ranks)
    slope = float(model.coefficients[0])
    return PlattScaling(slope, model.intercept) if slope > 0 else IDENTITY


def fit_temperature(
    logits: FloatArray, labels: FloatArray, weights: FloatArray, sum_over_ranks: SumOverRanks = one_rank
) -> PlattScaling:
    """One factor for all logits; identity where it would turn the ranking round."""
    rows = Labelled(logits[:, None], labels, weights)
    model = fit_logistic(rows, _RIDGE, sum_over_ranks, bounds=[(None, None), (0.0, 0.0)])
    slope = float(model.coefficients[0])
    return PlattScaling(slope, 0.0) if slope > 0 else IDENTITY


def fit_isotonic(
    logits: FloatArray, labels: FloatArray, weights: FloatArray, sum_over_ranks: SumOverRanks = one_rank
) -> Isotonic:
    """Isotonic regression of the summed counts; never 0 or 1, which one surprise would make infinitely wrong."""
    scores = expit(logits)
    bins = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    parts = (weights, weights * labels, weights * scores)
    counted = np.stack([np.bincount(bins, part, minlength=_BINS).astype(np.float64) for part in parts])
    total, positives, score_sum = sum_over_ranks(counted)
    kept = total > 0
    total, positives, score_sum = total[kept], positives[kept], score_sum[kept]
    starts = isotonic_regression(positives / total, weights=total).blocks[:-1]
    weight, bought, score = (np.add.reduceat(part, starts) for part in (total, positives, score_sum))
    lowest = 0.5 / (total.sum() + 1.0)
    observed = np.clip(bought / weight, lowest, 1.0 - lowest)
    return Isotonic(tuple((score / weight).tolist()), tuple(observed.tolist()))


def fit_smearing(
    logits: FloatArray, targets: FloatArray, weights: FloatArray, sum_over_ranks: SumOverRanks = one_rank
) -> Smearing:
    """Fit on all ranks' rows, so that predicted amounts add up to those whose logarithms are ``targets`` [n].

    A target that is NaN is an amount of 0. Usual is what lies within four standard deviations of the mean logarithm.
    """
    told = np.isfinite(targets)
    known, those = targets[told], weights[told]
    weight, first, second = sum_over_ranks(np.array([those.sum(), those @ known, those @ known**2]))
    mean = first / weight
    reach = 4.0 * np.sqrt(max(second / weight - mean**2, 0.0))
    unshifted = Smearing(0.0, float(mean - reach), float(mean + reach))
    sums = [those @ np.exp(known), weights @ np.exp(unshifted.logits(logits))]
    spent, predicted = sum_over_ranks(np.array(sums, np.float64))
    return replace(unshifted, shift=float(np.log(spent / predicted)))


FITS: dict[str, Fit] = {"platt": fit_platt, "temperature": fit_temperature, "isotonic": fit_isotonic}


def calibration_from(tree: dict[str, Any]) -> Calibration:
    """The calibration that :meth:`Calibration.to_tree` wrote."""
    if "slope" in tree:
        return PlattScaling(**tree)
    if "shift" in tree:
        return Smearing(**tree)
    return Isotonic(tuple(tree["predicted"]), tuple(tree["observed"]))
