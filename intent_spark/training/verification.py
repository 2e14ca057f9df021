"""``train_intent --verify MANIFEST``: is a model what its manifest says, and would it come out again?

The training set is rebuilt from the recorded versions of the tables and its digest compared; then the recorded
configuration is trained on it again, beside the registered models, and the candidates' metrics are compared.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pydantic import ValidationError
from pyspark.errors import PySparkException

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.log import LOGGER, step
from intent_spark.config.model import ModelConfig
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.labels import content_digest, labelled_snapshots
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.models.directory import CALIBRATED, MANIFEST, METRICS, TrainedModel, verify_model
from intent_spark.training.train import TrainingRequest, installed, train

# Sums over several ranks arrive in no fixed order, and a network's steps carry their last digits on.
TOLERANCE = {True: 1e-9, False: 2e-3}


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a model; ``path`` may be the model's folder.

    Raises:
        UsageError: it cannot be read, or is of a model that was trained before manifests were enough.
    """
    file = path / MANIFEST if path.is_dir() else path
    try:
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--verify {path}: no manifest can be read there; give a model's manifest.json.") from error
    if not isinstance(manifest, dict) or not manifest.get("lineage", {}).get("content") or "config" not in manifest:
        raise UsageError(f"--verify {path}: the manifest names no digest or configuration; train again to have one.")
    return manifest


def verify(context: JobContext, path: Path, request: TrainingRequest) -> str:
    """Rebuild, compare, retrain, compare; what was found, in one sentence.

    Args:
        context: of the job.
        path: the manifest.
        request: how to train; what the manifest says takes the place of its data and configuration.

    Raises:
        UsageError: the manifest or a table version it names cannot be read.
        ContractError: the model's files were altered, or the training set or the metrics are not the manifest's.
    """
    manifest = read_manifest(path)
    _warn_of_packages(manifest)
    rows = _check_training_set(context.lakehouse, manifest)
    recorded = _recorded_metrics(path)
    verify_model(path if path.is_dir() else path.parent)
    folder = request.models_dir / f".verify-{uuid.uuid4().hex}"
    try:
        found = train(context.spark, _request(manifest, request, folder)).model
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    furthest = _compare(manifest, recorded, found)
    told = f"metrics of {len(found.candidates)} candidates within {furthest:.1g}"
    return f"{rows} examples rebuilt to the same digest; {told}"


def _check_training_set(lakehouse: Lakehouse, manifest: Mapping[str, Any]) -> int:
    """Raises ContractError where what is rebuilt, or what is stored, is not what was trained on."""
    lineage = manifest["lineage"]
    versions, splits = lineage["table_versions"], {date.fromisoformat(d): s for d, s in lineage["splits"].items()}
    with step("train_intent.rebuild", dates=len(splits), **versions) as counts:
        try:
            profiles, events = (lakehouse.read(name, versions[name]) for name in ("profiles", "events"))
            stored = lakehouse.read("examples", manifest["examples"]["version"])
            rebuilt = labelled_snapshots(
                profiles, events, splits, int(lineage["horizon_days"]), lineage["label_event_types"]
            ).select(*stored.columns)
            digests = {"rebuilt from the tables": content_digest(rebuilt), "as stored": content_digest(stored)}
            counts["rows"] = stored.count()
        except (PySparkException, Py4JJavaError) as error:
            told = ", ".join(f"{name} {version}" for name, version in versions.items())
            raise UsageError(
                f"the versions that the manifest names ({told}, examples {manifest['examples']['version']}) cannot be "
                "read any more: their files are older than the tables' retention, or this is another warehouse."
            ) from error
    for how, digest in digests.items():
        if digest != lineage["content"]:
            raise ContractError(
                f"the training set {how} is not the one that the model was trained on (digest {digest[:12]}, the "
                f"manifest has {lineage['content'][:12]}): the tables were changed, or the code that builds it."
            )
    return int(counts["rows"])


def _request(manifest: Mapping[str, Any], request: TrainingRequest, folder: Path) -> TrainingRequest:
    try:
        config = ModelConfig.model_validate(manifest["config"])
    except ValidationError as error:
        raise UsageError(
            "the manifest's configuration does not fit this version of the code: run the version that it names "
            f"({manifest['lineage']['code_version']})."
        ) from error
    feed, horovod = request.settings.feed, request.settings.horovod
    settings = request.settings.model_copy(
        update={
            "feed": feed.model_copy(update={"memory_mb": manifest.get("memory_mb", feed.memory_mb)}),
            "horovod": horovod.model_copy(update={"fp16": manifest.get("fp16", horovod.fp16)}),
        }
    )
    return replace(
        request,
        settings=settings,
        version=manifest["examples"]["version"],
        models_dir=folder,
        config=config,
        horizon_days=int(manifest["horizon_days"]),
        ranks=int(manifest["ranks"]),
        launcher=manifest["launcher"],
        lineage=manifest["lineage"],
    )


def _recorded_metrics(path: Path) -> dict[str, dict[str, float]]:
    folder = path if path.is_dir() else path.parent
    files = sorted(folder.glob(f"*/{METRICS}"))
    if not files:
        raise UsageError(f"--verify {path}: no candidate's {METRICS} lies beside it; give the manifest in its folder.")
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8"))[CALIBRATED] for file in files}


def _compare(manifest: Mapping[str, Any], recorded: Mapping[str, Mapping[str, float]], found: TrainedModel) -> float:
    """The largest difference of a metric; raises ContractError where it is too large."""
    if set(recorded) != set(found.candidates):
        both = (", ".join(names) for names in (recorded, found.candidates))
        raise ContractError("the model has the candidates {}, retraining gave {}.".format(*both))
    apart = {
        (name, metric): abs(value - found.candidates[name].metrics[CALIBRATED][metric])
        for name, metrics in recorded.items()
        for metric, value in metrics.items()
        if metric in ("auc", "pr_auc", "log_loss", "calibration_error")
    }
    (name, metric), furthest = max(apart.items(), key=lambda item: item[1])
    allowed = TOLERANCE[int(manifest["ranks"]) == 1]
    if furthest > allowed:
        raise ContractError(
            f"retraining gave another model: {metric} of {name} differs by {furthest:.3g}, allowed is {allowed:g}; "
            "compare the package versions in the manifest with what is installed."
        )
    return furthest


def _warn_of_packages(manifest: Mapping[str, Any]) -> None:
    here = installed()
    other = [f"{n} {v} (here {here.get(n)})" for n, v in manifest["packages"].items() if here.get(n) != v]
    if other:
        LOGGER.warning("trained with other packages: %s", ", ".join(other))
