"""The champion: what is fitted on a half of validation is judged on the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.special import expit
from sklearn.metrics import log_loss

from intent_spark.config.errors import ContractError
from intent_spark.config.model import ModelConfig
from intent_spark.models.blend import fit_blend
from intent_spark.models.calibration import IDENTITY, fit_platt
from intent_spark.models.directory import CALIBRATED, CROSS_FITTED, UNCALIBRATED
from intent_spark.models.encode import Encoded
from intent_spark.training.collective import OneRank
from intent_spark.training.feed import Share
from intent_spark.training.selection import Selection, select
from tests.models.lockstep import ThreadRank, in_lockstep

CONFIG = ModelConfig.model_validate(
    yaml.safe_load((Path(__file__).resolve().parents[2] / "conf" / "model.yaml").read_text())
)
RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.normal(-1, 1.5, 3000)


def share(labels: np.ndarray, buckets: np.ndarray | None = None) -> Share:
    rows = len(labels)
    empty = Encoded(np.zeros((rows, 0), np.float32), {}, np.zeros(rows + 1, np.int64))
    found = RANDOM.integers(0, 256, rows) if buckets is None else buckets
    return Share(empty, labels, np.ones(rows), found.astype(np.uint8))


LABELS = (RANDOM.random(3000) < expit(TRUTH)).astype(np.float64)
VALIDATION = share(LABELS)
LOGITS = {
    "logistic": TRUTH + RANDOM.normal(0, 1.5, 3000),
    "gbdt": 2 * (TRUTH + RANDOM.normal(0, 1.2, 3000)) + 1,
    "lstm": TRUTH + RANDOM.normal(0, 1.3, 3000),
}


def test_cross_fitted_losses_and_the_champion() -> None:
    found = select(LOGITS, VALIDATION, CONFIG, True, OneRank())
    odd = VALIDATION.buckets % 2 == 1
    losses = np.zeros((3000, 4))
    for fit, judge in ((odd, ~odd), (~odd, odd)):
        platt = {name: fit_platt(v[fit], LABELS[fit], np.ones(fit.sum())) for name, v in LOGITS.items()}
        calibrated = {name: platt[name].logits(v) for name, v in LOGITS.items()}
        on_fit = {name: v[fit] for name, v in calibrated.items()}
        blend = fit_blend(on_fit, LABELS[fit], np.ones(fit.sum()), CONFIG.blend_l2)
        for column, odds in enumerate([*calibrated.values(), blend.logits(calibrated)]):
            losses[judge, column] = (np.logaddexp(0, odds) - LABELS * odds)[judge]
    reported = [found.metrics[name][CROSS_FITTED]["log_loss"] for name in (*LOGITS, "blend")]
    assert reported == pytest.approx(losses.mean(axis=0), abs=1e-9)
    assert found.champion == "blend"
    assert found.calibrations["blend"] == IDENTITY


def test_metrics_before_and_after_calibration() -> None:
    found = select(LOGITS, VALIDATION, CONFIG, False, OneRank())
    assert list(found.metrics) == list(LOGITS)
    assert found.blend is None
    before, after = (found.metrics["gbdt"][stage] for stage in (UNCALIBRATED, CALIBRATED))
    assert before["log_loss"] == pytest.approx(log_loss(LABELS, expit(LOGITS["gbdt"])), abs=1e-9)
    platt = fit_platt(LOGITS["gbdt"], LABELS, np.ones(3000))
    assert after["log_loss"] == pytest.approx(log_loss(LABELS, expit(platt.logits(LOGITS["gbdt"]))), abs=1e-9)
    assert after["calibration_error"] < before["calibration_error"] / 2


def test_one_that_learnt_validation_by_heart_is_not_blended_into_the_choice() -> None:
    """Sixty useless candidates: a blend fits noise on what it saw, and is judged on what it did not."""
    noise = {f"n{n}": np.random.default_rng(1000 + n).normal(size=300) for n in range(60)}
    few = share(LABELS[:300], VALIDATION.buckets[:300])
    found = select({"logistic": TRUTH[:300]} | noise, few, CONFIG, True, OneRank())
    metrics = found.metrics["blend"]
    assert metrics[CALIBRATED]["log_loss"] < metrics[CROSS_FITTED]["log_loss"]
    assert found.champion == "logistic"


def test_a_tie_goes_to_the_simpler() -> None:
    same = {"logistic": LOGITS["lstm"], "lstm": LOGITS["lstm"]}
    assert select(same, VALIDATION, CONFIG, False, OneRank()).champion == "logistic"


def test_a_lucky_winner_is_not_believed() -> None:
    """The blend is chosen where it is within one standard error of the lowest, else the simplest that is."""
    rng = np.random.default_rng(0)
    few = share(LABELS[:400], VALIDATION.buckets[:400])
    alike = {name: TRUTH[:400] + rng.normal(0, 0.3, 400) for name in ("logistic", "gbdt", "lstm")}
    found = select(alike, few, CONFIG, False, OneRank())
    losses = {name: stages[CROSS_FITTED] for name, stages in found.metrics.items()}
    best = min(losses, key=lambda name: losses[name]["log_loss"])
    assert best != found.champion == "logistic"
    assert losses["logistic"]["log_loss"] - losses[best]["log_loss"] <= losses["logistic"]["standard_error"]
    assert select(alike, few, CONFIG, True, OneRank()).champion == "blend"


def test_the_standard_error_is_that_of_the_paired_difference() -> None:
    found = select(LOGITS, VALIDATION, CONFIG, False, OneRank())
    means = {name: losses.mean() for name, losses in found.losses.items()}
    best = min(means, key=means.__getitem__)
    for name, losses in found.losses.items():
        stage = found.metrics[name][CROSS_FITTED]
        error = (losses - found.losses[best]).std() / np.sqrt(3000)
        assert (stage["log_loss"], stage["standard_error"]) == pytest.approx((means[name], error), abs=1e-12)


def test_ranks_agree() -> None:
    def run(part: slice, rank: ThreadRank) -> Selection:
        own = Share(VALIDATION.encoded, LABELS[part], VALIDATION.weights[part], VALIDATION.buckets[part])
        return select({name: v[part] for name, v in LOGITS.items()}, own, CONFIG, True, rank)

    whole = select(LOGITS, VALIDATION, CONFIG, True, OneRank())
    for found in in_lockstep(run, [slice(0, 0), slice(0, 1000), slice(1000, None)]):
        assert found.champion == whole.champion
        assert found.blend.weights == pytest.approx(whole.blend.weights, abs=1e-4)
        for name, stages in whole.metrics.items():
            assert found.metrics[name][CROSS_FITTED]["log_loss"] == pytest.approx(
                stages[CROSS_FITTED]["log_loss"], abs=1e-7
            )


def test_a_validation_too_small_for_halves_is_used_whole() -> None:
    tiny = share(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0, 0, 2, 4]))
    found = select({"logistic": np.array([1.0, 0.0, -1.0, 0.5])}, tiny, CONFIG, False, OneRank())
    metrics = found.metrics["logistic"]
    assert metrics[CROSS_FITTED]["log_loss"] == pytest.approx(metrics[CALIBRATED]["log_loss"])


def test_scores_that_are_not_finite_are_refused() -> None:
    broken = LOGITS | {"gbdt": np.where(np.arange(3000) < 2, np.nan, 0.0)}
    with pytest.raises(ContractError, match="candidate gbdt has no finite score for 2 validation rows"):
        select(broken, VALIDATION, CONFIG, True, OneRank())


@pytest.mark.parametrize("calibration", ["platt", "temperature", "isotonic"])
def test_each_calibration_mends_a_distortion(calibration: str) -> None:
    config = CONFIG.model_copy(update={"calibration": calibration})
    doubled = {"lstm": 2 * TRUTH}
    found = select(doubled, replace(VALIDATION), config, False, OneRank()).metrics["lstm"]
    assert found[CALIBRATED]["log_loss"] < found[UNCALIBRATED]["log_loss"] - 0.02
