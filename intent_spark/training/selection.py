"""Which candidate is the champion: calibration, the blend and the choice, on validation only and exact over ranks.

What is fitted on validation would flatter itself there. So users are cut into halves by a hash; calibrations and
blend are fitted on one half and judged on the other, both ways. The champion has the lowest log loss so measured.
Then calibrations and blend are fitted again on all of validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from intent_spark.config.errors import ContractError
from intent_spark.config.model import BLEND, ModelConfig
from intent_spark.models.blend import Blend, fit_blend
from intent_spark.models.calibration import FITS, IDENTITY, Calibration
from intent_spark.models.directory import CALIBRATED, CROSS_FITTED, UNCALIBRATED
from intent_spark.models.logistic import FloatArray, Labelled, mean_log_loss
from intent_spark.training.collective import Collective
from intent_spark.training.feed import Judged
from intent_spark.training.validation import validation_metrics

Logits = dict[str, FloatArray]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Selection:
    """The champion's name, and by candidate the calibration, the log odds before it [n] and the metrics.

    ``metrics`` has for each candidate the stages ``calibrated``, ``uncalibrated`` and, with the log loss that chose
    the champion, ``cross_fitted``.
    """

    champion: str
    calibrations: dict[str, Calibration]
    blend: Blend | None
    metrics: dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Validation rows of this rank that a fit or a judgement looks at."""

    logits: Mapping[str, FloatArray]
    labels: FloatArray
    weights: FloatArray

    def where(self, mask: Mask) -> _Rows:
        return _Rows({name: v[mask] for name, v in self.logits.items()}, self.labels[mask], self.weights[mask])


@dataclass(frozen=True, eq=False)
class _FittedOn:
    """Calibrations and, if wanted, the blend of some rows."""

    calibrations: dict[str, Calibration]
    blend: Blend | None

    def raw_and_calibrated(self, logits: Mapping[str, FloatArray]) -> tuple[Logits, Logits]:
        raw = dict(logits)
        calibrated = {name: self.calibrations[name].logits(values) for name, values in logits.items()}
        if self.blend:
            raw[BLEND] = calibrated[BLEND] = self.blend.logits(calibrated)
        return raw, calibrated


def select(
    logits: Mapping[str, FloatArray], validation: Judged, config: ModelConfig, with_blend: bool, collective: Collective
) -> Selection:
    """Calibrate, blend and choose; every rank returns the same. A tie goes to the candidate that is named first.

    Args:
        logits: log odds of this rank's validation rows [n], by candidate, simplest first.
        validation: these rows.
        config: which calibration, and the blend's penalty.
        with_blend: whether a blend of the candidates is one of them.
        collective: the ranks.

    Raises:
        ContractError: a candidate's log odds are not finite.
    """
    rows = _Rows(logits, validation.labels, validation.weights)
    _check_finite(rows, collective)
    losses = _cross_fitted_losses(rows, validation.buckets, config, with_blend, collective)
    final = _fit(rows, config, with_blend, collective)
    raw, calibrated = final.raw_and_calibrated(logits)

    def measured(values: FloatArray) -> dict[str, float]:
        return validation_metrics(np.asarray(expit(values)), rows.labels, rows.weights, collective.sum)

    metrics = {
        name: {
            CALIBRATED: measured(calibrated[name]),
            UNCALIBRATED: measured(raw[name]),
            CROSS_FITTED: {"log_loss": losses[name]},
        }
        for name in raw
    }
    calibrations = final.calibrations | ({BLEND: IDENTITY} if final.blend else {})
    return Selection(min(losses, key=losses.__getitem__), calibrations, final.blend, metrics)


def _check_finite(rows: _Rows, collective: Collective) -> None:
    counts = collective.sum(np.array([float((~np.isfinite(v)).sum()) for v in rows.logits.values()]))
    for name, count in zip(rows.logits, counts, strict=True):
        if count:
            raise ContractError(
                f"candidate {name} has no finite score for {count:.0f} validation rows: leave it out of "
                "model.candidates, and look at the features it reads."
            )


def _fit(rows: _Rows, config: ModelConfig, with_blend: bool, collective: Collective) -> _FittedOn:
    fit = FITS[config.calibration]
    calibrations = {name: fit(v, rows.labels, rows.weights, collective.sum) for name, v in rows.logits.items()}
    if not with_blend:
        return _FittedOn(calibrations, None)
    calibrated = {name: calibrations[name].logits(values) for name, values in rows.logits.items()}
    return _FittedOn(calibrations, fit_blend(calibrated, rows.labels, rows.weights, config.blend_l2, collective.sum))


def _cross_fitted_losses(
    rows: _Rows, buckets: npt.NDArray[np.uint8], config: ModelConfig, with_blend: bool, collective: Collective
) -> dict[str, float]:
    """Mean log loss of each candidate over all rows, each judged by what was fitted on the other half."""
    halves = _halves(rows, buckets, collective)
    losses: dict[str, float] = {}
    shares = collective.sum(np.array([rows.weights @ half for half in halves], np.float64))
    for fit_on, judge_on, share in zip(halves[::-1], halves, shares / shares.sum(), strict=True):
        judged = rows.where(judge_on)
        _, calibrated = _fit(rows.where(fit_on), config, with_blend, collective).raw_and_calibrated(judged.logits)
        for name, values in calibrated.items():
            loss = mean_log_loss(values, _labelled(judged), collective.sum)
            losses[name] = losses.get(name, 0.0) + float(share) * loss
    return losses


def _labelled(rows: _Rows) -> Labelled:
    return Labelled(np.zeros((len(rows.labels), 0)), rows.labels, rows.weights)


def _halves(rows: _Rows, buckets: npt.NDArray[np.uint8], collective: Collective) -> tuple[Mask, Mask]:
    """Both halves of the users; all rows twice, where validation is too small for both kinds of label in each half."""
    odd = buckets % 2 == 1
    kinds = [rows.weights @ (half & (rows.labels == kind)) for half in (odd, ~odd) for kind in (0, 1)]
    if collective.sum(np.array(kinds, np.float64)).min() > 0:
        return odd, ~odd
    return np.ones_like(odd), np.ones_like(odd)
