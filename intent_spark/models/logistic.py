"""Logistic regression by L-BFGS, exact over any number of ranks: only objective and gradient are summed.

Minimises ``sum_i w_i log(1 + exp(-s_i z_i)) / sum_i w_i + l2 / 2 |coefficients|^2`` with ``s_i = ±1`` and
``z = x coefficients + intercept``; the intercept is not penalised. scikit-learn's ``C`` is
``1 / (l2 sum_i w_i)``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

FloatArray = npt.NDArray[np.float64]
SumOverRanks = Callable[[FloatArray], FloatArray]
Bounds = tuple[float | None, float | None]


def one_rank(values: FloatArray) -> FloatArray:
    """The sum over ranks where there is one."""
    return values


@dataclass(frozen=True, eq=False)
class Labelled:
    """This rank's rows: inputs float [n, f], labels (0 or 1) and weights float64 [n]."""

    inputs: npt.NDArray[np.floating[Any]]
    labels: FloatArray
    weights: FloatArray


@dataclass(frozen=True, eq=False)
class LogisticModel:
    """Coefficients float64 [f], intercept, and the penalty they were fitted with."""

    coefficients: FloatArray
    intercept: float
    l2: float

    def logits(self, inputs: npt.NDArray[np.floating[Any]]) -> FloatArray:
        """Log odds float64 [n] of inputs [n, f]."""
        return inputs.astype(np.float64) @ self.coefficients + self.intercept

    def to_json(self, names: list[str]) -> bytes:
        """JSON text that names each coefficient."""
        named = dict(zip(names, self.coefficients.tolist(), strict=True))
        tree = {"l2": self.l2, "intercept": self.intercept, "coefficients": named}
        return (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> LogisticModel:
        """The model that :meth:`to_json` wrote."""
        tree = json.loads(content)
        coefficients = np.array(list(tree["coefficients"].values()), np.float64)
        return cls(coefficients, tree["intercept"], tree["l2"])


def fit_logistic(
    rows: Labelled,
    l2: float,
    sum_over_ranks: SumOverRanks = one_rank,
    start: LogisticModel | None = None,
    bounds: Sequence[Bounds] | None = None,
) -> LogisticModel:
    """Fit on all ranks' rows; every rank returns the same model, a rank may have no row.

    ``bounds`` are the lowest and highest value of each coefficient and, last, of the intercept.
    """
    inputs = rows.inputs.astype(np.float64)
    total = float(sum_over_ranks(np.array([rows.weights.sum()]))[0])

    def objective(point: FloatArray) -> tuple[float, FloatArray]:
        local = _loss_and_gradient(point, inputs, rows.labels, rows.weights)
        summed = sum_over_ranks(local) / total
        coefficients = point[:-1]
        gradient = summed[1:] + np.append(l2 * coefficients, 0.0)
        return float(summed[0] + l2 / 2 * coefficients @ coefficients), gradient

    first = np.zeros(inputs.shape[1] + 1) if start is None else np.append(start.coefficients, start.intercept)
    options = {"maxiter": 1000, "maxcor": 30, "ftol": 1e-12, "gtol": 1e-7}
    best = minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return LogisticModel(best[:-1], float(best[-1]), l2)


def pick_logistic(
    train: Labelled, validation: Labelled, strengths: Sequence[float], sum_over_ranks: SumOverRanks = one_rank
) -> tuple[LogisticModel, float]:
    """The model of the strength with the lowest validation log loss (the stronger on a tie); that loss."""
    best: tuple[LogisticModel, float] | None = None
    model: LogisticModel | None = None
    for l2 in sorted(strengths, reverse=True):
        model = fit_logistic(train, l2, sum_over_ranks, model)
        loss = mean_log_loss(model.logits(validation.inputs), validation, sum_over_ranks)
        if best is None or loss < best[1]:
            best = (model, loss)
    if best is None:
        raise ValueError("No penalty strength was given.")
    return best


def mean_log_loss(logits: FloatArray, rows: Labelled, sum_over_ranks: SumOverRanks = one_rank) -> float:
    """Weighted mean log loss over all ranks' rows, from logits: finite where a probability would be 0."""
    losses = log_losses(logits, rows.labels)
    loss, weight = sum_over_ranks(np.array([rows.weights @ losses, rows.weights.sum()]))
    return float(loss / weight)


def log_losses(logits: FloatArray, labels: FloatArray) -> FloatArray:
    """Log loss of each row [n]."""
    # A diverged network's NaN is the caller's to judge: the loss is NaN then, without a warning.
    with np.errstate(invalid="ignore"):
        return np.asarray(np.logaddexp(0.0, logits) - labels * logits)


def _loss_and_gradient(point: FloatArray, inputs: FloatArray, labels: FloatArray, weights: FloatArray) -> FloatArray:
    logits = inputs @ point[:-1] + point[-1]
    loss = weights @ (np.logaddexp(0.0, logits) - labels * logits)
    residual = weights * (expit(logits) - labels)
    return np.concatenate([[loss], residual @ inputs, [residual.sum()]])
