"""Train on a pinned version of the examples and register the model."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.log import LOGGER, step
from intent_spark.config.model import ModelConfig
from intent_spark.config.training import LauncherName, TrainingSettings
from intent_spark.models.calibration import calibration_from
from intent_spark.models.directory import Candidate, FurtherHead, TrainedModel, save_model
from intent_spark.models.intervals import Interval
from intent_spark.models.schema import FeatureSchema
from intent_spark.training.fit_schema import SplitCounts, count_splits, fit_schema
from intent_spark.training.fitting import choose_candidates, log_left_out
from intent_spark.training.launch import run_ranks
from intent_spark.training.launchers import launcher_of
from intent_spark.training.rank import FILES, RESULT
from intent_spark.training.task import RankTask
from intent_spark.training.tuning import Tuning
from intent_spark.training.work_folder import training_key, work_folder

STUDIES = "studies"
PACKAGES = (
    "intent_spark",
    "tensorflow-cpu",
    "tensorflow",
    "keras",
    "horovod",
    "lightgbm",
    "numpy",
    "scipy",
    "pyarrow",
    "deltalake",
    "pandas",
    "pyspark",
)


@dataclass(frozen=True)
class TrainingRequest:
    """What to train on and where to register it; the ranks must see both paths under these names.

    ``lineage`` (JSON-able, the same for the same data) goes into the manifest as it is. ``settings`` say how the ranks
    are fed, kept and started; its own ``ranks`` and ``launcher`` are not looked at. ``live_model`` is the directory of
    a model to be compared with on validation, which it must not have seen. With ``trials`` above 0 the search space of
    the configuration is searched first, and what was found best is trained.
    """

    examples: str
    version: int
    models_dir: Path
    config: ModelConfig
    horizon_days: int
    ranks: int = 2
    launcher: LauncherName = "auto"
    network_interface: str | None = None
    settings: TrainingSettings = field(default_factory=lambda: TrainingSettings(ranks=2, launcher="auto"))
    lineage: Mapping[str, Any] = field(default_factory=dict)
    live_model: Path | None = None
    trials: int = 0


@dataclass(frozen=True)
class TrainingResult:
    """The registered model, as it lies in ``model_dir``; its log loss minus the live model's, if that was asked for."""

    model_version: str
    model_dir: Path
    model: TrainedModel
    splits: dict[str, SplitCounts]
    against_live: Interval | None = None


def train(spark: SparkSession, request: TrainingRequest) -> TrainingResult:
    """Fit the schema, run the ranks, register what rank 0 found best. Nothing is registered on an error.

    A training that was killed goes on from its last checkpoint when the same one is asked for again.

    Raises:
        UsageError: the ranks cannot be started here, or a candidate needs what the examples lack.
        ContractError: a split is empty or has one class, examples are fewer than ranks, or a loss diverged.
    """
    settings = request.settings
    launcher = launcher_of(request.launcher, spark, request.ranks, settings, request.network_interface)
    launcher.check()
    examples = spark.read.format("delta").option("versionAsOf", request.version).load(request.examples)
    splits = count_splits(examples)
    check_splits(splits, request.ranks)
    with step("train_intent.fit_schema", rows=splits["train"].rows) as counts:
        schema = fit_schema(examples, request.config)
        counts["inputs"], counts["sequences"] = len(schema.inputs), len(schema.sequences)
    candidates, left_out = choose_candidates(request.config, schema)
    log_left_out(left_out)
    for head in request.config.head_weights:
        if head.label not in examples.columns:
            sentence = "the examples do not tell it: run build_examples, and train on what it makes"
            LOGGER.warning('step=train_intent.heads left_out=%s reason="%s"', head.name, sentence)
    manifest = _manifest(request, splits, left_out)
    key = training_key(manifest, schema, request.config)
    with work_folder(request.models_dir, key) as folder, step("train_intent.ranks", ranks=request.ranks) as counts:
        task = RankTask(
            request.examples, request.version, str(folder), schema, request.config, candidates, request.horizon_days,
            launcher.distributed, launcher.name == "elastic", settings.feed, settings.checkpoints, settings.horovod,
            str(request.live_model) if request.live_model else None, _tuning(request, schema, candidates),
        )  # fmt: skip
        run_ranks(launcher, task, request.ranks)
        result: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        model = _trained_model(folder, result, task, manifest)
        model_dir = save_model(model, request.models_dir)
        counts["champion"], counts["model_version"] = model.champion, model_dir.name
    apart = Interval(**result["against_live"]) if result["against_live"] else None
    return TrainingResult(model_dir.name, model_dir, model, splits, apart)


def _tuning(request: TrainingRequest, schema: FeatureSchema, candidates: list[str]) -> Tuning | None:
    """One study for each training set, base configuration and search space: what is asked for again goes on."""
    if not request.trials:
        return None
    if not request.config.search:
        raise UsageError("--tune needs model.search to name settings and their ranges.")
    asked = json.dumps([request.version, schema.to_json(), request.config.model_dump(), candidates], sort_keys=True)
    study = hashlib.sha256(asked.encode()).hexdigest()[:12]
    return Tuning(request.trials, str(request.models_dir / STUDIES / f"{study}.journal"), study)


def check_splits(splits: Mapping[str, SplitCounts], ranks: int) -> None:
    """Refuse what cannot be learnt from.

    Raises:
        ContractError: train or validation is empty, has one class, or train has fewer examples than ranks.
    """
    for name in ("train", "validation"):
        split = splits.get(name)
        if split is None or split.rows == 0:
            raise ContractError(f"Split {name} of the examples is empty: build examples for more as_of dates.")
        if split.positives in (0, split.rows):
            missing = "positive" if split.positives == 0 else "negative"
            raise ContractError(
                f"Split {name} of the examples has {split.rows} rows and no {missing} label: choose a longer "
                "horizon or more as_of dates."
            )
        if not 0 < split.weight < math.inf:
            raise ContractError(
                f"The rows of split {name} of the examples weigh {split.weight} together: mend the weights."
            )
    if splits["train"].rows < ranks:
        raise ContractError(f"{splits['train'].rows} training examples are fewer than {ranks} ranks: use fewer ranks.")


def _trained_model(scratch: Path, result: Mapping[str, Any], task: RankTask, manifest: dict[str, Any]) -> TrainedModel:
    candidates = {
        name: Candidate(
            files={path.name: path.read_bytes() for path in sorted((scratch / FILES / name).iterdir())},
            calibration=calibration_from(result["calibrations"][name]),
            metrics=result["metrics"][name],
            history=result["histories"].get(name, []),
        )
        for name in task.candidates
        if name not in result["left_out"]
    }
    # A tuned model and its manifest hold what was found: it can be trained again without a study.
    config = ModelConfig.model_validate(result["config"])
    known = manifest | {"best_epochs": result["best_epochs"], "config": result["config"]}
    known |= {"left_out": manifest["left_out"] | result["left_out"]}
    heads = {name: FurtherHead.from_tree(tree) for name, tree in result["heads"].items()}
    return TrainedModel(task.schema, config, candidates, result["champion"], known, result["study"], heads)


def _manifest(
    request: TrainingRequest, splits: Mapping[str, SplitCounts], left_out: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "examples": {"table": Path(request.examples).name, "version": request.version},
        "lineage": dict(request.lineage),
        "splits": {name: asdict(split) | {"base_rate": split.base_rate} for name, split in splits.items()},
        "horizon_days": request.horizon_days,
        "seed": request.config.seed,
        "ranks": request.ranks,
        "launcher": request.launcher,
        "memory_mb": request.settings.feed.memory_mb,
        "fp16": request.settings.horovod.fp16,
        "left_out": dict(left_out),
        "config": request.config.model_dump(),
        "packages": installed(),
        # A study that was extended has another story to tell, also where it ends with the same settings.
        "trials": request.trials,
    }


def installed() -> dict[str, str]:
    """The versions of the packages that decide a model, where they are installed."""
    return {name: found for name in PACKAGES if (found := _version(name))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
