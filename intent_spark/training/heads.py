"""The further heads: what they begin as; on validation only, whose are taken, how calibrated and how good they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from intent_spark.config.heads import HEADS, Head
from intent_spark.config.model import ModelConfig
from intent_spark.models.bayesian_ridge import Linear, fit_bayesian_ridge
from intent_spark.models.calibration import FITS, Calibration, fit_smearing
from intent_spark.models.directory import FurtherHead
from intent_spark.models.logistic import FloatArray, Labelled, SumOverRanks, fit_logistic
from intent_spark.training.collective import Collective
from intent_spark.training.feed import Judged, Share
from intent_spark.training.validation import amount_metrics, validation_metrics

# Logits [n] of a network's further heads, by the head's name.
HeadLogits = Mapping[str, FloatArray]
JUDGED_BY = {"chance": "log_loss", "amount": "log_rmse"}


@dataclass(frozen=True, eq=False)
class Known:
    """This rank's rows that one head is about: which they are, bool [n], their targets and weights float64 [k].

    A chance is about those whose label is known, an amount about all buyers; what one without an amount had is NaN.
    """

    head: Head
    rows: npt.NDArray[np.bool_]
    targets: FloatArray
    weights: FloatArray

    @classmethod
    def of(cls, head: Head, judged: Judged | Share) -> Known:
        """Those of a share, or of rows that scores are judged on."""
        targets = judged.targets[:, HEADS.index(head)]
        rows = np.isfinite(targets) if head.kind == "chance" else judged.labels > 0
        return cls(head, rows, targets[rows], judged.weights[rows])

    @property
    def told(self) -> Known:
        """Those of them whose target is known."""
        finite = np.isfinite(self.targets)
        rows = self.rows.copy()
        rows[self.rows] = finite
        return Known(self.head, rows, self.targets[finite], self.weights[finite])

    def suffice(self, total: SumOverRanks) -> bool:
        """Whether all ranks together have targets; of a chance both of who did and of who did not."""
        kinds = [self.targets == 0, self.targets == 1] if self.head.kind == "chance" else [np.isfinite(self.targets)]
        return bool(total(np.array([self.weights @ kind for kind in kinds], np.float64)).min() > 0)

    def calibration(self, logits: FloatArray, config: ModelConfig, total: SumOverRanks) -> Calibration:
        """The map of a head's logits [n], fitted on these rows."""
        fit: Callable[..., Calibration] = FITS[config.calibration] if self.head.kind == "chance" else fit_smearing
        return fit(logits[self.rows], self.targets, self.weights, total)

    def metrics(self, logits: FloatArray, total: SumOverRanks) -> dict[str, float]:
        """How good calibrated logits [n] are, where the target is known."""
        told = self.told
        known = told.targets, told.weights, total
        if self.head.kind == "chance":
            return validation_metrics(np.asarray(expit(logits[told.rows])), *known)
        return amount_metrics(logits[told.rows], *known)


def head_start(head: Head, train: Share, l2: float, total: SumOverRanks) -> Linear | None:
    """What a head begins as: a linear model of its target; None where the rows do not tell enough of it.

    ``l2`` is the penalty that was found best for purchases; a chance takes it over.
    """
    told = Known.of(head, train).told
    if not told.suffice(total):
        return None
    rows = Labelled(train.encoded.numeric[told.rows], told.targets, told.weights)
    if head.kind == "chance":
        fitted = fit_logistic(rows, l2, total)
        return Linear(fitted.coefficients, fitted.intercept)
    return fit_bayesian_ridge(rows, total)


def best_heads(
    found: Mapping[str, HeadLogits], validation: Judged, config: ModelConfig, collective: Collective
) -> dict[str, FurtherHead]:
    """Of each head the best network's, after calibration; every rank returns the same.

    Those that no network has, or whose targets validation does not know enough of, are left out.

    Args:
        found: the logits of validation's rows, by network.
    """
    best: dict[str, FurtherHead] = {}
    for head in HEADS:
        heads = {name: logits[head.name] for name, logits in found.items() if head.name in logits}
        known = Known.of(head, validation)
        if heads and known.suffice(collective.sum):
            judged = [_judged(name, logits, known, config, collective.sum) for name, logits in heads.items()]
            best[head.name] = min(judged, key=lambda one, by=JUDGED_BY[head.kind]: one.metrics[by])  # type: ignore[misc]
    return best


def _judged(name: str, logits: FloatArray, known: Known, config: ModelConfig, total: SumOverRanks) -> FurtherHead:
    calibration = known.calibration(logits, config, total)
    return FurtherHead(name, calibration, known.metrics(calibration.logits(logits), total))


def recalibrated_heads(
    heads: Mapping[str, FurtherHead], logits: HeadLogits, validation: Judged, config: ModelConfig, total: SumOverRanks
) -> dict[str, FurtherHead]:
    """The same networks' heads with the calibrations of other logits of validation, where there are; the rest stays."""
    known = {head.name: Known.of(head, validation) for head in HEADS if head.name in logits}
    again = {name: one.calibration(logits[name], config, total) for name, one in known.items()}
    return {name: replace(head, calibration=again.get(name, head.calibration)) for name, head in heads.items()}
