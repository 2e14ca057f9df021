"""When outcomes ask for a new model."""

from __future__ import annotations

from dataclasses import dataclass

from intent_spark.config.settings import EvaluationSettings
from intent_spark.models.metrics import Metrics


@dataclass(frozen=True)
class Decision:
    """Whether to retrain, and why."""

    retrain: bool
    reasons: list[str]


def decide(model: Metrics, logistic: Metrics | None, validation_auc: float, limits: EvaluationSettings) -> Decision:
    """Ask for a new model where the live one ranks worse than on validation, says wrong rates, or is no use.

    Args:
        model: the live model's calibrated scores against what happened.
        logistic: logistic regression on the same users, where it stands beside the model.
        validation_auc: what the model reached when it was trained.
        limits: how much is too much.
    """
    reasons = []
    if validation_auc - model.auc > limits.auc_drop:
        reasons.append(f"AUC fell from {validation_auc:.4f} on validation to {model.auc:.4f}")
    if model.calibration_error > limits.calibration_error:
        reasons.append(f"calibration error {model.calibration_error:.4f} is above {limits.calibration_error}")
    if logistic and model.log_loss > logistic.log_loss:
        reasons.append(f"log loss {model.log_loss:.4f} is worse than logistic regression's {logistic.log_loss:.4f}")
    return Decision(bool(reasons), reasons)
