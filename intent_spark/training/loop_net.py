"""One rank's training: steps, epochs, early stopping. Imports TensorFlow: import it late."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

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
from intent_spark.training.balance import class_weights, kept_rows
from intent_spark.training.collective import Collective
from intent_spark.training.feed import Share, batch_of, epoch_order, steps_per_epoch
from intent_spark.training.step_net import TrainStep, group_totals, last_of_groups, new_optimizer

Logits = npt.NDArray[np.float64]


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


@dataclass(frozen=True, eq=False)
class TrainRows:
    """This rank's share weighted by class, its row numbers to train on; how many all and the fullest rank have."""

    share: Share
    rows: npt.NDArray[np.intp]
    total: int
    largest_share: int


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


def fit_network(
    network: keras.Model,
    data: RankData,
    config: ModelConfig,
    collective: Collective,
    fixed_epochs: int | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> TrainedNetwork:
    """Train until validation stops improving; the decision, being made of sums, is the same on every rank.

    Validation is judged by plain log loss, whatever the training loss weighs or leaves out. With ``fixed_epochs`` so
    many are run, none is judged and the last is the best. ``on_epoch`` is told each epoch's number and validation loss,
    and may end the training by raising.

    ``best_epoch`` is 0 where no epoch improves on the weights that the network came with.

    Raises:
        ContractError: a loss is not finite, or no negative is left to train on.
    """
    optimizer = new_optimizer(network, config)
    collective.broadcast([v.value for v in (*network.variables, *optimizer.variables)])
    step = TrainStep(network, optimizer, collective, config)
    train = _train_rows(data, config, collective)
    logits = traced_logits(network)
    epochs: list[Epoch] = []
    best_logits = batched_logits(logits, data.validation.encoded, config.batch_size)
    best_loss = mean_log_loss(best_logits, data.validation.labelled(), collective.sum)
    best, best_epoch = get_weights(network), 0
    limit = config.max_epochs if fixed_epochs is None else fixed_epochs
    while len(epochs) < limit and len(epochs) - best_epoch < config.patience:
        started = time.monotonic()
        optimizer.learning_rate.assign(config.learning_rate * config.learning_rate_decay ** len(epochs))
        train_loss = _train_epoch(step, train, config, collective, len(epochs))
        rows_per_second = train.total / (time.monotonic() - started)
        found = batched_logits(logits, data.validation.encoded, config.batch_size)
        loss = mean_log_loss(found, data.validation.labelled(), collective.sum)
        epochs.append(Epoch(len(epochs) + 1, train_loss, loss, rows_per_second))
        _check_and_log(epochs[-1], config, collective)
        if loss < best_loss or fixed_epochs is not None:
            best, best_logits, best_loss, best_epoch = get_weights(network), found, loss, len(epochs)
        if on_epoch:
            on_epoch(len(epochs), loss)
    set_weights(network, best)
    return TrainedNetwork(best, best_logits, epochs, best_epoch)


def _train_rows(data: RankData, config: ModelConfig, collective: Collective) -> TrainRows:
    """Raises ContractError if down-sampling left no negative."""
    first = data.total_train_rows * collective.rank // collective.size
    rows = kept_rows(data.train.labels, first, config)
    kept = np.zeros((collective.size, 2))
    kept[collective.rank] = len(rows), (data.train.labels[rows] == 0).sum()
    kept = collective.sum(kept)
    if not kept[:, 1].any():
        raise ContractError(
            f"No negative of the {data.total_train_rows} training examples is kept: raise model.negative_rate "
            f"from {config.negative_rate}."
        )
    share = replace(data.train, weights=data.train.weights * class_weights(data.train.labels, config))
    return TrainRows(share, rows, int(kept[:, 0].sum()), int(kept[:, 0].max()))


def _train_epoch(step: TrainStep, train: TrainRows, config: ModelConfig, collective: Collective, epoch: int) -> float:
    steps = steps_per_epoch(train.largest_share, 1, config.batch_size)
    places = epoch_order(len(train.rows), steps, config.batch_size, config.seed, epoch, collective.rank)
    order = np.where(places >= 0, np.append(train.rows, -1)[places], -1)
    own_weights = np.where(order >= 0, train.share.weights[order], 0.0).sum(axis=1)
    totals = group_totals(collective.sum(own_weights), config.accumulate_steps)
    last = last_of_groups(steps, config.accumulate_steps)
    loss, progress = 0.0, Progress("train_intent", epoch=epoch + 1) if collective.rank == 0 else None
    for number, rows in enumerate(order):
        if progress:
            progress.update(number, steps)
        # A step whose rows all weigh nothing has a gradient of zero, whatever it is divided by.
        loss += step(*batch_of(train.share, rows), totals[number] or 1.0, last[number])
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
