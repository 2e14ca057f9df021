"""A blend: log odds that are a weighted sum of the candidates' calibrated log odds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from intent_spark.models.logistic import FloatArray, Labelled, SumOverRanks, fit_logistic, one_rank


@dataclass(frozen=True)
class Blend:
    """Weights by candidate, none below 0 so that no candidate is turned against itself."""

    weights: dict[str, float]
    intercept: float

    def logits(self, calibrated: Mapping[str, FloatArray]) -> FloatArray:
        """Log odds float64 [n] of the candidates' calibrated ones, each [n]."""
        parts = [weight * calibrated[name] for name, weight in self.weights.items()]
        return np.asarray(np.sum(parts, axis=0) + self.intercept)

    def to_json(self) -> bytes:
        """JSON text of weights and intercept."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> Blend:
        """The blend that :meth:`to_json` wrote."""
        return cls(**json.loads(content))


def fit_blend(
    calibrated: Mapping[str, FloatArray],
    labels: FloatArray,
    weights: FloatArray,
    l2: float,
    sum_over_ranks: SumOverRanks = one_rank,
) -> Blend:
    """Logistic regression on calibrated log odds [n] with weights of at least 0, over all ranks' rows."""
    rows = Labelled(np.stack(list(calibrated.values()), axis=1), labels, weights)
    bounds = [(0.0, None)] * len(calibrated) + [(None, None)]
    model = fit_logistic(rows, l2, sum_over_ranks, bounds=bounds)
    return Blend(dict(zip(calibrated, model.coefficients.tolist(), strict=True)), model.intercept)
