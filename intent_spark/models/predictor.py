"""Scores from a model directory, as a Python worker of Spark computes them.

Operational truths: the model is read on the first call in a process, never before a fork; it is cached in
this module by the hash of its content, so a reused worker pays once per model; TensorFlow's threads are
fixed by whichever model a process loads first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pandas import DataFrame
from scipy.special import expit

from intent_spark.config.model import BLEND
from intent_spark.models.blend import Blend
from intent_spark.models.candidates import BLEND_FILE, Runtime, load_scorer
from intent_spark.models.directory import TrainedModel, content_hash, load_model
from intent_spark.models.encode import Encoded, encode_ragged, table_from_pandas

Scores = npt.NDArray[np.float64]
_CACHE: dict[str, Predictor] = {}


@dataclass(frozen=True, eq=False)
class Prediction:
    """Probabilities in [0, 1], float64 [n]: the champion's, and each candidate's after its calibration.

    ``heads`` holds, of those that a network tells, the probability of a chance after its own calibration, and what is
    to be expected of an amount: the champion's calibrated probability times the amount where it is above 0.
    """

    intent: Scores
    candidates: dict[str, Scores]
    heads: dict[str, Scores] = field(default_factory=dict)


class Predictor:
    """A loaded model. ``batch_rows`` rows go through one traced function; the last batch is padded."""

    def __init__(self, model_dir: Path | str, cores: int = 1, batch_rows: int = 1024) -> None:
        """Load and verify the directory; raises ContractError if a file was altered."""
        self.model: TrainedModel = load_model(Path(model_dir))
        runtime = Runtime(self.model.schema, self.model.config, cores, batch_rows)
        self._scorers = {
            name: load_scorer(name, candidate.files, runtime)
            for name, candidate in self.model.candidates.items()
            if name != BLEND
        }

    def predict(self, table: pa.Table) -> Prediction:
        """Score each row of a table that has the schema's columns, in its order."""
        return self.predict_encoded(encode_ragged(table, self.model.schema))

    def predict_encoded(self, encoded: Encoded) -> Prediction:
        """Score rows that were encoded by the model's own schema."""
        heads = {name: scorer(encoded) for name, scorer in self._scorers.items()}
        raw = {name: values if values.ndim == 1 else values[:, 0] for name, values in heads.items()}
        calibrated = self._calibrated(raw)
        if BLEND in self.model.candidates:
            blend = Blend.from_json(self.model.candidates[BLEND].files[BLEND_FILE])
            raw[BLEND] = blend.logits(calibrated)
            calibrated |= self._calibrated({BLEND: raw[BLEND]})
        candidates = {name: np.asarray(expit(calibrated[name])) for name in self.model.candidates}
        return Prediction(
            intent=np.asarray(expit(raw[self.model.champion])),
            candidates=candidates,
            heads=self._heads(heads, candidates[self.model.champion]),
        )

    def predict_frame(self, frame: DataFrame) -> Prediction:
        """Score each row of a pandas frame, as a pandas UDF receives it."""
        return self.predict(table_from_pandas(frame, self.model.schema))

    def _heads(self, logits: dict[str, Scores], bought: Scores) -> dict[str, Scores]:
        """The further heads' scores, from the networks' logits [n, heads] and the probability of a purchase [n]."""
        places = {head: place for place, head in enumerate(self.model.config.head_weights, start=1)}
        scores: dict[str, Scores] = {}
        for head, place in places.items():
            if found := self.model.heads.get(head.name):
                told = found.calibration.logits(logits[found.candidate][:, place])
                scores[head.name] = np.asarray(expit(told) if head.kind == "chance" else bought * np.exp(told))
        return scores

    def _calibrated(self, logits: dict[str, Scores]) -> dict[str, Scores]:
        return {name: self.model.candidates[name].calibration.logits(values) for name, values in logits.items()}


def cached_predictor(model_dir: Path | str, cores: int = 1, batch_rows: int = 1024) -> Predictor:
    """This process's predictor for the directory's present content, loaded on the first call."""
    key = f"{content_hash(Path(model_dir))}/{batch_rows}"
    if key not in _CACHE:
        _CACHE[key] = Predictor(model_dir, cores, batch_rows)
    return _CACHE[key]
