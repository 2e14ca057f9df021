from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from intent_spark.training.validation import validation_metrics


def test_equals_sklearn_and_does_not_depend_on_the_ranks() -> None:
    random = np.random.default_rng(0)
    scores = random.beta(1, 8, 4000)
    labels = (random.random(4000) < scores).astype(np.float64)
    weights = random.integers(1, 4, 4000).astype(np.float64)
    whole = validation_metrics(scores, labels, weights)
    assert whole["log_loss"] == pytest.approx(log_loss(labels, scores, sample_weight=weights), abs=1e-12)
    assert whole["auc"] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-3)

    other = iter(_sums_of(scores[1500:], labels[1500:], weights[1500:]))
    first = validation_metrics(scores[:1500], labels[:1500], weights[:1500], lambda own: own + next(other))
    assert first == pytest.approx(whole, rel=1e-12)


def _sums_of(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
    seen: list[np.ndarray] = []

    def record(own: np.ndarray) -> np.ndarray:
        seen.append(own)
        return own

    validation_metrics(scores, labels, weights, record)
    return seen
