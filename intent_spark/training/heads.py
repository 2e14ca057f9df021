"""The second head: which network's it is, its calibration and how good it is, on validation only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.special import expit

from intent_spark.config.model import ModelConfig
from intent_spark.models.calibration import FITS
from intent_spark.models.directory import ChurnHead
from intent_spark.models.logistic import FloatArray
from intent_spark.training.collective import Collective
from intent_spark.training.feed import Judged
from intent_spark.training.fitting import Fitted
from intent_spark.training.validation import validation_metrics


def churn_head(
    fitted: Mapping[str, Fitted], validation: Judged, config: ModelConfig, collective: Collective
) -> ChurnHead | None:
    """Of the networks' heads the one with the lowest log loss after calibration; every rank returns the same.

    None where no network has such a head, or validation has not both those who came back and those who did not.
    """
    known = np.isfinite(validation.churned)
    labels, weights = validation.churned[known], validation.weights[known]
    kinds = collective.sum(np.array([weights @ (labels == kind) for kind in (0, 1)], np.float64))
    heads = {name: one.churn_logits[known] for name, one in fitted.items() if one.churn_logits is not None}
    if not heads or kinds.min() <= 0:
        return None
    judged = []
    for name, logits in heads.items():
        calibration = FITS[config.calibration](logits, labels, weights, collective.sum)
        probabilities = np.asarray(expit(calibration.logits(logits)))
        metrics = validation_metrics(probabilities, labels, weights, collective.sum)
        judged.append(ChurnHead(name, calibration, metrics))
    return min(judged, key=lambda head: head.metrics["log_loss"])


def recalibrated_head(
    head: ChurnHead, logits: FloatArray, validation: Judged, config: ModelConfig, collective: Collective
) -> ChurnHead:
    """The same network's head with the calibration of other log odds [n] of validation; its metrics stay."""
    known = np.isfinite(validation.churned)
    labels, weights = validation.churned[known], validation.weights[known]
    return replace(head, calibration=FITS[config.calibration](logits[known], labels, weights, collective.sum))
