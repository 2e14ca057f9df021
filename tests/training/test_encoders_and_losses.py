"""Every encoder learns what the profile cannot tell; every setting of the loss and the optimiser does what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from intent_spark.config.errors import ContractError
from intent_spark.config.model import ModelConfig
from intent_spark.models.encoders_net import AGE_BUCKETS, ENCODERS, age_buckets, convolutions
from intent_spark.models.intent_net import build_network
from intent_spark.models.schema import SequenceFeature
from intent_spark.training.balance import kept_rows, log_odds_offset
from intent_spark.training.collective import OneRank
from intent_spark.training.feed import Share, batch_of
from intent_spark.training.loop_net import TrainedNetwork, fit_network, new_network
from intent_spark.training.slices_net import merge_slices, travels_sparse
from intent_spark.training.step_net import TrainStep, last_of_groups, new_optimizer, training_losses
from tests.training.synthetic import intent_logits, memory_feed
from tests.training.test_loop_net import SCHEMA, config, rank_data, share

GAPS = "seq_gap_seconds"
WITH_EVENTS = sorted(name for name, encoder in ENCODERS.items() if encoder)


def trained(settings: ModelConfig, rows: int = 1500) -> TrainedNetwork:
    data = rank_data(rows, settings, 600)
    return fit_network(new_network(SCHEMA, settings), data, settings, OneRank())


@pytest.fixture(scope="module")
def profile_alone() -> float:
    return best_loss(trained(config(encoder="mlp", max_epochs=8)))


def best_loss(found: TrainedNetwork) -> float:
    return min(epoch.validation_loss for epoch in found.epochs)


@pytest.mark.slow
@pytest.mark.parametrize("encoder", WITH_EVENTS)
def test_an_encoder_sees_which_event_was_the_last(encoder: str, profile_alone: float) -> None:
    """A purchase is likelier after a cart as the newest event, wherever other carts lie."""
    assert best_loss(trained(config(encoder=encoder, max_epochs=8))) < profile_alone - 0.03


@pytest.mark.parametrize("encoder", WITH_EVENTS)
def test_what_lies_behind_the_mask_moves_nothing(encoder: str) -> None:
    logits = intent_logits(build_network(SCHEMA, config(encoder=encoder)))
    batch = share(40).encoded.take(np.arange(40), 12)
    disturbed = dict(batch)
    for name, most in (("seq_event_type", 4), ("seq_item", 63), ("seq_gap_seconds", 3)):
        noise = np.random.default_rng(3).integers(0, most, batch[name].shape).astype(batch[name].dtype)
        disturbed[name] = np.where(batch["mask"], batch[name], noise)
    assert any((disturbed[name] != batch[name]).any() for name in disturbed)
    np.testing.assert_allclose(logits(disturbed), logits(batch), atol=1e-5)


def test_the_profile_alone_reads_no_sequence() -> None:
    assert set(build_network(SCHEMA, config(encoder="mlp")).input) == {"numeric"}


@pytest.mark.parametrize(("length", "layers"), [(1, 0), (3, 1), (4, 2), (7, 2), (8, 3), (50, 5)])
def test_convolutions_reach_the_oldest_event(length: int, layers: int) -> None:
    """Layers of three events at distances 1, 2, 4, …: two of them see seven events."""
    assert convolutions(length) == layers


def test_focal_loss_is_that_of_its_paper() -> None:
    logits, labels = np.array([-3.0, -0.5, 0.2, 4.0], np.float32), np.array([1.0, 0.0, 1.0, 0.0], np.float32)
    happened = np.where(labels == 1, 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(logits)))
    found = training_losses(tf.constant(logits), tf.constant(labels), config(focal_gamma=2.0))
    np.testing.assert_allclose(found, -((1 - happened) ** 2) * np.log(happened), rtol=1e-5)
    plain = training_losses(tf.constant(logits), tf.constant(labels), config())
    np.testing.assert_allclose(plain, -np.log(happened), rtol=1e-5)


def test_negatives_are_kept_by_their_number_alone() -> None:
    labels = (np.random.default_rng(1).random(20_000) < 0.1).astype(np.float64)
    fewer = config(negative_rate=0.25)
    kept = kept_rows(labels, 0, fewer)
    assert (labels[kept] == 1).sum() == labels.sum()
    assert (labels[kept] == 0).sum() == pytest.approx(0.25 * (labels == 0).sum(), rel=0.05)
    halves = [kept_rows(labels[:7000], 0, fewer), 7000 + kept_rows(labels[7000:], 7000, fewer)]
    np.testing.assert_array_equal(np.concatenate(halves), kept)
    assert set(kept_rows(labels, 0, config(negative_rate=0.25, seed=8))) != set(kept)
    assert len(kept_rows(labels, 0, config())) == len(labels)


@pytest.mark.slow
@pytest.mark.parametrize("balance", [{"positive_weight": 3.0}, {"negative_rate": 0.4}])
def test_balanced_training_still_gives_probabilities(balance: dict[str, float]) -> None:
    """Scores promise as many purchases as happen, although training saw other odds."""
    assert abs(log_odds_offset(config(**balance))) > 0.5
    found = trained(config(encoder="mlp", max_epochs=6, **balance), rows=3000)
    validation = share(600, seed=2)
    promised = np.average(1 / (1 + np.exp(-found.validation_logits)), weights=validation.weights)
    assert promised == pytest.approx(np.average(validation.labels, weights=validation.weights), abs=0.04)


def test_no_negative_left_is_refused() -> None:
    few, settings = share(20), config(negative_rate=1e-9)
    with pytest.raises(ContractError, match="raise model.negative_rate from 1e-09"):
        memory_feed(few, SCHEMA, settings)


def moved(settings: ModelConfig, data: Share, batches: list[np.ndarray], optimizer: Any = None) -> dict[str, Any]:
    """How far each variable moves when the batches' gradients are applied."""
    network = new_network(SCHEMA, settings)
    before = {v.path: v.numpy() for v in network.trainable_variables}
    chosen = optimizer or new_optimizer(network, settings)
    chosen.build(network.trainable_variables)
    step = TrainStep(network, chosen, OneRank(), settings)
    last = last_of_groups(len(batches), settings.accumulate_steps)
    for number, rows in enumerate(batches):
        step(*batch_of(data, rows), bool(last[number]))
    return {v.path: before[v.path] - v.numpy() for v in network.trainable_variables}


def test_accumulated_batches_are_one_larger_batch() -> None:
    data, rows = share(96), np.arange(96)
    whole = moved(config(dropout=0.0), data, [rows], keras.optimizers.SGD(1.0))
    parts = moved(config(dropout=0.0, accumulate_steps=3), data, np.split(rows, 3), keras.optimizers.SGD(1.0))
    for path, values in whole.items():
        np.testing.assert_allclose(parts[path], values, atol=1e-6, err_msg=path)


def test_the_last_group_of_an_epoch_may_be_short() -> None:
    assert last_of_groups(5, 2).tolist() == [False, True, False, True, True]


def test_the_gradient_is_clipped_by_its_whole_norm() -> None:
    data, rows = share(64), [np.arange(64)]
    free = moved(config(dropout=0.0), data, rows, keras.optimizers.SGD(1.0))
    norm = np.sqrt(sum((values**2).sum() for values in free.values()))
    clipped = moved(config(dropout=0.0), data, rows, keras.optimizers.SGD(1.0, global_clipnorm=norm / 4))
    for path, values in free.items():
        np.testing.assert_allclose(clipped[path], values / 4, atol=1e-6, err_msg=path)
    assert new_optimizer(new_network(SCHEMA, config()), config(clip_norm=0.5)).global_clipnorm == 0.5
    assert new_optimizer(new_network(SCHEMA, config()), config()).global_clipnorm is None


def test_weight_decay_shrinks_kernels_only() -> None:
    """Rows that weigh nothing have no gradient: what still moves is decay, rate x decay x weight."""
    data = replace(share(64), weights=np.zeros(64))
    settings = config(weight_decay=0.5, learning_rate=0.1, dropout=0.0)
    network = new_network(SCHEMA, settings)
    start = {v.path: v.numpy() for v in network.trainable_variables}
    optimizer = new_optimizer(network, settings)
    TrainStep(network, optimizer, OneRank(), settings)(*batch_of(data, np.arange(64)))
    for variable in network.trainable_variables:
        decayed = "kernel" in variable.path
        factor = 1 - 0.1 * 0.5 if decayed else 1.0
        np.testing.assert_allclose(variable.numpy(), start[variable.path] * factor, rtol=1e-5, err_msg=variable.path)
    assert any("embedding" in path for path in start) and any("bias" in path for path in start)


def test_embedding_dropout_hides_whole_events_in_training_only() -> None:
    network = build_network(SCHEMA, config(embedding_dropout=0.4))
    embedded = keras.Model(network.input, network.get_layer("event_dropout").output)
    batch = share(200).encoded.take(np.arange(200), 8)
    tensors = {name: tf.convert_to_tensor(batch[name]) for name in network.input}
    whole, found = (np.asarray(embedded(tensors, training=training)) for training in (False, True))
    hidden = (found == 0).all(axis=2)
    assert hidden.mean() == pytest.approx(0.4, abs=0.05)
    np.testing.assert_allclose(found[~hidden], whole[~hidden] / 0.6, rtol=1e-5)
    assert (whole != 0).any(axis=2).all()


def test_dropout_hides_units_in_training_only() -> None:
    network = build_network(SCHEMA, config(dropout=0.4, dense_units=[64]))
    batch = share(100).encoded.take(np.arange(100), 8)
    tensors = {name: tf.convert_to_tensor(batch[name]) for name in network.input}
    dense, dropped = (keras.Model(network.input, network.get_layer(name).output) for name in ("dense_1", "dropout_1"))
    whole, found = np.asarray(dense(tensors)), np.asarray(dropped(tensors, training=True))
    lit = whole > 0
    assert (found[lit] == 0).mean() == pytest.approx(0.4, abs=0.05)
    np.testing.assert_allclose(found[found > 0], whole[found > 0] / 0.6, rtol=1e-5)
    np.testing.assert_array_equal(dropped(tensors, training=False), whole)


def test_an_events_age_is_the_time_from_it_to_as_of() -> None:
    """After an event 1024 s, after the next one 1023 s until as_of: ages of 2047 s and 1023 s, 2^11 - 1 and 2^10 - 1."""
    feature = SequenceFeature("seq_gap_seconds", "number", mean=7.0, std=2.0)
    gaps, mask = np.array([[1024.0, 1023.0, 9e9], [2**10.25 - 1, 0.0, 0.0]]), np.array([[True, True, False]] * 2)
    encoded = (np.log1p(gaps) - feature.mean) / feature.std
    found = np.asarray(age_buckets(tf.constant(encoded, tf.float32), tf.constant(mask), feature))
    assert found.shape == (2, 3, AGE_BUCKETS)
    assert found[0].argmax(axis=1).tolist() == [11, 10, 0]
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=1e-5)
    np.testing.assert_allclose(found[1, 0, 10:12], [0.75, 0.25], atol=1e-3)


@pytest.mark.parametrize("encoder", ["transformer", "din"])
def test_ages_are_read_from_the_named_column(encoder: str) -> None:
    named, unnamed = (build_network(SCHEMA, config(encoder=encoder, gap_sequence=name)) for name in (GAPS, "seq_other"))
    assert "age_embedding" in {layer.name for layer in named.layers}
    assert "age_embedding" not in {layer.name for layer in unnamed.layers}


@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_mixed_precision_computes_in_bfloat16_and_answers_in_float32(encoder: str) -> None:
    network = build_network(SCHEMA, config(encoder=encoder, mixed_precision=True))
    assert network.output.dtype == "float32"
    assert {v.dtype for v in network.trainable_variables} == {"float32"}
    assert network.get_layer("dense_1").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"
    assert np.isfinite(intent_logits(network)(share(20).encoded.take(np.arange(20), 8))).all()


def test_merged_slices_are_the_same_gradient() -> None:
    indices, values = tf.constant([4, 1, 4, 4]), tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    slices = tf.IndexedSlices(values, indices, tf.constant([6, 2]))
    merged = merge_slices(slices)
    assert sorted(merged.indices.numpy().tolist()) == [1, 4]
    np.testing.assert_array_equal(tf.convert_to_tensor(merged), tf.convert_to_tensor(slices))


def test_slices_travel_where_they_are_fewer_than_the_table() -> None:
    assert travels_sparse((1_000_000, 16), 25_600, ranks=2)
    assert not travels_sparse((8192, 8), 25_600, ranks=2)
    assert not travels_sparse((1_000_000, 16), 25_600, ranks=100)
