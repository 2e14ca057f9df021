"""The intent network: event sequence and profile in, a logit for each head out. Imports TensorFlow: import it late."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers

from intent_spark.config.errors import ContractError
from intent_spark.config.model import ModelConfig
from intent_spark.models.directory import Weights
from intent_spark.models.encode import Batch
from intent_spark.models.encoders_net import ENCODERS, History
from intent_spark.models.schema import FeatureSchema, SequenceFeature

Tensor = Any


def configure_threads(cores: int) -> None:
    """Hold TensorFlow to ``cores`` threads. Has effect only before this process's first operation."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        # TensorFlow is running in this process already: its pool cannot be resized any more.
        return


def build_network(schema: FeatureSchema, config: ModelConfig) -> keras.Model:
    """An uncompiled model from the inputs of :meth:`Encoded.take` to logits float32 [n, heads]: purchase, then others.

    The encoder's vector and the profile go through dense layers; a linear path from the profile to the logit
    beside them keeps what logistic regression knows (after Cheng et al., Wide & Deep Learning, 2016). The heads share
    all but their last layer, which beside that of purchases reads the profile too. An amount's logit is its logarithm.
    """
    with _precision(config):
        numeric = keras.Input((len(schema.inputs),), name="numeric")
        inputs: dict[str, Tensor] = {"numeric": numeric}
        joined = [numeric]
        encoder = ENCODERS[config.encoder]
        if schema.sequences and encoder:
            inputs |= _sequence_inputs(schema)
            joined.append(encoder(_history(inputs, schema, config), config))
        deep = _dense(_concatenate(joined), config)
        # The logit stays float32: what is learnt in bfloat16 below it must not coarsen the linear path.
        outputs = [layers.Dense(1, name="deep_logit", dtype="float32")(deep)]
        if schema.inputs:
            wide = layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="wide_logit", dtype="float32")
            outputs.append(wide(numeric))
        logit = layers.Add(name="logit", dtype="float32")(outputs) if len(outputs) > 1 else outputs[0]
        if config.head_weights:
            both = layers.Concatenate(dtype="float32")([deep, numeric])
            further = [layers.Dense(1, name=f"{h.name}_logit", dtype="float32")(both) for h in config.head_weights]
            logit = layers.Concatenate(name="heads", dtype="float32")([logit, *further])
        return keras.Model(inputs, logit, name="intent")


def load_network(schema: FeatureSchema, config: ModelConfig, weights: Weights, cores: int) -> keras.Model:
    """A trained network; the same errors as :func:`set_weights`."""
    configure_threads(cores)
    # Keras numbers layers of one kind within a process: a second network must have the first one's names.
    keras.utils.clear_session(free_memory=False)
    network = build_network(schema, config)
    set_weights(network, weights)
    return network


def traced_heads(network: keras.Model) -> Callable[[Batch], npt.NDArray[np.float64]]:
    """The network as one traced function from a batch to logits float64 [n, heads], for any length of sequences."""
    specs = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in network.input.items()}

    @tf.function(input_signature=[specs])
    def call(batch: dict[str, Tensor]) -> Tensor:
        return network(batch, training=False)

    def logits(batch: Batch) -> npt.NDArray[np.float64]:
        tensors = {name: tf.convert_to_tensor(batch[name]) for name in specs}
        return np.asarray(call(tensors), np.float64)

    return logits


def get_weights(network: keras.Model) -> Weights:
    """The variables that decide a logit, by path."""
    return {path: variable.numpy() for path, variable in _variables(network).items()}


def set_weights(network: keras.Model, weights: Weights) -> None:
    """Put :func:`get_weights`'s arrays into a network of the same configuration.

    Raises:
        ContractError: names or shapes differ.
    """
    variables = _variables(network)
    if {k: tuple(v.shape) for k, v in variables.items()} != {k: v.shape for k, v in weights.items()}:
        raise ContractError("The model's weights do not fit its configuration: restore the directory, or train again.")
    for path, variable in variables.items():
        variable.assign(weights[path])


def _variables(network: keras.Model) -> dict[str, Any]:
    # Not what Keras calls the variables: the state of dropout's random generators decides no score.
    return {variable.path: variable for variable in network.weights}


@contextmanager
def _precision(config: ModelConfig) -> Iterator[None]:
    """Layers made within compute in the configured precision; a process may score models of both."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if config.mixed_precision else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _sequence_inputs(schema: FeatureSchema) -> dict[str, Tensor]:
    inputs = {"mask": keras.Input((None,), dtype="bool", name="mask")}
    for feature in schema.sequences:
        inputs[feature.name] = keras.Input((None,), dtype="int32" if feature.codes else "float32", name=feature.name)
    return inputs


def _history(inputs: dict[str, Tensor], schema: FeatureSchema, config: ModelConfig) -> History:
    events = _concatenate([_embedded(inputs[feature.name], feature, config) for feature in schema.sequences])
    # The noise has one value an event: an event is dropped whole, all its columns together.
    events = layers.Dropout(config.embedding_dropout, noise_shape=(None, None, 1), name="event_dropout")(events)
    gaps = next((feature for feature in schema.sequences if feature.name == config.gap_sequence), None)
    timed = (inputs[gaps.name], gaps) if gaps and gaps.kind == "number" else None
    return History(events, inputs["mask"], inputs["numeric"], timed)


def _embedded(values: Tensor, feature: SequenceFeature, config: ModelConfig) -> Tensor:
    if not feature.codes:
        return layers.Reshape((-1, 1), name=f"{feature.name}_column")(values)
    size = config.hashed_embedding_size if feature.kind == "hash" else config.embedding_size
    return layers.Embedding(feature.codes, size, name=f"{feature.name}_embedding")(values)


def _dense(values: Tensor, config: ModelConfig) -> Tensor:
    for number, units in enumerate(config.dense_units, start=1):
        values = layers.Dense(units, activation="relu", name=f"dense_{number}")(values)
        values = layers.Dropout(config.dropout, name=f"dropout_{number}")(values)
    return values


def _concatenate(values: list[Tensor]) -> Tensor:
    return layers.Concatenate()(values) if len(values) > 1 else values[0]
