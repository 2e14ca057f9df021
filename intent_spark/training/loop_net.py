"""One rank's training: steps, epochs, early stopping. Imports TensorFlow: import it late."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from intent_spark.config.errors import ContractError
from intent_spark.config.log import LOGGER, Progress
from intent_spark.config.model import ModelConfig
from intent_spark.models.directory import Weights
from intent_spark.models.encode import batched_logits
from intent_spark.models.intent_net import (
    build_network,
    configure_threads,
    get_weights,
    set_weights,
    traced_logits,
)
from intent_spark.models.logistic import LogisticModel, mean_log_loss
from intent_spark.models.schema import FeatureSchema
from intent_spark.training.collective import Collective
from intent_spark.training.feed import Share, batch_of, epoch_order, steps_per_epoch

Tensor = Any
Logits = npt.NDArray[np.float64]
TrainStep = Callable[[dict[str, Tensor], Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Epoch:
    """What one epoch did, over all ranks."""

    epoch: int
    train_loss: float
    validation_loss: float
    rows_per_second: float


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """The best weights, their logits of this rank's validation rows [n], and all epochs."""

    weights: Weights
    validation_logits: Logits
    epochs: list[Epoch]
    best_epoch: int


@dataclass(frozen=True, eq=False)
class RankData:
    """This rank's shares, and the training rows of all ranks."""

    train: Share
    validation: Share
    total_train_rows: int


def new_network(schema: FeatureSchema, config: ModelConfig) -> keras.Model:
    """A network with seeded weights, with TensorFlow held to the configured cores and to one result."""
    configure_threads(config.cores_per_rank)
    # Keras numbers layers of one kind within a process: a second network must have the names it is loaded by.
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    return build_network(schema, config)


def start_from_logistic(network: keras.Model, logistic: LogisticModel) -> None:
    """Let the network begin as logistic regression, exactly; the deep part learns what that leaves unexplained.

    The linear path is fixed at the fitted coefficients, the deep path's last layer begins at the intercept alone.
    """
    kernel, _ = network.get_layer("deep_logit").get_weights()
    network.get_layer("deep_logit").set_weights([np.zeros_like(kernel), np.array([logistic.intercept])])
    if len(logistic.coefficients):
        wide = network.get_layer("wide_logit")
        wide.set_weights([logistic.coefficients[:, None]])
        wide.trainable = False


def fit_network(network: keras.Model, data: RankData, config: ModelConfig, collective: Collective) -> TrainedNetwork:
    """Train until validation stops improving; the decision, being made of sums, is the same on every rank.

    ``best_epoch`` is 0 where no epoch improves on the weights that the network came with.

    Raises:
        ContractError: a loss is not finite.
    """
    optimizer = keras.optimizers.Adam(config.learning_rate)
    optimizer.build(network.trainable_variables)
    collective.broadcast([v.value for v in (*network.variables, *optimizer.variables)])
    step = train_step(network, optimizer, collective)
    logits = traced_logits(network)
    epochs: list[Epoch] = []
    best_logits = batched_logits(logits, data.validation.encoded, config.batch_size)
    best_loss = mean_log_loss(best_logits, data.validation.labelled(), collective.sum)
    best, best_epoch = get_weights(network), 0
    while len(epochs) < config.max_epochs and len(epochs) - best_epoch < config.patience:
        started = time.monotonic()
        optimizer.learning_rate.assign(config.learning_rate * config.learning_rate_decay ** len(epochs))
        train_loss = _train_epoch(step, data, config, collective, len(epochs))
        rows_per_second = data.total_train_rows / (time.monotonic() - started)
        found = batched_logits(logits, data.validation.encoded, config.batch_size)
        loss = mean_log_loss(found, data.validation.labelled(), collective.sum)
        epochs.append(Epoch(len(epochs) + 1, train_loss, loss, rows_per_second))
        _check_and_log(epochs[-1], config, collective)
        if loss < best_loss:
            best, best_logits, best_loss, best_epoch = get_weights(network), found, loss, len(epochs)
    set_weights(network, best)
    return TrainedNetwork(best, best_logits, epochs, best_epoch)


def train_step(network: keras.Model, optimizer: Any, collective: Collective) -> TrainStep:
    """A traced step ``(inputs, labels [k], weights [k], total) -> sum of weighted losses``.

    The gradient is that of the sum over all ranks' rows of ``weight x loss / total``, where ``total`` is the
    weight of all ranks' rows of the step: what one process would compute from all of them, padded or not.
    """
    specs = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in network.input.items()}
    vector, scalar = tf.TensorSpec([None], tf.float32), tf.TensorSpec([], tf.float32)

    @tf.function(input_signature=[specs, vector, vector, scalar], jit_compile=False)
    def step(inputs: dict[str, Tensor], labels: Tensor, weights: Tensor, total: Tensor) -> Tensor:
        with tf.GradientTape() as local:
            logits = network(inputs, training=True)[:, 0]
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
            weighted = tf.reduce_sum(weights * losses)
            loss = weighted / total
        tape = collective.gradient_tape(local)
        gradients = tape.gradient(loss, [variable.value for variable in network.trainable_variables])
        optimizer.apply([tf.convert_to_tensor(g) for g in gradients], network.trainable_variables)
        return weighted

    return step  # type: ignore[no-any-return]


def _train_epoch(step: TrainStep, data: RankData, config: ModelConfig, collective: Collective, epoch: int) -> float:
    steps = steps_per_epoch(data.total_train_rows, collective.size, config.batch_size)
    order = epoch_order(data.train.rows, steps, config.batch_size, config.seed, epoch, collective.rank)
    own_weights = np.where(order >= 0, data.train.weights[order], 0.0).sum(axis=1)
    totals = collective.sum(own_weights)
    loss, progress = 0.0, Progress("train_intent", epoch=epoch + 1) if collective.rank == 0 else None
    for number, (rows, total) in enumerate(zip(order, totals, strict=True)):
        if progress:
            progress.update(number, steps)
        inputs, labels, weights = batch_of(data.train, rows)
        tensors = {name: tf.convert_to_tensor(values) for name, values in inputs.items()}
        # A step whose rows all weigh nothing has a gradient of zero, whatever it is divided by.
        loss += float(step(tensors, labels, weights, np.float32(total or 1.0)))
    if progress:
        progress.close()
    summed = collective.sum(np.array([loss, own_weights.sum()]))
    return float(summed[0] / summed[1])


def _check_and_log(epoch: Epoch, config: ModelConfig, collective: Collective) -> None:
    if not np.isfinite([epoch.train_loss, epoch.validation_loss]).all():
        raise ContractError(
            f"Training diverged in epoch {epoch.epoch} (train loss {epoch.train_loss}, validation loss "
            f"{epoch.validation_loss}): lower model.learning_rate from {config.learning_rate}."
        )
    if collective.rank == 0:
        fields = (f"{key}={value:.6g}" for key, value in asdict(epoch).items())
        LOGGER.info("step=train_intent.epoch %s", " ".join(fields))
