"""A small shop's scores, with calibrated truth and worse candidates beside it."""

from __future__ import annotations

import numpy as np
import pytest

from intent_spark.models.metrics import ScoreHistogram


@pytest.fixture(scope="session")
def histograms() -> dict[str, ScoreHistogram]:
    """Three candidates of 2,000 users: a model, a noisier one and the truth."""
    rng = np.random.default_rng(11)
    logit = rng.normal(-2.0, 1.3, 2000)
    labels = rng.random(2000) < 1 / (1 + np.exp(-logit))
    noise = {"intent model": 0.5, "logistic regression": 1.5, "ceiling: events so far": 0.0}
    return {
        name: ScoreHistogram.from_scores(1 / (1 + np.exp(-rng.normal(logit, spread))), labels)
        for name, spread in noise.items()
    }
