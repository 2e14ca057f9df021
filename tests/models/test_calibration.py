"""Temperature and isotonic calibration; Platt's is tested with logistic regression, which fits it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from intent_spark.models.calibration import (
    IDENTITY,
    Isotonic,
    PlattScaling,
    calibration_from,
    fit_isotonic,
    fit_temperature,
    probabilities,
)
from tests.models.lockstep import ThreadRank, in_lockstep

RANDOM = np.random.default_rng(0)
LOGITS = RANDOM.normal(-1, 2, 6000)
LABELS = (RANDOM.random(6000) < expit(LOGITS / 2)).astype(np.float64)
WEIGHTS = RANDOM.integers(1, 3, 6000).astype(np.float64)


def test_temperature_scales_and_does_not_shift() -> None:
    found = fit_temperature(LOGITS, LABELS, WEIGHTS)
    assert found.slope == pytest.approx(0.5, abs=0.05)
    assert found.intercept == 0.0
    assert fit_temperature(-LOGITS, LABELS, WEIGHTS) == IDENTITY


def test_isotonic_levels_are_those_of_sklearn() -> None:
    found = fit_isotonic(LOGITS, LABELS, WEIGHTS)
    binned = np.floor(expit(LOGITS) * (1 << 14))
    theirs = IsotonicRegression().fit(binned, LABELS, WEIGHTS).predict(binned)
    inside = np.array(found.observed)[1:-1]
    np.testing.assert_allclose(inside, np.unique(theirs.round(12))[1:-1], rtol=1e-9)
    assert (np.diff(found.observed) > 0).all()
    assert (np.diff(found.predicted) > 0).all()


def test_isotonic_keeps_the_order_and_is_never_certain() -> None:
    found = fit_isotonic(LOGITS, LABELS, WEIGHTS)
    far = np.array([-50.0, *np.sort(LOGITS), 50.0])
    score = probabilities(found, far)
    assert (np.diff(score) >= 0).all()
    assert 0 < score[0] < score[-1] < 1
    assert np.average(probabilities(found, LOGITS), weights=WEIGHTS) == pytest.approx(
        np.average(LABELS, weights=WEIGHTS), abs=0.01
    )
    separated = fit_isotonic(np.array([-1.0, 1.0]), np.array([0.0, 1.0]), np.ones(2))
    assert np.isfinite(separated.logits(np.array([-2.0, 0.0, 2.0]))).all()


def test_isotonic_is_the_same_over_ranks() -> None:
    def fit(part: slice, rank: ThreadRank) -> Isotonic:
        return fit_isotonic(LOGITS[part], LABELS[part], WEIGHTS[part], rank.sum)

    whole = fit_isotonic(LOGITS, LABELS, WEIGHTS)
    one, other = in_lockstep(fit, [slice(0, 2000), slice(2000, None)])
    assert one == other
    assert one.observed == pytest.approx(whole.observed)
    assert one.predicted == pytest.approx(whole.predicted)


@pytest.mark.parametrize("calibration", [PlattScaling(0.5, 1.0), Isotonic((0.1, 0.5), (0.2, 0.4))])
def test_what_is_written_is_read(calibration: PlattScaling | Isotonic) -> None:
    assert calibration_from(calibration.to_tree()) == calibration
