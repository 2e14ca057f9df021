"""What a candidate is made of, and how its files become a function from encoded rows to log odds.

A candidate writes its own files and nobody else reads them; none is ever unpickled. The blend is the one candidate
that is made of others, so it is loaded by :mod:`intent_spark.models.predictor`.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from intent_spark.config.model import ModelConfig
from intent_spark.models.bgnbd import PurchaseHistory
from intent_spark.models.directory import Files, Weights
from intent_spark.models.encode import Encoded, batched_logits
from intent_spark.models.gbdt import Gbdt
from intent_spark.models.logistic import FloatArray, LogisticModel
from intent_spark.models.naive_bayes import NaiveBayes
from intent_spark.models.recency import Recency
from intent_spark.models.schema import FeatureSchema

# Log odds float64 [n] of encoded rows, or [n, heads] of a network.
Scorer = Callable[[Encoded], FloatArray]
WEIGHTS, BLEND_FILE = "weights.npz", "blend.json"


@dataclass(frozen=True)
class Runtime:
    """What a candidate is run with: inputs, configuration, threads and rows in one call of a network."""

    schema: FeatureSchema
    config: ModelConfig
    cores: int
    batch_rows: int


def load_scorer(name: str, files: Files, runtime: Runtime) -> Scorer:
    """The candidate's log odds of encoded rows, before calibration: float64 [n], of a network's heads [n, heads].

    Raises:
        ContractError: the files do not fit the configuration.
    """
    return _LOADERS.get(name, _network)(name, files, runtime)


def weights_to_npz(weights: Weights) -> bytes:
    """A network's variables by path; equal arrays give equal bytes, since numpy stamps entries with a constant time."""
    buffer = io.BytesIO()
    np.savez(buffer, **weights)
    return buffer.getvalue()


def weights_from_npz(content: bytes) -> Weights:
    """What :func:`weights_to_npz` wrote; never unpickled."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def tree_files(texts: list[str]) -> Files:
    """One file a booster, in their order."""
    return {f"trees_{number:02}.txt": text.encode() for number, text in enumerate(texts)}


def _recency(name: str, files: Files, runtime: Runtime) -> Scorer:
    model = Recency.from_json(files["recency.json"])
    return lambda encoded: model.logits(encoded, runtime.schema)


def _naive_bayes(name: str, files: Files, runtime: Runtime) -> Scorer:
    model = NaiveBayes.from_json(files["naive_bayes.json"])
    return lambda encoded: model.logits(encoded.numeric)


def _bgnbd(name: str, files: Files, runtime: Runtime) -> Scorer:
    model = PurchaseHistory.from_json(files["bgnbd.json"])
    return lambda encoded: model.logits(encoded, runtime.schema)


def _logistic(name: str, files: Files, runtime: Runtime) -> Scorer:
    model = LogisticModel.from_json(files["logistic.json"])
    return lambda encoded: model.logits(encoded.numeric)


def _gbdt(name: str, files: Files, runtime: Runtime) -> Scorer:
    texts = [files[file].decode() for file in sorted(files)]
    model = Gbdt.from_texts(texts, runtime.cores)
    return lambda encoded: model.logits(encoded.numeric)


def _network(name: str, files: Files, runtime: Runtime) -> Scorer:
    from intent_spark.models.intent_net import load_network, traced_heads

    config = runtime.config.model_copy(update={"encoder": name})
    network = load_network(runtime.schema, config, weights_from_npz(files[WEIGHTS]), runtime.cores)
    heads, count = traced_heads(network), network.output.shape[-1]
    return lambda encoded: batched_logits(heads, encoded, runtime.batch_rows, count)


_LOADERS: dict[str, Callable[[str, Files, Runtime], Scorer]] = {
    "recency": _recency,
    "naive_bayes": _naive_bayes,
    "bgnbd": _bgnbd,
    "logistic": _logistic,
    "gbdt": _gbdt,
}
