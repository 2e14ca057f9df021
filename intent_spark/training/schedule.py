"""The learning rate of each update."""

from __future__ import annotations

import math

from intent_spark.config.model import ModelConfig


def learning_rate(config: ModelConfig, ranks: int, epoch: int, updates: int) -> float:
    """The rate after ``updates`` updates, in an epoch counted from 0.

    Scaled with the batches that an update sums (linear: Goyal et al., Accurate, Large Minibatch SGD, 2017; by the
    square root: Krizhevsky, One Weird Trick, 2014, which is what suits Adam), after a linear rise from nothing.
    """
    batches = ranks * config.accumulate_steps
    scale = {"none": 1.0, "sqrt": math.sqrt(batches), "linear": float(batches)}[config.learning_rate_scaling]
    warm = min(1.0, (updates + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    return config.learning_rate * scale * warm * config.learning_rate_decay**epoch
