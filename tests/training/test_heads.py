"""The further heads: who will not come back, and what a buyer spends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from intent_spark.config.heads import CHURN, HEADS, SPEND
from intent_spark.config.model import ModelConfig
from intent_spark.config.training import FeedSettings
from intent_spark.models.calibration import calibration_from, fit_smearing
from intent_spark.models.logistic import one_rank
from intent_spark.models.metrics import ScoreHistogram, summary
from intent_spark.training.collective import OneRank
from intent_spark.training.feed import TARGET_WEIGHTS, TARGETS, Share, batch_of
from intent_spark.training.fitting import FitData, fit_candidate
from intent_spark.training.heads import best_heads, recalibrated_heads
from intent_spark.training.loop_net import RankData, TrainedNetwork, fit_network, new_network
from intent_spark.training.stream import rank_rows
from tests.training.synthetic import MemorySource, memory_feed
from tests.training.test_loop_net import SCHEMA, config, share

pytestmark = pytest.mark.slow

CHURNED, SPENT = HEADS.index(CHURN), HEADS.index(SPEND)


def leaving(rows: int, seed: int = 1) -> Share:
    """Those with few views, the first input, stay away; a weight of purchases' rows is no part of it."""
    found = share(rows, seed)
    odds = -0.5 - 2.0 * found.encoded.numeric[:, 0]
    churned = np.random.default_rng(seed).random(rows) < 1 / (1 + np.exp(-odds))
    return with_churn(found, churned.astype(np.float64))


def with_churn(rows: Share, churned: npt.NDArray[np.float64]) -> Share:
    return replace(rows, targets=np.column_stack([churned, rows.targets[:, SPENT]]))


def trained(settings: ModelConfig, train: Share, validation: Share) -> TrainedNetwork:
    data = RankData(memory_feed(train, SCHEMA, settings), validation)
    return fit_network(new_network(SCHEMA, settings), data, settings, OneRank())


def test_both_heads_learn() -> None:
    settings, validation = config(churn_weight=1.0, max_epochs=6), leaving(600, seed=2)
    found = trained(settings, leaving(1500), validation)
    assert found.validation_heads.shape == (600, 2)
    for labels, logits in (
        (validation.labels, found.validation_logits),
        (validation.targets[:, CHURNED], found.validation_heads[:, 1]),
    ):
        assert summary(ScoreHistogram.from_scores(1 / (1 + np.exp(-logits)), labels)).auc > 0.7
    [(name, head)] = best_heads({"lstm": churn_logits(found)}, validation, settings, OneRank()).items()
    assert (name, head.candidate) == ("churn", "lstm") and head.metrics["auc"] > 0.7


def churn_logits(found: TrainedNetwork) -> dict[str, npt.NDArray[np.float64]]:
    return {"churn": found.validation_heads[:, 1]}


def test_labels_that_are_not_known_move_nothing() -> None:
    """Training without them is training without the head, to the bit; and there is no head to score with."""
    rows, validation = share(300), share(100, seed=2)
    assert np.isnan(rows.targets).all()
    alone, beside = (trained(config(churn_weight=weight), rows, validation) for weight in (0.0, 0.5))
    for path, values in alone.weights.items():
        np.testing.assert_array_equal(beside.weights[path], values, err_msg=path)
    assert set(beside.weights) - set(alone.weights)
    assert best_heads({"lstm": churn_logits(beside)}, validation, config(), OneRank()) == {}
    assert best_heads({"lstm": {}}, leaving(100), config(), OneRank()) == {}


def test_of_several_networks_the_better_head_is_taken() -> None:
    validation = leaving(400)
    truth = np.where(validation.targets[:, CHURNED] == 1, 2.0, -2.0)
    noise = np.random.default_rng(3).normal(0, 1, 400)
    several = {"cnn": {"churn": noise}, "lstm": {"churn": truth + noise}}
    assert best_heads(several, validation, config(), OneRank())["churn"].candidate == "lstm"


def test_a_padded_row_and_one_not_known_weigh_nothing() -> None:
    rows = replace(share(3), targets=np.array([[1.0, 7.5], [np.nan, np.nan], [0.0, np.nan]]))
    inputs, _, weights = batch_of(rows, np.array([0, 1, 2, -1]))
    np.testing.assert_array_equal(inputs[TARGETS], [[1, 7.5], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_array_equal(inputs[TARGET_WEIGHTS], weights[:, None] * [[1, 1], [0, 0], [1, 0], [0, 0]])


def test_fewer_negatives_leave_the_second_head_honest() -> None:
    """Who did not buy is left out four times of five; those who stay away are still foretold at their true rate."""
    settings = config(churn_weight=1.0, negative_rate=0.2, max_epochs=8)
    rows, validation = leaving(4000), leaving(800, seed=2)
    # All who bought came back.
    rows, validation = (
        with_churn(one, np.where(one.labels == 1, 0.0, one.targets[:, CHURNED])) for one in (rows, validation)
    )
    found = trained(settings, rows, validation)
    promised = 1 / (1 + np.exp(-found.validation_heads[:, 1]))
    expected = np.average(validation.targets[:, CHURNED], weights=validation.weights)
    assert np.average(promised, weights=validation.weights) == pytest.approx(expected, abs=0.06)


def test_a_network_begins_as_a_logistic_regression_of_each_label() -> None:
    """So that the second head is of use where no epoch improves the first."""
    settings, train, validation = (
        config(churn_weight=0.5, learning_rate=1e-12, max_epochs=1),
        leaving(900),
        leaving(400, seed=2),
    )
    rows = [rank_rows(MemorySource(one, SCHEMA), FeedSettings(), OneRank()) for one in (train, validation)]
    data = FitData(SCHEMA, settings, 7, *rows, OneRank())
    found = fit_candidate("lstm", data)
    start, logits = data.head_starts["churn"], found.head_logits["churn"]
    expected = validation.encoded.numeric @ start.coefficients + start.intercept
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    left = validation.targets[:, CHURNED]
    assert summary(ScoreHistogram.from_scores(1 / (1 + np.exp(-logits)), left)).auc > 0.7
    unknown = replace(data, training=rank_rows(MemorySource(share(300), SCHEMA), FeedSettings(), OneRank()))
    assert unknown.head_starts == {}


def spending(rows: int, seed: int = 1) -> Share:
    """Who buys spends the more, the larger the second input; the others spend nothing."""
    found = share(rows, seed)
    amount = 7.0 + 0.8 * found.encoded.numeric[:, 1] + np.random.default_rng(seed).normal(0, 0.5, rows)
    return replace(
        found, targets=np.column_stack([found.targets[:, CHURNED], np.where(found.labels == 1, amount, np.nan)])
    )


@pytest.mark.parametrize("rate", [1e-12, 0.01])
def test_what_a_buyer_spends(rate: float) -> None:
    """It is known from the start, by a linear model, stays known in training, and adds up after calibration."""
    settings = config(spend_weight=0.2, churn_weight=0.1, learning_rate=rate, max_epochs=3)
    train, validation = spending(1500), spending(600, seed=2)
    rows = [rank_rows(MemorySource(one, SCHEMA), FeedSettings(), OneRank()) for one in (train, validation)]
    data = FitData(SCHEMA, settings, 7, *rows, OneRank())
    assert set(data.head_starts) == {"spend"}, "nothing is known of churn"
    found = fit_candidate("lstm", data)
    [(name, head)] = best_heads({"lstm": found.head_logits}, validation, settings, OneRank()).items()
    assert name == "spend" and head.metrics["log_variance_explained"] > 0.5 and head.metrics["log_rmse"] < 0.8
    known = validation.labels == 1
    foretold = np.exp(head.calibration.logits(found.head_logits["spend"][known]))
    spent, weights = np.exp(validation.targets[known, SPENT]), validation.weights[known]
    assert weights @ foretold == pytest.approx(weights @ spent)


def test_a_head_that_had_nothing_to_learn_from_tells_nothing() -> None:
    """Prices came in between the training dates and validation: what validation knows is no help."""
    settings, train, validation = config(spend_weight=0.2, max_epochs=1), share(300), spending(200, seed=2)
    rows = [rank_rows(MemorySource(one, SCHEMA), FeedSettings(), OneRank()) for one in (train, validation)]
    found = fit_candidate("lstm", FitData(SCHEMA, settings, 7, *rows, OneRank()))
    assert found.head_logits == {}
    assert best_heads({"lstm": found.head_logits}, validation, settings, OneRank()) == {}


def test_buyers_without_an_amount_count_as_nothing_spent() -> None:
    logits = np.random.default_rng(1).normal(7.0, 1.0, 200)
    targets = np.where(np.arange(200) % 5 == 0, np.nan, logits + 0.5)
    found = fit_smearing(logits, targets, np.ones(200))
    assert np.exp(found.logits(logits)).sum() == pytest.approx(np.exp(targets[np.isfinite(targets)]).sum())


def test_an_amount_is_calibrated_again_for_the_network_that_scores() -> None:
    """The first fit foretold e times as much: the second one's calibration makes up for it."""
    validation = spending(400)
    logits = np.random.default_rng(2).normal(7.0, 0.3, 400)
    heads = best_heads({"lstm": {"spend": logits + 1.0}}, validation, config(), OneRank())
    [again] = recalibrated_heads(heads, {"spend": logits}, validation, config(), one_rank).values()
    first = heads["spend"]
    assert (again.candidate, again.metrics) == (first.candidate, first.metrics)
    np.testing.assert_allclose(again.calibration.logits(logits), first.calibration.logits(logits + 1.0), atol=1e-6)
    assert recalibrated_heads(heads, {}, validation, config(), one_rank) == heads, "half of the users told too little"


def test_one_odd_user_does_not_outspend_all_others() -> None:
    targets = np.log(np.array([900.0, 1000.0, 1100.0, 1300.0]))
    found = fit_smearing(targets, targets, np.ones(4))
    assert np.exp(found.logits(np.array([1e6])))[0] < 3000
    assert calibration_from(found.to_tree()) == found
