"""Which candidate is the champion: calibration, the blend and the choice, on validation only and exact over ranks.

What is fitted on validation would flatter itself there. So users are cut into halves by a hash; calibrations and
blend are fitted on one half and judged on the other, both ways. Of the candidates whose log loss so measured is within
one standard error of the lowest (of the difference, user by user: Breiman et al., CART, 1984, section 3.4.3, paired),
the champion is the blend, since an average is no lucky winner, else the simplest. Then calibrations and blend are
fitted again on all of validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from intent_spark.config.errors import ContractError
from intent_spark.config.model import BLEND, ModelConfig
from intent_spark.models.blend import Blend, fit_blend
from intent_spark.models.calibration import FITS, IDENTITY, Calibration
from intent_spark.models.directory import CALIBRATED, CROSS_FITTED, UNCALIBRATED
from intent_spark.models.logistic import FloatArray, SumOverRanks, log_losses
from intent_spark.training.collective import Collective
from intent_spark.training.feed import Judged
from intent_spark.training.validation import validation_metrics

Logits = dict[str, FloatArray]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Selection:
    """The champion's name, and by candidate the calibration, the log odds before it [n] and the metrics.

    ``metrics`` has for each candidate the stages ``calibrated``, ``uncalibrated`` and, with the log loss that chose
    the champion and the standard error of its distance to the lowest, ``cross_fitted``. ``losses`` are the cross-fitted
    log losses of this rank's validation rows [n], by candidate.
    """

    champion: str
    calibrations: dict[str, Calibration]
    blend: Blend | None
    metrics: dict[str, dict[str, dict[str, float]]]
    losses: dict[str, FloatArray]


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

    @property
    def with_blend(self) -> dict[str, Calibration]:
        """The calibration of each candidate; the blend, being fitted itself, needs none."""
        return self.calibrations | ({BLEND: IDENTITY} if self.blend else {})

    def raw_and_calibrated(self, logits: Mapping[str, FloatArray]) -> tuple[Logits, Logits]:
        raw = dict(logits)
        calibrated = {name: self.calibrations[name].logits(values) for name, values in logits.items()}
        if self.blend:
            raw[BLEND] = calibrated[BLEND] = self.blend.logits(calibrated)
        return raw, calibrated


def select(
    logits: Mapping[str, FloatArray], validation: Judged, config: ModelConfig, with_blend: bool, collective: Collective
) -> Selection:
    """Calibrate, blend and choose; every rank returns the same but for its own rows' losses.

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
    means, errors = _means_and_errors(losses, rows.weights, collective.sum)
    final = _fit(rows, config, with_blend, collective)
    raw, calibrated = final.raw_and_calibrated(logits)

    def measured(values: FloatArray) -> dict[str, float]:
        return validation_metrics(np.asarray(expit(values)), rows.labels, rows.weights, collective.sum)

    metrics = {
        name: {
            CALIBRATED: measured(calibrated[name]),
            UNCALIBRATED: measured(raw[name]),
            CROSS_FITTED: {"log_loss": means[name], "standard_error": errors[name]},
        }
        for name in raw
    }
    return Selection(_choose(means, errors), final.with_blend, final.blend, metrics, losses)


def _choose(means: Mapping[str, float], errors: Mapping[str, float]) -> str:
    """The blend or else the first, simplest, of the candidates that are no more than an error above the lowest."""
    lowest = min(means.values())
    close = [name for name, mean in means.items() if mean - lowest <= errors[name]]
    return BLEND if BLEND in close else close[0]


def _means_and_errors(
    losses: Mapping[str, FloatArray], weights: FloatArray, total: SumOverRanks
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean loss of each candidate over all ranks' rows, and the standard error of its distance to the lowest mean."""
    names = list(losses)
    weight = total(np.array([weights.sum(), weights @ weights]))
    means = total(np.array([weights @ losses[name] for name in names])) / weight[0]
    best = losses[names[int(np.argmin(means))]]
    apart = [losses[name] - best - (mean - means.min()) for name, mean in zip(names, means, strict=True)]
    squares = total(np.array([weights**2 @ one**2 for one in apart]))
    errors = np.sqrt(squares) / weight[0]
    return dict(zip(names, means.tolist(), strict=True)), dict(zip(names, errors.tolist(), strict=True))


def recalibrated(
    chosen: Selection, logits: Mapping[str, FloatArray], validation: Judged, config: ModelConfig, collective: Collective
) -> Selection:
    """The same champion and metrics, with calibrations and blend of other log odds of the validation rows [n].

    Raises:
        ContractError: a candidate's log odds are not finite.
    """
    rows = _Rows(logits, validation.labels, validation.weights)
    _check_finite(rows, collective)
    final = _fit(rows, config, chosen.blend is not None, collective)
    return replace(chosen, calibrations=final.with_blend, blend=final.blend)


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
) -> dict[str, FloatArray]:
    """Log loss of each of this rank's rows [n] by candidate, judged by what was fitted on the other half."""
    halves = _halves(rows, buckets, collective)
    losses: dict[str, FloatArray] = {}
    for fit_on, judge_on in zip(halves[::-1], halves, strict=True):
        judged = rows.where(judge_on)
        _, calibrated = _fit(rows.where(fit_on), config, with_blend, collective).raw_and_calibrated(judged.logits)
        for name, values in calibrated.items():
            losses.setdefault(name, np.zeros(len(rows.labels)))[judge_on] = log_losses(values, judged.labels)
    return losses


def _halves(rows: _Rows, buckets: npt.NDArray[np.uint8], collective: Collective) -> tuple[Mask, Mask]:
    """Both halves of the users; all rows twice, where validation is too small for both kinds of label in each half."""
    odd = buckets % 2 == 1
    kinds = [rows.weights @ (half & (rows.labels == kind)) for half in (odd, ~odd) for kind in (0, 1)]
    if collective.sum(np.array(kinds, np.float64)).min() > 0:
        return odd, ~odd
    return np.ones_like(odd), np.ones_like(odd)
