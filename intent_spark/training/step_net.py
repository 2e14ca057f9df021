"""One step of a rank's training: loss, gradients, their sum over ranks, update. Imports TensorFlow: import it late."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from intent_spark.config.heads import HEADS
from intent_spark.config.model import ModelConfig
from intent_spark.models.encode import Array, Batch
from intent_spark.training.balance import log_odds_offset
from intent_spark.training.collective import Collective
from intent_spark.training.feed import TARGET_WEIGHTS, TARGETS
from intent_spark.training.slices_net import for_exchange

Tensor = Any
# Decay is for what multiplies inputs. An embedding would shrink at every step, however rarely its item is seen.
NOT_DECAYED = ["bias", "gamma", "beta", "embeddings"]
# Of a further head, by its kind, from targets and logits [k]; an amount's logit is its logarithm.
LOSSES = {
    "chance": lambda targets, logits: tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits),
    "amount": lambda targets, logits: tf.square(logits - targets) / 2.0,
}


def new_optimizer(network: keras.Model, config: ModelConfig) -> Any:
    """Adam, with decoupled weight decay (Loshchilov & Hutter, 2019) and clipping by the norm of the whole gradient."""
    optimizer = keras.optimizers.Adam(
        config.learning_rate,
        weight_decay=config.weight_decay or None,
        global_clipnorm=config.clip_norm or None,
    )
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    optimizer.build(network.trainable_variables)
    return optimizer


def training_losses(logits: Tensor, labels: Tensor, config: ModelConfig) -> Tensor:
    """The loss of each row [k] that is minimised: log loss, or focal loss where ``focal_gamma`` is above 0.

    Focal loss is ``(1 - p)^gamma`` times the log loss, p being the probability of what happened (Lin et al.,
    Focal Loss for Dense Object Detection, 2017, eq. 4; their alpha is ``positive_weight``).
    """
    logits = logits + np.float32(log_odds_offset(config))
    losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    if config.focal_gamma:
        # log(1 - p), finite however sure the network is.
        missed = tf.math.log_sigmoid((1.0 - 2.0 * labels) * logits)
        losses *= tf.exp(config.focal_gamma * missed)
    return losses


class TrainStep:
    """Steps of a network; each applies the summed gradients of one batch or of several.

    The gradient is that of the sum over all ranks' rows of ``weight x loss / total``, where ``total`` is the
    weight of all ranks' rows that are applied together: what one process would compute from all of them,
    padded or not. The weights are summed beside the gradients, so nobody has to know them before.
    """

    def __init__(self, network: keras.Model, optimizer: Any, collective: Collective, config: ModelConfig) -> None:
        """Trace nothing yet; ``optimizer`` must be built."""
        self._network, self._optimizer, self._collective, self._config = network, optimizer, collective, config
        self._variables = [variable.value for variable in network.trainable_variables]
        # Gradients, loss and weight of the batches before the one that applies them.
        waiting = config.accumulate_steps > 1
        self._waiting = [tf.Variable(tf.zeros_like(v), trainable=False) for v in self._variables] if waiting else []
        self._waiting_sums = tf.Variable(tf.zeros([2]), trainable=False)
        # About the weight of a step: gradients divided by it fit into 16 bits.
        self._usual = float(config.batch_size * config.accumulate_steps * collective.size)
        vector = tf.TensorSpec([None], tf.float32)
        self._specs = input_specs(network)
        signature = [self._specs, vector, vector]
        traced = tf.function(input_signature=signature, jit_compile=False)
        self._add, self._apply = traced(self._add_gradients), traced(self._apply_gradients)

    def __call__(self, inputs: Batch, labels: Array, weights: Array, last: bool = True) -> npt.NDArray[np.float64]:
        """Sums of weighted losses and of weights, of labels and weights [k] and of all ranks' and batches before.

        Where it is not the ``last`` batch the weights do not change and zeros are returned.
        """
        tensors = {name: tf.convert_to_tensor(inputs[name]) for name in self._specs}
        run = self._apply if last else self._add
        return np.asarray(run(tensors, labels, weights), np.float64)

    def _add_gradients(self, inputs: dict[str, Tensor], labels: Tensor, weights: Tensor) -> Tensor:
        gradients, sums = self._gradients(inputs, labels, weights)
        for waiting, gradient in zip(self._waiting, gradients, strict=True):
            waiting.assign_add(tf.convert_to_tensor(gradient))
        self._waiting_sums.assign_add(sums)
        return tf.zeros([2])

    def _apply_gradients(self, inputs: dict[str, Tensor], labels: Tensor, weights: Tensor) -> Tensor:
        gradients, sums = self._gradients(inputs, labels, weights)
        if self._waiting:
            pairs = zip(self._waiting, gradients, strict=True)
            gradients = [waiting + tf.convert_to_tensor(gradient) for waiting, gradient in pairs]
            sums += self._waiting_sums
        sums = self._collective.sum_tensor(sums)
        # Rows that all weigh nothing have a gradient of zero, whatever it is divided by.
        share = tf.where(sums[1] > 0, sums[1], self._usual) / self._usual
        summed = [tf.convert_to_tensor(gradient) / share for gradient in self._exchange(gradients)]
        self._optimizer.apply(summed, self._network.trainable_variables)
        for waiting in (*self._waiting, self._waiting_sums):
            waiting.assign(tf.zeros_like(waiting))
        return sums

    def _gradients(self, inputs: dict[str, Tensor], labels: Tensor, weights: Tensor) -> tuple[list[Tensor], Tensor]:
        with tf.GradientTape() as tape:
            logits = self._network({name: inputs[name] for name in self._network.input}, training=True)
            weighted = tf.reduce_sum(weights * training_losses(logits[:, 0], labels, self._config))
            loss = (weighted + self._further_losses(logits, inputs)) / self._usual
        return tape.gradient(loss, self._variables), tf.stack([weighted, tf.reduce_sum(weights)])

    def _further_losses(self, logits: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        """The further heads' part of the loss; 0 where there are none."""
        total = 0.0
        for place, (head, weight) in enumerate(self._config.head_weights.items(), start=1):
            column = HEADS.index(head)
            losses = LOSSES[head.kind](inputs[TARGETS][:, column], logits[:, place])
            total += weight * tf.reduce_sum(inputs[TARGET_WEIGHTS][:, column] * losses)
        return total

    def _exchange(self, gradients: list[Tensor]) -> list[Tensor]:
        most_slices, ranks = self._config.batch_size * self._config.max_length, self._collective.size
        pairs = zip(gradients, self._variables, strict=True)
        ready = [for_exchange(gradient, tuple(variable.shape), most_slices, ranks) for gradient, variable in pairs]
        return self._collective.sum_gradients(ready)


def input_specs(network: keras.Model) -> dict[str, Any]:
    """What a step reads of a batch's inputs, by name: the network's, and the further heads' targets and weights."""
    specs = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in network.input.items()}
    if network.output.shape[-1] == 1:
        return specs
    return specs | dict.fromkeys((TARGETS, TARGET_WEIGHTS), tf.TensorSpec([None, len(HEADS)], tf.float32))


def last_of_groups(steps: int, size: int) -> npt.NDArray[np.bool_]:
    """Which steps [steps] apply the gradients of ``size`` steps; the epoch's last one applies what is left."""
    numbers = np.arange(1, steps + 1)
    return np.asarray((numbers % size == 0) | (numbers == steps), np.bool_)
