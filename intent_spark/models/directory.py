"""The model directory: all that scoring needs, in plain files that are never unpickled.

=================  ==========================================================================
``weights.npz``    the network's variables, float32 arrays by variable path
``schema.json``    the feature schema
``model.json``     the model configuration
``logistic.json``  logistic regression over the same numeric inputs
``calibration.json``  Platt scaling of the network's logit
``metrics.json``   validation metrics of the network and of logistic regression
``history.json``   losses and rows per second of each epoch
``manifest.json``  table version, lineage, counts, seed, ranks and package versions
``checksums.json``  SHA-256 of each file above, and the model version
=================  ==========================================================================

The model version is a hash of the files that decide a score and of the manifest, so a training that is run
again on the same data has the same version, whenever it ran and however long it took.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from intent_spark.config.errors import ContractError
from intent_spark.config.model import ModelConfig
from intent_spark.models.calibration import PlattScaling
from intent_spark.models.logistic import LogisticModel
from intent_spark.models.schema import FeatureSchema

CHECKSUMS = "checksums.json"
SCORING_FILES = ("weights.npz", "schema.json", "model.json", "logistic.json", "calibration.json")
REPORT_FILES = ("metrics.json", "history.json", "manifest.json")
VERSION_DIGITS = 12

Weights = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model as it lies in its directory. ``metrics``, ``history`` and ``manifest`` are JSON-able."""

    weights: Weights
    schema: FeatureSchema
    config: ModelConfig
    logistic: LogisticModel
    calibration: PlattScaling
    metrics: dict[str, Any]
    history: list[dict[str, Any]]
    manifest: dict[str, Any]


def save_model(model: TrainedModel, models_dir: Path) -> Path:
    """Write ``<models_dir>/<model_version>`` in one rename and return it; an equal model stays as it is."""
    files = _files(model)
    version = _version(files)
    target = models_dir / version
    if target.exists():
        verify_model(target)
        return target
    temporary = models_dir / f".{version}-{uuid.uuid4().hex}"
    temporary.mkdir(parents=True)
    try:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        (temporary / CHECKSUMS).write_bytes(_checksums(files, version))
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def verify_model(model_dir: Path) -> str:
    """The model version, if every file is as it was written.

    Raises:
        ContractError: the folder is no model directory, or a file is missing or altered.
    """
    listed = _listed(model_dir)
    for name in (*SCORING_FILES, *REPORT_FILES):
        path = model_dir / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        if found != listed["sha256"].get(name):
            state = "is missing" if found == "missing" else "was altered after training"
            raise ContractError(f"{path} {state}: restore it, or train and promote another model.")
    return str(listed["model_version"])


def load_model(model_dir: Path) -> TrainedModel:
    """Read a directory after :func:`verify_model` said yes; the same errors."""
    verify_model(model_dir)
    logistic = _read_json(model_dir / "logistic.json")
    with np.load(model_dir / "weights.npz", allow_pickle=False) as arrays:
        weights = {name: arrays[name] for name in arrays.files}
    return TrainedModel(
        weights=weights,
        schema=FeatureSchema.from_json((model_dir / "schema.json").read_text(encoding="utf-8")),
        config=_config(model_dir),
        logistic=_logistic_from(logistic),
        calibration=PlattScaling(**_read_json(model_dir / "calibration.json")),
        metrics=_read_json(model_dir / "metrics.json"),
        history=_read_json(model_dir / "history.json"),
        manifest=_read_json(model_dir / "manifest.json"),
    )


def load_manifest(model_dir: Path) -> dict[str, Any]:
    """What a model was made of; its other files are not looked at."""
    manifest: dict[str, Any] = _read_json(model_dir / "manifest.json")
    return manifest


def _config(model_dir: Path) -> ModelConfig:
    try:
        return ModelConfig.model_validate(_read_json(model_dir / "model.json"))
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ContractError(
            f"{model_dir}/model.json: key '{key}' does not fit this version of the code; train again, "
            "or run the version that the manifest names."
        ) from error


def content_hash(model_dir: Path) -> str:
    """SHA-256 that changes with any listed file: of the list of checksums."""
    return hashlib.sha256(json.dumps(_listed(model_dir), sort_keys=True).encode()).hexdigest()


def _files(model: TrainedModel) -> dict[str, bytes]:
    return {
        "weights.npz": _npz(model.weights),
        "schema.json": (model.schema.to_json() + "\n").encode(),
        "model.json": _json(model.config.model_dump()),
        "logistic.json": _json(_logistic_tree(model.logistic, model.schema)),
        "calibration.json": _json(asdict(model.calibration)),
        "metrics.json": _json(model.metrics),
        "history.json": _json(model.history),
        "manifest.json": _json(model.manifest),
    }


def _npz(weights: Weights) -> bytes:
    # numpy stamps each entry with a constant time: equal arrays give equal bytes.
    buffer = io.BytesIO()
    np.savez(buffer, **weights)
    return buffer.getvalue()


def _logistic_tree(model: LogisticModel, schema: FeatureSchema) -> dict[str, Any]:
    named = dict(zip(schema.inputs, model.coefficients.tolist(), strict=True))
    return {"l2": model.l2, "intercept": model.intercept, "coefficients": named}


def _logistic_from(tree: dict[str, Any]) -> LogisticModel:
    coefficients = np.array(list(tree["coefficients"].values()), np.float64)
    return LogisticModel(coefficients, tree["intercept"], tree["l2"])


def _version(files: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in (*SCORING_FILES, "manifest.json"):
        digest.update(hashlib.sha256(files[name]).digest())
    return digest.hexdigest()[:VERSION_DIGITS]


def _checksums(files: dict[str, bytes], version: str) -> bytes:
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return _json({"model_version": version, "sha256": hashes})


def _listed(model_dir: Path) -> dict[str, Any]:
    path = model_dir / CHECKSUMS
    try:
        listed: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ContractError(f"{path} cannot be read: {model_dir} is no model directory; train a model.") from error
    return listed


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
