"""Linear regression whose penalty the data tell, exact over any number of ranks: only moments are summed.

Noise and coefficients are normal; their precisions are those that make the targets likeliest (MacKay, Bayesian
Interpolation, Neural Computation 1992), found by his fixed point: no row is held back to find a penalty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from intent_spark.models.logistic import FloatArray, Labelled, SumOverRanks, one_rank

ITERATIONS, CLOSE_ENOUGH = 300, 1e-6


@dataclass(frozen=True, eq=False)
class Linear:
    """Coefficients float64 [f] and intercept."""

    coefficients: FloatArray
    intercept: float


def fit_bayesian_ridge(rows: Labelled, sum_over_ranks: SumOverRanks = one_rank) -> Linear:
    """Fit on all ranks' rows, whose labels may be any numbers; every rank returns the same.

    A rank may have no row; all ranks together must have one that weighs something.
    """
    columns = np.column_stack([rows.inputs.astype(np.float64), rows.labels, np.ones(len(rows.labels))])
    moments = sum_over_ranks(columns.T @ (columns * rows.weights[:, None]))
    total, means = float(moments[-1, -1]), moments[:-1, -1] / moments[-1, -1]
    centred = moments[:-1, :-1] - total * np.outer(means, means)
    coefficients = _coefficients(centred[:-1, :-1], centred[:-1, -1], float(centred[-1, -1]), total)
    return Linear(coefficients, float(means[-1] - means[:-1] @ coefficients))


def _coefficients(inputs: FloatArray, both: FloatArray, targets: float, total: float) -> FloatArray:
    """From centred sums of squares and products: of the inputs [f, f], of inputs and targets [f], of the targets."""
    sizes, axes = np.linalg.eigh(inputs)
    sizes, turned = np.maximum(sizes, 0.0), axes.T @ both
    # The penalty is the precision of the coefficients over that of the noise.
    penalty, found = float(len(both)), np.zeros(len(both))
    for _ in range(ITERATIONS):
        found = turned / (sizes + penalty)
        determined = float((sizes / (sizes + penalty)).sum())
        unexplained = max(float(targets - 2.0 * found @ turned + found @ (sizes * found)), 0.0)
        noise, signal = unexplained / max(total - determined, 1.0), float(found @ found)
        if signal <= 0.0 or noise <= 0.0:
            break
        before, penalty = penalty, noise * determined / signal
        if abs(penalty - before) <= CLOSE_ENOUGH * before:
            break
    return np.asarray(axes @ found)
