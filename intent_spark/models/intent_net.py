"""The intent network: event sequence and profile in, one logit out. Imports TensorFlow: import it late."""

from __future__ import annotations

from collections.abc import Callable
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
from intent_spark.models.schema import FeatureSchema, SequenceFeature

Tensor = Any
Encoder = Callable[[Tensor, Tensor, ModelConfig], Tensor]


def _lstm(events: Tensor, mask: Tensor, config: ModelConfig) -> Tensor:
    return layers.LSTM(config.hidden_units, name="encoder")(events, mask=mask)


def _gru(events: Tensor, mask: Tensor, config: ModelConfig) -> Tensor:
    return layers.GRU(config.hidden_units, name="encoder")(events, mask=mask)


# events [n, l, d], mask [n, l] (False after the newest event), configuration -> [n, units]
ENCODERS: dict[str, Encoder] = {"lstm": _lstm, "gru": _gru}


def configure_threads(cores: int) -> None:
    """Hold TensorFlow to ``cores`` threads. Has effect only before this process's first operation."""
    try:
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        # TensorFlow is running in this process already: its pool cannot be resized any more.
        return


def build_network(schema: FeatureSchema, config: ModelConfig) -> keras.Model:
    """An uncompiled model from the inputs of :meth:`Encoded.take` to logits float32 [n, 1].

    The encoder's vector and the profile go through dense layers; a linear path from the profile to the logit
    beside them keeps what logistic regression knows (after Cheng et al., Wide & Deep Learning, 2016).
    """
    numeric = keras.Input((len(schema.inputs),), name="numeric")
    inputs: dict[str, Tensor] = {"numeric": numeric}
    joined = [numeric]
    if schema.sequences:
        mask = keras.Input((None,), dtype="bool", name="mask")
        inputs["mask"] = mask
        inputs |= {feature.name: _sequence_input(feature) for feature in schema.sequences}
        events = _concatenate([_embedded(inputs[feature.name], feature, config) for feature in schema.sequences])
        joined.append(ENCODERS[config.encoder](events, mask, config))
    deep = _dense(_concatenate(joined), config)
    outputs = [layers.Dense(1, name="deep_logit")(deep)]
    if schema.inputs:
        outputs.append(layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="wide_logit")(numeric))
    logit = layers.Add(name="logit")(outputs) if len(outputs) > 1 else outputs[0]
    return keras.Model(inputs, logit, name="intent")


def load_network(schema: FeatureSchema, config: ModelConfig, weights: Weights, cores: int) -> keras.Model:
    """A trained network; the same errors as :func:`set_weights`."""
    configure_threads(cores)
    # Keras numbers layers of one kind within a process: a second network must have the first one's names.
    keras.utils.clear_session(free_memory=False)
    network = build_network(schema, config)
    set_weights(network, weights)
    return network


def traced_logits(network: keras.Model) -> Callable[[Batch], npt.NDArray[np.float64]]:
    """The network as one traced function from a batch to logits float64 [n], for any length of sequences."""
    specs = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in network.input.items()}

    @tf.function(input_signature=[specs])
    def call(batch: dict[str, Tensor]) -> Tensor:
        return network(batch, training=False)[:, 0]

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
    # The state of dropout's random generator is a variable too, but decides no score.
    return {variable.path: variable for variable in network.weights if "seed_generator" not in variable.path}


def _sequence_input(feature: SequenceFeature) -> Tensor:
    return keras.Input((None,), dtype="int32" if feature.codes else "float32", name=feature.name)


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
