"""One rank's training: steps, epochs, early stopping, going on from a snapshot. Imports TensorFlow: import it late."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from intent_spark.config.errors import UntrainableError
from intent_spark.config.log import LOGGER, Progress
from intent_spark.config.model import ModelConfig
from intent_spark.models.bayesian_ridge import Linear
from intent_spark.models.directory import Weights
from intent_spark.models.encode import batched_logits
from intent_spark.models.intent_net import (
    build_network,
    configure_threads,
    get_weights,
    set_weights,
    traced_heads,
)
from intent_spark.models.logistic import Labelled, LogisticModel, mean_log_loss
from intent_spark.models.schema import FeatureSchema
from intent_spark.training.checkpoint import Keeper, NoKeeper, Snapshot
from intent_spark.training.collective import Collective
from intent_spark.training.feed import Judged
from intent_spark.training.prefetch_net import Prefetched
from intent_spark.training.schedule import learning_rate
from intent_spark.training.step_net import TrainStep, last_of_groups, new_optimizer
from intent_spark.training.stream import Place, TrainFeed

Logits = npt.NDArray[np.float64]
# Nats of a row: log odds so far out come of steps that are too large, and nothing brings them back. NaN is not less.
HOPELESS = 1000.0


@dataclass(frozen=True)
class Epoch:
    """What one epoch did, over all ranks; ``seconds_waiting`` is how long rank 0 had to wait for data."""

    epoch: int
    train_loss: float
    validation_loss: float
    rows_per_second: float
    seconds_waiting: float


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """The best weights, their logits of this rank's validation rows [n, heads], and all epochs."""

    weights: Weights
    validation_heads: Logits
    epochs: list[Epoch]
    best_epoch: int

    @property
    def validation_logits(self) -> Logits:
        """Of a purchase [n]."""
        return np.asarray(self.validation_heads[:, 0])


@dataclass(frozen=True, eq=False)
class RankData:
    """What a rank trains on and what it is judged on; ``prefetch`` batches are ready before their step."""

    train: TrainFeed
    validation: Judged
    prefetch: int = 2


@dataclass(eq=False)
class State:
    """How far a training is; see :class:`Snapshot`."""

    best: Weights
    best_loss: float
    best_epoch: int = 0
    place: Place = Place()
    updates: int = 0
    loss: float = 0.0
    weight: float = 0.0
    epochs: list[Epoch] = field(default_factory=list)


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


def start_head(network: keras.Model, name: str, linear: Linear) -> None:
    """Let a further head begin as a linear model of its own label; all of it may change afterwards."""
    head = network.get_layer(f"{name}_logit")
    kernel = np.zeros_like(head.get_weights()[0])
    kernel[len(kernel) - len(linear.coefficients) :, 0] = linear.coefficients
    head.set_weights([kernel, np.array([linear.intercept])])


def fit_network(
    network: keras.Model,
    data: RankData,
    config: ModelConfig,
    collective: Collective,
    keeper: Keeper | None = None,
    fixed_epochs: int | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> TrainedNetwork:
    """Train until validation stops improving; the decision, being made of sums, is the same on every rank.

    Validation is judged by plain log loss, whatever the training loss weighs or leaves out. What ``keeper`` has of a
    training of this encoder is gone on with: with one rank to the same bits as if it had never been interrupted. With
    ``fixed_epochs`` so many are run, none is judged and the last is the best. ``on_epoch`` is told each epoch's number
    and validation loss, and may end the training by raising.

    ``best_epoch`` is 0 where no epoch improves on the weights that the network came with.

    Raises:
        UntrainableError: a loss is not finite, or hopelessly large.
    """
    training = _Training(network, data, config, collective, keeper or NoKeeper())
    state = training.begin()
    limit = config.max_epochs if fixed_epochs is None else fixed_epochs
    while len(state.epochs) < limit and len(state.epochs) - state.best_epoch < config.patience:
        training.run_epoch(always_better=fixed_epochs is not None)
        if on_epoch:
            on_epoch(len(state.epochs), state.epochs[-1].validation_loss)
    set_weights(network, state.best)
    return TrainedNetwork(state.best, training.validation_heads(), state.epochs, state.best_epoch)


class _Training:
    """A network on its way: its state changes with each step."""

    def __init__(
        self, network: keras.Model, data: RankData, config: ModelConfig, collective: Collective, keeper: Keeper
    ) -> None:
        self._network, self._data, self._config, self._collective = network, data, config, collective
        self._optimizer, self._keeper = new_optimizer(network, config), keeper
        # Not the configured one: what a snapshot restores is the rate of its last step.
        self._rate: float | None = None
        self._step = TrainStep(network, self._optimizer, collective, config)
        self._heads, self._head_count = traced_heads(network), network.output.shape[-1]
        self._variables = [v.value for v in (*network.variables, *self._optimizer.variables)]

    def begin(self) -> State:
        """The state to start from: a snapshot's, or that of a network which has learnt nothing yet."""
        found = self._keeper.restore(self._config.encoder)
        if found:
            for variable, values in zip(self._variables, found.variables, strict=True):
                variable.assign(values)
        self._collective.broadcast(self._variables)
        self.state = self._taken_up(found) if found else State(get_weights(self._network), self._judged())
        return self.state

    def _taken_up(self, found: Snapshot) -> State:
        place = found.place
        if found.ranks != self._collective.size and place.step:
            # Other ranks share out anew what is left of the epoch.
            place = Place(place.epoch, 0, (*place.past, (found.ranks, place.step)))
        epochs = [Epoch(**epoch) for epoch in found.epochs]
        return State(
            found.best, found.best_loss, found.best_epoch, place, found.updates, found.loss, found.weight, epochs
        )

    def run_epoch(self, always_better: bool = False) -> None:
        """Train on what is left of the epoch, judge it, keep it."""
        state, started = self.state, time.monotonic()
        rows, waited = self._train_epoch()
        loss, number = self._judged(), state.place.epoch + 1
        rate = rows / (time.monotonic() - started)
        state.epochs.append(Epoch(number, state.loss / state.weight, loss, rate, waited))
        _check_and_log(state.epochs[-1], self._config, self._collective)
        if loss < state.best_loss or always_better:
            state.best, state.best_loss, state.best_epoch = get_weights(self._network), loss, number
        state.place, state.loss, state.weight = Place(number), 0.0, 0.0
        self._keeper.offer(self._config.encoder, self._snapshot, state.updates, epoch_ended=True)

    def _train_epoch(self) -> tuple[float, float]:
        """All ranks' rows that were trained on now, and the seconds that were waited for them."""
        state, feed = self.state, self._data.train
        first, steps, started = state.place, feed.steps(state.place), time.monotonic()
        last = last_of_groups(steps, self._config.accumulate_steps)
        batches = Prefetched(lambda: feed.batches(first), self._network, self._data.prefetch)
        progress = Progress("train_intent", epoch=first.epoch + 1) if self._collective.rank == 0 else None
        rows_a_step = feed.total / max(feed.steps(Place(first.epoch)), 1)
        for number, batch in enumerate(batches, start=first.step):
            self._set_rate()
            sums = self._step(*batch, bool(last[number]))
            state.loss, state.weight = state.loss + sums[0], state.weight + sums[1]
            if last[number]:
                state.updates += 1
                state.place = Place(first.epoch, number + 1, first.past)
                self._keeper.offer(self._config.encoder, self._snapshot, state.updates, epoch_ended=False)
            if progress:
                rate = (number + 1 - first.step) * rows_a_step / (time.monotonic() - started)
                progress.update(number + 1, steps, rows_per_second=rate, seconds_waiting=batches.waited)
        if progress:
            progress.close()
        return (steps - first.step) * rows_a_step, batches.waited

    def _set_rate(self) -> None:
        rate = learning_rate(self._config, self._collective.size, self.state.place.epoch, self.state.updates)
        if rate != self._rate:
            self._optimizer.learning_rate.assign(rate)
            self._rate = rate

    def _snapshot(self) -> Snapshot:
        state = self.state
        return Snapshot(
            place=state.place, ranks=self._collective.size, updates=state.updates, loss=state.loss,
            weight=state.weight, epochs=[asdict(epoch) for epoch in state.epochs], best_epoch=state.best_epoch,
            best_loss=state.best_loss, best=state.best, variables=[np.array(v) for v in self._variables],
        )  # fmt: skip

    def validation_heads(self) -> Logits:
        """Logits of this rank's validation rows [n, heads], by the weights as they are."""
        rows, heads = self._config.batch_size, self._head_count
        return self._data.validation.score(lambda encoded: batched_logits(self._heads, encoded, rows, heads))

    def _judged(self) -> float:
        validation, logits = self._data.validation, self.validation_heads()[:, 0]
        rows = Labelled(np.zeros((len(logits), 0)), validation.labels, validation.weights)
        return mean_log_loss(logits, rows, self._collective.sum)


def _check_and_log(epoch: Epoch, config: ModelConfig, collective: Collective) -> None:
    if not all(loss < HOPELESS for loss in (epoch.train_loss, epoch.validation_loss)):
        raise UntrainableError(
            f"Training diverged in epoch {epoch.epoch} (train loss {epoch.train_loss}, validation loss "
            f"{epoch.validation_loss}): lower model.learning_rate from {config.learning_rate}."
        )
    if collective.rank == 0:
        fields = (f"{key}={value:.6g}" for key, value in asdict(epoch).items())
        LOGGER.info("step=train_intent.epoch %s", " ".join(fields))
