"""Class balance: positives may weigh more and negatives be fewer in the training loss, at no cost to probabilities.

A positive weight of w and a share r of the negatives multiply the odds that a model sees by w / r. The network
is trained with that known factor added to its log odds, so without it they are those of all rows: the prior
correction of King & Zeng, Logistic Regression in Rare Events Data, 2001 (eq. 7), and of He et al., Practical
Lessons from Predicting Clicks on Ads at Facebook, 2014, section 6.3, made before instead of after.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pandas.util import hash_array

from intent_spark.config.model import ModelConfig

FloatArray = npt.NDArray[np.float64]

# SplitMix64 (Steele et al., 2014): pandas hashes integers by its finaliser, over steps of the golden ratio.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def log_odds_offset(config: ModelConfig) -> float:
    """What class balance adds to the log odds of the rows that are trained on."""
    return float(np.log(config.positive_weight) - np.log(config.negative_rate))


def class_weights(labels: FloatArray, config: ModelConfig) -> FloatArray:
    """The factor [n] by which each row's weight grows."""
    return np.where(labels == 1, config.positive_weight, 1.0)


def kept_rows(labels: FloatArray, first_row: int, config: ModelConfig) -> npt.NDArray[np.intp]:
    """Numbers of this rank's rows that are trained on: all positives, and ``negative_rate`` of the negatives.

    The choice depends on the seed and on a row's number among all ranks' rows (``first_row`` is the first's): the
    number of ranks does not change it.
    """
    numbers = np.arange(first_row, first_row + len(labels), dtype=np.uint64)
    start: npt.NDArray[Any] = hash_array(np.array([config.seed], np.uint64))
    # Of 64 bits the upper 53, which a double holds: below 1 always, so a rate of 1 keeps every row.
    fractions = (hash_array(start + numbers * _GOLDEN) >> np.uint64(11)) / 2.0**53
    return np.flatnonzero((labels == 1) | (fractions < config.negative_rate))
