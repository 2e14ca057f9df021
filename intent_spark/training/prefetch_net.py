"""Batches as tensors, made ready by tf.data while a step is computed. Imports TensorFlow: import it late."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from intent_spark.training.step_net import input_specs
from intent_spark.training.stream import FedBatch


class Prefetched:
    """The batches of an iterator, ``ahead`` of them ready; ``waited`` is how many seconds its reader had to wait."""

    def __init__(self, batches: Callable[[], Iterator[FedBatch]], network: keras.Model, ahead: int) -> None:
        """Take nothing yet."""
        self._batches, self._ahead = batches, ahead
        self._error: BaseException | None = None
        self._specs = input_specs(network)
        self.waited = 0.0

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Any, Any]]:
        """Inputs by name, labels and weights, as tensors.

        Raises:
            Exception: what the batches' iterator raised, as it was.
        """
        vector = tf.TensorSpec([None], tf.float32)
        made = tf.data.Dataset.from_generator(self._needed, output_signature=(self._specs, vector, vector))
        options = tf.data.Options()
        options.deterministic = True
        # One thread runs the generator: more would only take the step's core.
        options.threading.private_threadpool_size = 1
        options.autotune.enabled = False
        ready = iter(made.prefetch(self._ahead).with_options(options))
        while True:
            asked = time.monotonic()
            batch = next(ready, None)
            self.waited += time.monotonic() - asked
            if batch is None:
                break
            yield batch
        if self._error is not None:
            raise self._error

    def _needed(self) -> Iterator[Any]:
        """What the network reads of each batch. An error ends it and is raised by the reader, not by tf.data."""
        try:
            for inputs, labels, weights in self._batches():
                yield {name: inputs[name] for name in self._specs}, labels, weights
        except BaseException as error:
            self._error = error
