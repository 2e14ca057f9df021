"""The second head: who will not come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from intent_spark.config.model import ModelConfig
from intent_spark.config.training import FeedSettings
from intent_spark.models.metrics import ScoreHistogram, summary
from intent_spark.training.churn import churn_head
from intent_spark.training.collective import OneRank
from intent_spark.training.feed import CHURN_WEIGHT, CHURNED, Share, batch_of
from intent_spark.training.fitting import FitData, Fitted, fit_candidate
from intent_spark.training.loop_net import RankData, TrainedNetwork, fit_network, new_network
from intent_spark.training.stream import rank_rows
from tests.training.synthetic import MemorySource, memory_feed
from tests.training.test_loop_net import SCHEMA, config, share

pytestmark = pytest.mark.slow


def leaving(rows: int, seed: int = 1) -> Share:
    """Those with few views, the first input, stay away; a weight of purchases' rows is no part of it."""
    found = share(rows, seed)
    odds = -0.5 - 2.0 * found.encoded.numeric[:, 0]
    churned = np.random.default_rng(seed).random(rows) < 1 / (1 + np.exp(-odds))
    return replace(found, churned=churned.astype(np.float64))


def trained(settings: ModelConfig, train: Share, validation: Share) -> TrainedNetwork:
    data = RankData(memory_feed(train, SCHEMA, settings), validation)
    return fit_network(new_network(SCHEMA, settings), data, settings, OneRank())


def test_both_heads_learn() -> None:
    settings, validation = config(churn_weight=1.0, max_epochs=6), leaving(600, seed=2)
    found = trained(settings, leaving(1500), validation)
    assert found.validation_heads.shape == (600, 2)
    for labels, logits in (
        (validation.labels, found.validation_logits),
        (validation.churned, found.validation_heads[:, 1]),
    ):
        assert summary(ScoreHistogram.from_scores(1 / (1 + np.exp(-logits)), labels)).auc > 0.7
    head = churn_head({"lstm": fitted(found)}, validation, settings, OneRank())
    assert head is not None and head.candidate == "lstm" and head.metrics["auc"] > 0.7


def fitted(found: TrainedNetwork) -> Fitted:
    return Fitted({}, found.validation_logits, churn_logits=found.validation_heads[:, 1])


def test_labels_that_are_not_known_move_nothing() -> None:
    """Training without them is training without the head, to the bit; and there is no head to score with."""
    rows, validation = share(300), share(100, seed=2)
    assert np.isnan(rows.churned).all()
    alone, beside = (trained(config(churn_weight=weight), rows, validation) for weight in (0.0, 0.5))
    for path, values in alone.weights.items():
        np.testing.assert_array_equal(beside.weights[path], values, err_msg=path)
    assert set(beside.weights) - set(alone.weights)
    assert churn_head({"lstm": fitted(beside)}, validation, config(), OneRank()) is None
    assert churn_head({"lstm": Fitted({}, alone.validation_logits)}, leaving(100), config(), OneRank()) is None


def test_of_several_networks_the_better_head_is_taken() -> None:
    validation = leaving(400)
    truth = np.where(validation.churned == 1, 2.0, -2.0)
    noise = np.random.default_rng(3).normal(0, 1, 400)
    several: Mapping[str, Fitted] = {
        name: Fitted({}, noise, churn_logits=logits) for name, logits in (("cnn", noise), ("lstm", truth + noise))
    }
    head = churn_head(several, validation, config(), OneRank())
    assert head is not None and head.candidate == "lstm"


def test_a_padded_row_and_one_not_known_weigh_nothing() -> None:
    rows = replace(leaving(3), churned=np.array([1.0, np.nan, 0.0]))
    inputs, _, weights = batch_of(rows, np.array([0, 1, 2, -1]))
    np.testing.assert_array_equal(inputs[CHURNED], [1, 0, 0, 0])
    np.testing.assert_array_equal(inputs[CHURN_WEIGHT], weights * [1, 0, 1, 1])


def test_fewer_negatives_leave_the_second_head_honest() -> None:
    """Who did not buy is left out four times of five; those who stay away are still foretold at their true rate."""
    settings = config(churn_weight=1.0, negative_rate=0.2, max_epochs=8)
    rows, validation = leaving(4000), leaving(800, seed=2)
    # All who bought came back.
    rows, validation = (replace(one, churned=np.where(one.labels == 1, 0.0, one.churned)) for one in (rows, validation))
    found = trained(settings, rows, validation)
    promised = 1 / (1 + np.exp(-found.validation_heads[:, 1]))
    expected = np.average(validation.churned, weights=validation.weights)
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
    assert data.churn_logistic is not None and found.churn_logits is not None
    np.testing.assert_allclose(found.churn_logits, data.churn_logistic.logits(validation.encoded.numeric), atol=1e-4)
    assert summary(ScoreHistogram.from_scores(1 / (1 + np.exp(-found.churn_logits)), validation.churned)).auc > 0.7
    unknown = replace(data, training=rank_rows(MemorySource(share(300), SCHEMA), FeedSettings(), OneRank()))
    assert unknown.churn_logistic is None
