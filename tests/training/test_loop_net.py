from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import keras
import numpy as np
import pytest
import yaml

from intent_spark.config.errors import ContractError
from intent_spark.config.model import ModelConfig
from intent_spark.models.encode import batched_logits, encode_ragged
from intent_spark.models.intent_net import (
    ENCODERS,
    build_network,
    get_weights,
    set_weights,
)
from intent_spark.models.schema import CategoricalFeature, FeatureSchema, NumericFeature, SequenceFeature
from intent_spark.training.collective import OneRank
from intent_spark.training.feed import Share, batch_of
from intent_spark.training.loop_net import RankData, fit_network, new_network
from intent_spark.training.step_net import TrainStep, new_optimizer
from tests.training.synthetic import EVENTS, examples_table, intent_logits, memory_feed

CONF = Path(__file__).resolve().parents[2] / "conf" / "model.yaml"
SCHEMA = FeatureSchema(
    numeric=(
        NumericFeature("view_count_7d", 1.7, 0.4),
        NumericFeature("days_since_purchase", 3.4, 1.0, True),
    ),
    categorical=(CategoricalFeature("city_tier", ("1", "2", "3")),),
    sequences=(
        SequenceFeature("seq_event_type", "vocabulary", tuple(EVENTS)),
        SequenceFeature("seq_item", "hash", buckets=64),
        SequenceFeature("seq_gap_seconds", "number", mean=10.0, std=1.0),
    ),
    max_length=8,
)


def config(**changes: object) -> ModelConfig:
    small = {"hidden_units": 8, "dense_units": [8], "batch_size": 64, "max_epochs": 3, "learning_rate": 0.01}
    return ModelConfig.model_validate(yaml.safe_load(CONF.read_text()) | small | changes)


def share(rows: int, seed: int = 1) -> Share:
    table = examples_table(rows, seed, max_length=8)
    weights = np.random.default_rng(seed).integers(1, 4, rows).astype(np.float64)
    labels = table["label"].to_numpy().astype(np.float64)
    return Share(encode_ragged(table, SCHEMA), labels, weights, np.arange(rows).astype(np.uint8))


def rank_data(rows: int, settings: ModelConfig, validation: int = 300) -> RankData:
    return RankData(memory_feed(share(rows), SCHEMA, settings), share(validation, seed=2))


def gradients(data: Share, rows: np.ndarray) -> list[np.ndarray]:
    """What one step of plain gradient descent with rate 1 takes away from the weights."""
    still = config(dropout=0.0)
    network = new_network(SCHEMA, still)
    before = [variable.numpy() for variable in network.trainable_variables]
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(network.trainable_variables)
    TrainStep(network, optimizer, OneRank(), still)(*batch_of(data, rows))
    return [old - new.numpy() for old, new in zip(before, network.trainable_variables, strict=True)]


def padded(rows: np.ndarray) -> np.ndarray:
    return np.pad(rows, (0, 16 - len(rows)), constant_values=-1)


def test_padded_and_split_batches_sum_to_the_gradient_of_all_rows() -> None:
    data = share(21)
    total = data.weights.sum()
    whole = gradients(data, np.arange(21))
    parts = [np.arange(11), np.arange(11, 21)]
    first, second = (
        [gradient * data.weights[rows].sum() / total for gradient in gradients(data, padded(rows))] for rows in parts
    )
    assert any(np.abs(gradient).max() > 1e-3 for gradient in whole)
    for all_rows, one, other in zip(whole, first, second, strict=True):
        np.testing.assert_allclose(one + other, all_rows, atol=1e-6)


def test_every_configurable_encoder_exists() -> None:
    assert set(get_args(ModelConfig.model_fields["encoder"].annotation)) == set(ENCODERS)


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_padding_and_batching_do_not_move_a_logit(encoder: str) -> None:
    network = build_network(SCHEMA, config(encoder=encoder))
    logits = intent_logits(network)
    encoded = share(50).encoded
    padded = logits(encoded.take(np.arange(50), 12))
    assert np.isfinite(padded).all()
    np.testing.assert_allclose(batched_logits(logits, encoded, 16), padded, atol=1e-5)


def test_no_columns_of_a_kind() -> None:
    table = examples_table(5)
    for part in ({"sequences": ()}, {"numeric": (), "categorical": ()}):
        schema = FeatureSchema(**{**{name: getattr(SCHEMA, name) for name in SCHEMA.__dataclass_fields__}, **part})
        logits = intent_logits(build_network(schema, config()))
        assert batched_logits(logits, encode_ragged(table, schema), 4).shape == (5,)


def test_training_is_reproducible_learns_and_keeps_the_best_weights() -> None:
    data = rank_data(900, config())
    runs = []
    for _ in range(2):
        network = new_network(SCHEMA, config())
        runs.append((network, fit_network(network, data, config(), OneRank())))
    (network, first), (_, second) = runs
    assert [e.validation_loss for e in first.epochs] == [e.validation_loss for e in second.epochs]
    for name, values in first.weights.items():
        np.testing.assert_array_equal(values, second.weights[name])
    losses = [epoch.validation_loss for epoch in first.epochs]
    assert losses[first.best_epoch - 1] == min(losses) < losses[0]
    found = batched_logits(intent_logits(network), data.validation.held().encoded, 64)
    np.testing.assert_array_equal(found, first.validation_logits)


def test_patience_ends_the_training() -> None:
    # A rate this small improves nothing that float32 can show, so the first epoch stays the best.
    still = config(max_epochs=9, patience=2, learning_rate=1e-12, dropout=0.0)
    data = rank_data(100, still, 100)
    trained = fit_network(new_network(SCHEMA, still), data, still, OneRank())
    assert len(trained.epochs) == trained.best_epoch + 2


def test_a_diverging_loss_is_refused() -> None:
    wild = config(learning_rate=1e30)
    data = rank_data(200, wild, 50)
    with pytest.raises(ContractError, match=r"Training diverged in epoch \d .* lower model.learning_rate from 1e\+30"):
        fit_network(new_network(SCHEMA, wild), data, wild, OneRank())


def test_weights_of_another_network_are_refused() -> None:
    weights = get_weights(build_network(SCHEMA, config(hidden_units=4)))
    with pytest.raises(ContractError, match="weights do not fit"):
        set_weights(build_network(SCHEMA, config()), weights)


def test_a_batch_of_one_class_and_a_vocabulary_of_one_train() -> None:
    """Nothing is divided by the number of negatives, or of other values."""
    table = examples_table(128, max_length=8)
    for vocabulary in ((), ("view",)):
        schema = replace(
            SCHEMA,
            categorical=(CategoricalFeature("city_tier", vocabulary[:1]),),
            sequences=(SequenceFeature("seq_event_type", "vocabulary", vocabulary),),
        )
        labels = np.ones(128)
        labels[:64] = 0
        data = Share(encode_ragged(table, schema), labels, np.ones(128), np.zeros(128, np.uint8))
        network, settings = new_network(schema, config()), config()
        optimizer = new_optimizer(network, settings)
        step = TrainStep(network, optimizer, OneRank(), settings)
        for rows in (np.arange(64), np.arange(64, 128)):
            assert np.isfinite(step(*batch_of(data, rows))).all()
        assert all(np.isfinite(values).all() for values in get_weights(network).values())
