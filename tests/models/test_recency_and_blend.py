from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from intent_spark.models.blend import Blend, fit_blend
from intent_spark.models.encode import Encoded
from intent_spark.models.recency import Recency, fit_recency, recency_feature
from intent_spark.models.schema import FeatureSchema, NumericFeature

SCHEMA = FeatureSchema(
    (NumericFeature("n_7d", 0.0, 1.0), NumericFeature("days_since_purchase", 3.0, 1.5, True)), (), (), 4
)


def encoded(days: np.ndarray) -> Encoded:
    """Profiles whose last purchase was so many days ago, NaN for never."""
    scaled = np.nan_to_num((np.log1p(days) - 3.0) / 1.5)
    numeric = np.stack([np.zeros(len(days)), scaled, np.isnan(days)], axis=1)
    return Encoded(numeric.astype(np.float32), {}, np.zeros(len(days) + 1, np.int64))


def buyers(days: np.ndarray, sign: float) -> np.ndarray:
    odds = np.where(np.isnan(days), -2.0, sign * (np.log1p(np.nan_to_num(days)) - 2.0))
    return (np.random.default_rng(1).random(len(days)) < 1 / (1 + np.exp(-odds))).astype(np.float64)


DAYS = np.where(np.random.default_rng(0).random(5000) < 0.2, np.nan, np.random.default_rng(2).uniform(0, 90, 5000))


def test_recency_falls_with_the_days() -> None:
    model = fit_recency(encoded(DAYS), SCHEMA, buyers(DAYS, -1.0), np.ones(5000))
    found = model.logits(encoded(np.array([0.0, 5.0, 30.0, 90.0, np.nan])), SCHEMA)
    assert (np.diff(found[:4]) < 0).all()
    assert found == pytest.approx([2.0, 2 - np.log(6), 2 - np.log(31), 2 - np.log(91), -2.0], abs=0.2)
    again = Recency.from_json(model.to_json())
    assert again.feature == "days_since_purchase"
    np.testing.assert_array_equal(again.logits(encoded(DAYS), SCHEMA), model.logits(encoded(DAYS), SCHEMA))


def test_recency_never_rises() -> None:
    model = fit_recency(encoded(DAYS), SCHEMA, buyers(DAYS, 1.0), np.ones(5000))
    assert np.ptp(model.logits(encoded(np.array([0.0, 5.0, 90.0])), SCHEMA)) == 0.0


def test_the_last_event_comes_before_the_last_purchase() -> None:
    event = NumericFeature("days_since_event", 0.0, 1.0)
    assert recency_feature(FeatureSchema((*SCHEMA.numeric, event), (), (), 4)) == "days_since_event"
    assert recency_feature(SCHEMA) == "days_since_purchase"
    assert recency_feature(FeatureSchema(SCHEMA.numeric[:1], (), (), 4)) is None


def test_a_blend_is_the_best_sum_with_weights_of_at_least_0() -> None:
    random = np.random.default_rng(4)
    truth = random.normal(-1, 1.5, 4000)
    labels = (random.random(4000) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    weights = random.integers(1, 3, 4000).astype(np.float64)
    parts = {"one": truth + random.normal(0, 1, 4000), "other": truth + random.normal(0, 2, 4000), "wrong": -truth / 3}
    blend = fit_blend(parts, labels, weights, 0.01)

    def loss(point: np.ndarray) -> float:
        odds = sum(w * v for w, v in zip(point, parts.values(), strict=False)) + point[-1]
        mean = np.average(np.logaddexp(0, odds) - labels * odds, weights=weights)
        return float(mean + 0.005 * point[:-1] @ point[:-1])

    expected = minimize(
        loss,
        np.array([0.3, 0.3, 0.3, 0.0]),
        method="SLSQP",
        bounds=[(0, None)] * 3 + [(None, None)],
        options={"ftol": 1e-12},
    )
    assert [*blend.weights.values(), blend.intercept] == pytest.approx(expected.x, abs=1e-3)
    assert blend.weights["wrong"] == 0.0 < blend.weights["other"] < blend.weights["one"]
    assert Blend.from_json(blend.to_json()) == blend
    by_hand = sum(blend.weights[name] * parts[name] for name in parts) + blend.intercept
    np.testing.assert_allclose(blend.logits(parts), by_hand)
