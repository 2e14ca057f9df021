"""When outcomes ask for a new model."""

from __future__ import annotations

from dataclasses import replace

from intent_spark.config.settings import EvaluationSettings
from intent_spark.feedback.decision import decide
from intent_spark.models.metrics import Metrics

LIMITS = EvaluationSettings(auc_drop=0.03, calibration_error=0.05)
LIVE = Metrics(
    users=100, positives=10, base_rate=0.1, mean_score=0.1, auc=0.8, pr_auc=0.4, log_loss=0.3, brier=0.1,
    calibration_error=0.01, top_decile_lift=3.0,
)  # fmt: skip


def test_a_model_that_holds() -> None:
    at_the_limits = replace(LIVE, calibration_error=0.05)
    assert decide(at_the_limits, LIVE, 0.82, LIMITS) == decide(LIVE, LIVE, 0.5, LIMITS)
    assert decide(LIVE, LIVE, 0.82, LIMITS).retrain is False
    assert decide(LIVE, LIVE, 0.82, LIMITS).reasons == []


def test_each_reason() -> None:
    fallen = decide(LIVE, LIVE, 0.84, LIMITS)
    assert (fallen.retrain, fallen.reasons) == (True, ["AUC fell from 0.8400 on validation to 0.8000"])
    wrong_rates = decide(replace(LIVE, calibration_error=0.0501), LIVE, 0.8, LIMITS)
    assert (wrong_rates.retrain, wrong_rates.reasons) == (True, ["calibration error 0.0501 is above 0.05"])
    no_use = decide(LIVE, replace(LIVE, log_loss=0.2999), 0.8, LIMITS)
    assert (no_use.retrain, no_use.reasons) == (True, ["log loss 0.3000 is worse than logistic regression's 0.2999"])


def test_reasons_add_up() -> None:
    bad = replace(LIVE, calibration_error=0.2, log_loss=1.0, auc=0.5)
    assert len(decide(bad, LIVE, 0.8, LIMITS).reasons) == 3
