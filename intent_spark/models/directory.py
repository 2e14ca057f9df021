"""The model directory: all that scoring needs, in plain files that are never unpickled.

====================  =======================================================================
``schema.json``       the feature schema
``model.json``        the model configuration
``candidates.json``   the candidates' names, simplest first, and which is the champion
``study.json``        the trials of its tuning, if it was tuned
``manifest.json``     table version, lineage, counts, seed, ranks and package versions
``<candidate>/…``     its own files: what decides its log odds, as its kind wrote them
``<candidate>/calibration.json``  the map of its log odds, fitted on validation
``<candidate>/metrics.json``      its validation metrics
``<candidate>/history.json``      losses and rows per second of each epoch, of a network
``<head>.json``       which network tells a further head (churn, spend), and the map of its logits
``<head>_metrics.json``  its validation metrics
``checksums.json``    SHA-256 of each file above, and the model version
====================  =======================================================================

The model version is a hash of the files that decide a score and of the manifest, so a training that is run
again on the same data has the same version, whenever it ran and however long it took.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from intent_spark.config.errors import ContractError
from intent_spark.config.heads import HEADS
from intent_spark.config.log import LOGGER
from intent_spark.config.model import ModelConfig
from intent_spark.models.calibration import Calibration, calibration_from
from intent_spark.models.schema import FeatureSchema

CHECKSUMS, CANDIDATES = "checksums.json", "candidates.json"
SCHEMA, CONFIG, MANIFEST = "schema.json", "model.json", "manifest.json"
CALIBRATION, METRICS, HISTORY, STUDY = "calibration.json", "metrics.json", "history.json", "study.json"
# A candidate's metrics by stage; the log loss of the last chose the champion.
CALIBRATED, UNCALIBRATED, CROSS_FITTED = "calibrated", "uncalibrated", "cross_fitted"
# They tell how good a score is and how long it took to get there, and decide none.
REPORT_FILES = (METRICS, HISTORY, STUDY, *(f"{head.name}_{METRICS}" for head in HEADS))
VERSION_DIGITS = 12

Files = dict[str, bytes]
Weights = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One way to score. ``metrics`` (by stage) and ``history`` are JSON-able."""

    files: Files
    calibration: Calibration
    metrics: dict[str, dict[str, float]]
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class FurtherHead:
    """The network whose head it is that foretells something beside purchases; its calibration, validation metrics."""

    candidate: str
    calibration: Calibration
    metrics: dict[str, float]

    def to_tree(self) -> dict[str, Any]:
        """JSON-able."""
        return {"candidate": self.candidate, "calibration": self.calibration.to_tree(), "metrics": self.metrics}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> FurtherHead:
        """What :meth:`to_tree` gave."""
        return cls(tree["candidate"], calibration_from(tree["calibration"]), dict(tree["metrics"]))


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model as it lies in its directory; the champion is one of the candidates.

    ``manifest`` and ``study``, the trials of its tuning, are JSON-able. ``heads`` are those that a network tells.
    """

    schema: FeatureSchema
    config: ModelConfig
    candidates: dict[str, Candidate]
    champion: str
    manifest: dict[str, Any]
    study: list[dict[str, Any]] = field(default_factory=list)
    heads: dict[str, FurtherHead] = field(default_factory=dict)

    @property
    def best(self) -> Candidate:
        """The champion."""
        return self.candidates[self.champion]


def save_model(model: TrainedModel, models_dir: Path) -> Path:
    """Write ``<models_dir>/<model_version>`` in one rename and return it; an equal model stays as it is.

    One of this version whose files were damaged is moved aside, to ``.damaged-…``.
    """
    files = _files(model)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    version = _version(hashes)
    target = models_dir / version
    if target.exists():
        try:
            verify_model(target)
            return target
        except ContractError as error:
            LOGGER.warning("step=train_intent.save_model %s It is written anew.", error)
            target.rename(models_dir / f".damaged-{version}-{uuid.uuid4().hex}")
    temporary = models_dir / f".{version}-{uuid.uuid4().hex}"
    try:
        for name, content in (files | {CHECKSUMS: _json({"model_version": version, "sha256": hashes})}).items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes(content)
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
    for name, wanted in listed["sha256"].items():
        path = model_dir / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        if found != wanted:
            state = "is missing" if found == "missing" else "was altered after training"
            raise ContractError(f"{path} {state}: restore it, or train and promote another model.")
    if _version(listed["sha256"]) != listed["model_version"]:
        raise ContractError(f"{model_dir / CHECKSUMS} was altered after training: train and promote another model.")
    return str(listed["model_version"])


def load_model(model_dir: Path) -> TrainedModel:
    """Read a directory after :func:`verify_model` said yes; the same errors."""
    verify_model(model_dir)
    names = list(_listed(model_dir)["sha256"])
    listed = _read_json(model_dir / CANDIDATES)
    return TrainedModel(
        schema=FeatureSchema.from_json((model_dir / SCHEMA).read_text(encoding="utf-8")),
        config=_config(model_dir),
        candidates={name: _candidate(model_dir, name, names) for name in listed["candidates"]},
        champion=listed["champion"],
        manifest=load_manifest(model_dir),
        study=_read_json(model_dir / STUDY) if STUDY in names else [],
        heads={head.name: _head(model_dir, head.name) for head in HEADS if f"{head.name}.json" in names},
    )


def load_manifest(model_dir: Path) -> dict[str, Any]:
    """What a model was made of; its other files are not looked at."""
    manifest: dict[str, Any] = _read_json(model_dir / MANIFEST)
    return manifest


def knows_outcomes_until(lineage: Mapping[str, Any]) -> date:
    """The day after the last that a label of a model's training or validation looked at, of its manifest's lineage."""
    newest = max(date.fromisoformat(day) for day, split in lineage["splits"].items() if split != "test")
    return newest + timedelta(days=int(lineage["horizon_days"]))


def content_hash(model_dir: Path) -> str:
    """SHA-256 that changes with any listed file: of the list of checksums."""
    return hashlib.sha256(json.dumps(_listed(model_dir), sort_keys=True).encode()).hexdigest()


def _candidate(model_dir: Path, name: str, listed: list[str]) -> Candidate:
    own = [Path(file).name for file in listed if Path(file).parent.as_posix() == name]
    told = (CALIBRATION, *REPORT_FILES)
    return Candidate(
        files={file: (model_dir / name / file).read_bytes() for file in own if file not in told},
        calibration=calibration_from(_read_json(model_dir / name / CALIBRATION)),
        metrics=_read_json(model_dir / name / METRICS),
        history=_read_json(model_dir / name / HISTORY),
    )


def _head(model_dir: Path, name: str) -> FurtherHead:
    metrics = _read_json(model_dir / f"{name}_{METRICS}")
    return FurtherHead.from_tree(_read_json(model_dir / f"{name}.json") | {"metrics": metrics})


def _config(model_dir: Path) -> ModelConfig:
    try:
        return ModelConfig.model_validate(_read_json(model_dir / CONFIG))
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ContractError(
            f"{model_dir}/{CONFIG}: key '{key}' does not fit this version of the code; train again, "
            "or run the version that the manifest names."
        ) from error


def _files(model: TrainedModel) -> Files:
    files = {
        SCHEMA: (model.schema.to_json() + "\n").encode(),
        CONFIG: _json(model.config.model_dump()),
        CANDIDATES: _json({"champion": model.champion, "candidates": list(model.candidates)}),
        MANIFEST: _json(model.manifest),
    }
    if model.study:
        files[STUDY] = _json(model.study)
    for name, head in model.heads.items():
        tree = head.to_tree()
        files |= {f"{name}_{METRICS}": _json(tree.pop("metrics")), f"{name}.json": _json(tree)}
    for name, candidate in model.candidates.items():
        own = candidate.files | {
            CALIBRATION: _json(candidate.calibration.to_tree()),
            METRICS: _json(candidate.metrics),
            HISTORY: _json(candidate.history),
        }
        files |= {f"{name}/{file}": content for file, content in own.items()}
    return files


def _version(hashes: dict[str, str]) -> str:
    scoring = {name: digest for name, digest in hashes.items() if Path(name).name not in REPORT_FILES}
    return hashlib.sha256(json.dumps(scoring, sort_keys=True).encode()).hexdigest()[:VERSION_DIGITS]


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
