"""What turns a user's events into one vector, by name. Imports TensorFlow: import it late.

Whatever the encoder, padding and what lies behind the mask move nothing, and a user without events is the
zero vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import layers, ops

from intent_spark.config.model import ModelConfig
from intent_spark.models.schema import SequenceFeature

Tensor = Any
KERNEL = 3  # events that one convolution reads
AGE_BUCKETS = 32  # bucket k is centred on an age of 2^k seconds, so the last one on 68 years


@dataclass(frozen=True, eq=False)
class History:
    """A batch of users, as every encoder gets it; events are oldest first.

    ``events`` float [n, l, d]; ``mask`` bool [n, l], False after the newest event; ``profile`` float32 [n, f];
    ``gaps`` float32 [n, l]: the encoded seconds from each event to the next, or to as_of (none in some shops).
    """

    events: Tensor
    mask: Tensor
    profile: Tensor
    gaps: tuple[Tensor, SequenceFeature] | None = None


Encoder = Callable[[History, ModelConfig], Tensor]


def _lstm(history: History, config: ModelConfig) -> Tensor:
    return layers.LSTM(config.hidden_units, name="encoder")(history.events, mask=history.mask)


def _gru(history: History, config: ModelConfig) -> Tensor:
    return layers.GRU(config.hidden_units, name="encoder")(history.events, mask=history.mask)


def _cnn(history: History, config: ModelConfig) -> Tensor:
    """Causal convolutions whose reach doubles from layer to layer until it covers ``max_length`` events.

    After Bai et al., An Empirical Evaluation of Generic Convolutional and Recurrent Networks, 2018.
    """
    values = layers.Dense(config.hidden_units, name="event_vector")(history.events)
    for number in range(convolutions(config.max_length)):
        name = f"convolution_{number + 1}"
        reach = {"padding": "causal", "dilation_rate": 2**number}
        convolved = layers.Conv1D(config.hidden_units, KERNEL, activation="relu", name=name, **reach)(values)
        values = layers.Add()([values, layers.Dropout(config.dropout, name=f"{name}_dropout")(convolved)])
    return _at_newest(values, history.mask)


def convolutions(max_length: int) -> int:
    """How many layers of dilation 1, 2, 4, … the newest of ``max_length`` events needs to see the oldest."""
    number = 0
    while 1 + (KERNEL - 1) * (2**number - 1) < max_length:
        number += 1
    return number


def _transformer(history: History, config: ModelConfig) -> Tensor:
    """Self-attention over events that know their place and age, read at the newest one.

    After Chen et al., Behavior Sequence Transformer, 2019; normalised before each part, after Xiong et al., 2020.
    """
    values = _placed(history, config)
    for number in range(1, config.attention_blocks + 1):
        values = _attention_block(values, history.mask, config, f"attention_{number}")
    return _at_newest(layers.LayerNormalization(name="attention_norm")(values), history.mask)


def _attention_block(values: Tensor, mask: Tensor, config: ModelConfig, name: str) -> Tensor:
    units = config.hidden_units
    normed = layers.LayerNormalization(name=f"{name}_norm")(values)
    attention = layers.MultiHeadAttention(config.attention_heads, max(1, units // config.attention_heads), name=name)
    attended = attention(normed, normed, attention_mask=mask[:, None, :])
    values = layers.Add()([values, layers.Dropout(config.dropout, name=f"{name}_dropout")(attended)])
    normed = layers.LayerNormalization(name=f"{name}_dense_norm")(values)
    dense = layers.Dense(2 * units, activation="relu", name=f"{name}_dense_1")(normed)
    dense = layers.Dense(units, name=f"{name}_dense_2")(dense)
    return layers.Add()([values, layers.Dropout(config.dropout, name=f"{name}_dense_dropout")(dense)])


def _din(history: History, config: ModelConfig) -> Tensor:
    """The sum of events, each weighing what a small network says of it and of the profile.

    Weights are not normalised, so that a strong interest stays strong: Zhou et al., Deep Interest Network, 2018.
    """
    values = _placed(history, config)
    query = layers.Dense(config.hidden_units, name="query")(history.profile)[:, None, :]
    met = layers.Concatenate()([values, query * values, query - values])
    hidden = layers.Dense(config.hidden_units, activation="relu", name="interest_dense")(met)
    interest = layers.Dense(1, name="interest")(hidden)
    return _sum_where(history.mask, interest * values)


# None: the profile alone, no sequence is an input.
ENCODERS: dict[str, Encoder | None] = {
    "lstm": _lstm,
    "gru": _gru,
    "cnn": _cnn,
    "transformer": _transformer,
    "din": _din,
    "mlp": None,
}


def _placed(history: History, config: ModelConfig) -> Tensor:
    """Events as vectors [n, l, units] that say which one before the newest they are, and how old."""
    embed = layers.Embedding(config.max_length, config.hidden_units, name="place_embedding")
    parts = [
        layers.Dense(config.hidden_units, name="event_vector")(history.events),
        embed(places(history.mask)),
    ]
    if history.gaps is not None:
        gaps, feature = history.gaps
        embed_age = layers.Dense(config.hidden_units, use_bias=False, name="age_embedding")
        parts.append(embed_age(age_buckets(gaps, history.mask, feature)))
    return layers.Add()(parts)


def places(mask: Tensor) -> Tensor:
    """How many events are newer, int32 [n, l]; 0 behind the mask."""
    counted = ops.cumsum(ops.cast(mask, "int32"), axis=1)
    return ops.max(counted, axis=1, keepdims=True) - counted


def age_buckets(gaps: Tensor, mask: Tensor, feature: SequenceFeature) -> Tensor:
    """Each event's share in the age buckets, float32 [n, l, AGE_BUCKETS]: two neighbours share one event.

    The age is the time from the event to as_of: the sum of the gaps from there on. Linear between centres, so
    that no age jumps (Gorishniy et al., On Embeddings for Numerical Features, 2022).
    """
    logarithms = ops.clip(ops.cast(gaps, "float32") * feature.std + feature.mean, 0.0, AGE_BUCKETS * np.log(2))
    seconds = ops.where(mask, ops.expm1(logarithms), 0.0)
    ages = ops.flip(ops.cumsum(ops.flip(seconds, axis=1), axis=1), axis=1)
    octaves = ops.clip(ops.log1p(ages) / np.log(2), 0.0, AGE_BUCKETS - 1.0)
    return ops.relu(1.0 - ops.abs(octaves[..., None] - np.arange(AGE_BUCKETS, dtype=np.float32)))


def _at_newest(values: Tensor, mask: Tensor) -> Tensor:
    return _sum_where(ops.logical_and(mask, ops.equal(places(mask), 0)), values)


def _sum_where(chosen: Tensor, values: Tensor) -> Tensor:
    """The sum [n, d] of the chosen events' values [n, l, d]; the zero vector where none is chosen."""
    return ops.sum(ops.where(chosen[..., None], values, ops.zeros_like(values)), axis=1)
