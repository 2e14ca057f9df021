"""Scores from a model directory, as a Python worker of Spark computes them.

Operational truths: the model is read on the first call in a process, never before a fork; it is cached in
this module by the hash of its content, so a reused worker pays once per model; TensorFlow's threads are
fixed by whichever model a process loads first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pandas import DataFrame

from intent_spark.models.directory import TrainedModel, content_hash, load_model
from intent_spark.models.encode import Batch, Encoded, encode_ragged, table_from_pandas

Scores = npt.NDArray[np.float64]
NetworkLogits = Callable[[Batch], Scores]
_CACHE: dict[str, Predictor] = {}


class Prediction(NamedTuple):
    """Probabilities in [0, 1], float64 [n]: the network's, the same calibrated, and logistic regression's."""

    intent: Scores
    calibrated_intent: Scores
    logistic_intent: Scores


class Predictor:
    """A loaded model. ``batch_rows`` rows go through one traced function; the last batch is padded."""

    def __init__(self, model_dir: Path | str, cores: int = 1, batch_rows: int = 1024) -> None:
        """Load and verify the directory; raises ContractError if a file was altered."""
        self.model: TrainedModel = load_model(Path(model_dir))
        self._batch_rows = batch_rows
        self._network_logits = _load_network(self.model, cores)

    def predict(self, table: pa.Table) -> Prediction:
        """Score each row of a table that has the schema's columns, in its order."""
        encoded = encode_ragged(table, self.model.schema)
        logits = batched_logits(self._network_logits, encoded, self._batch_rows)
        return Prediction(
            intent=1.0 / (1.0 + np.exp(-logits)),
            calibrated_intent=self.model.calibration.probabilities(logits),
            logistic_intent=self.model.logistic.probabilities(encoded.numeric),
        )

    def predict_frame(self, frame: DataFrame) -> Prediction:
        """Score each row of a pandas frame, as a pandas UDF receives it."""
        return self.predict(table_from_pandas(frame, self.model.schema))


def cached_predictor(model_dir: Path | str, cores: int = 1, batch_rows: int = 1024) -> Predictor:
    """This process's predictor for the directory's present content, loaded on the first call."""
    key = f"{content_hash(Path(model_dir))}/{batch_rows}"
    if key not in _CACHE:
        _CACHE[key] = Predictor(model_dir, cores, batch_rows)
    return _CACHE[key]


def batched_logits(network_logits: NetworkLogits, encoded: Encoded, batch_rows: int) -> Scores:
    """Logits float64 [n] of all rows, ``batch_rows`` at a time, the last batch padded with empty rows."""
    logits = np.empty(encoded.rows)
    # Rows of like length share a batch, so a batch is no longer than its users need.
    order = np.argsort(np.diff(encoded.offsets), kind="stable")
    for start in range(0, encoded.rows, batch_rows):
        rows = order[start : start + batch_rows]
        padded = np.pad(rows, (0, batch_rows - len(rows)), constant_values=-1)
        logits[rows] = network_logits(encoded.take(padded))[: len(rows)]
    return logits


def _load_network(model: TrainedModel, cores: int) -> NetworkLogits:
    from intent_spark.models.intent_net import build_network, configure_threads, set_weights, traced_logits

    configure_threads(cores)
    network = build_network(model.schema, model.config)
    set_weights(network, model.weights)
    return traced_logits(network)
