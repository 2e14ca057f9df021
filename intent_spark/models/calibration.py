"""Platt scaling: ``sigmoid(slope * logit + intercept)``, fitted on validation only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from intent_spark.models.logistic import FloatArray, Labelled, SumOverRanks, fit_logistic, one_rank

# Keeps the slope finite where validation is separated perfectly; too small to move it elsewhere.
_RIDGE = 1e-6


@dataclass(frozen=True)
class PlattScaling:
    """Platt (Advances in Large Margin Classifiers, 1999), without his smoothed targets."""

    slope: float
    intercept: float

    def probabilities(self, logits: FloatArray) -> FloatArray:
        """Calibrated probabilities float64 [n] of logits [n]."""
        return np.asarray(expit(self.slope * logits + self.intercept))


IDENTITY = PlattScaling(1.0, 0.0)


def fit_platt(
    logits: FloatArray, labels: FloatArray, weights: FloatArray, sum_over_ranks: SumOverRanks = one_rank
) -> PlattScaling:
    """Fit on all ranks' rows [n]; identity where a slope below 0 would turn the ranking round."""
    model = fit_logistic(Labelled(logits[:, None], labels, weights), _RIDGE, sum_over_ranks)
    slope = float(model.coefficients[0])
    return PlattScaling(slope, model.intercept) if slope > 0 else IDENTITY
