"""``train_intent``: the pinned training set into a registered model, on Horovod."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any, ClassVar, get_args

from intent_spark.config.errors import IntentSparkError
from intent_spark.config.model import ModelConfig, in_order
from intent_spark.config.training import LauncherName
from intent_spark.lakehouse.job import MISSING, STALE, THERE, Job, JobContext, Plan, PlanItem, positive
from intent_spark.lakehouse.job_runs import Outcome, code_version
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.models.directory import CALIBRATED, TrainedModel, load_model
from intent_spark.models.registry import champion, promote
from intent_spark.training.train import TrainingRequest, train


class TrainIntent(Job):
    """All candidates, trained by ranks that read the table's files themselves; the best on validation scores."""

    name: ClassVar[str] = "train_intent"
    description: ClassVar[str] = "Train the candidates on the examples with Horovod and make the model the live one."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--ranks", type=positive, help="Horovod ranks (default: training.ranks)")
        parser.add_argument("--launcher", choices=get_args(LauncherName), help="default: training.launcher")
        parser.add_argument(
            "--candidates", type=_candidates, metavar="NAME,NAME", help="what to train (default: model.candidates)"
        )

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """The newest training set, and whether the live model was made of it."""
        context.lakehouse.require("examples", "build_examples")
        version, build = context.lakehouse.builds("examples")[0]
        models_dir = Path(context.lakehouse.path("models"))
        config = context.settings.model
        if options.candidates:
            config = config.model_copy(update={"candidates": options.candidates})
        state, why = _state(models_dir, version, config)
        what = f"model of examples version {version} ({', '.join(build.partitions)})"
        inputs = {"version": version, "build": build, "models_dir": models_dir, "config": config}
        return Plan([PlanItem(what, state, why)], inputs)

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Train, register, promote."""
        settings, version, build = context.settings, plan.inputs["version"], plan.inputs["build"]
        request = TrainingRequest(
            examples=context.lakehouse.path("examples"),
            version=version,
            models_dir=plan.inputs["models_dir"],
            config=plan.inputs["config"],
            horizon_days=int(build.details["horizon_days"]),
            ranks=options.ranks or settings.training.ranks,
            launcher=options.launcher or settings.training.launcher,
            network_interface=settings.environment.network_interface,
            settings=settings.training,
            lineage=_lineage(build),
        )
        result = train(context.spark, request)
        promote(request.models_dir, result.model_version)
        rows = sum(split.rows for name, split in result.splits.items() if name != "test")
        return Outcome(_told(result.model_version, result.model), rows, 1, {"examples": version})


def _candidates(text: str) -> list[str]:
    try:
        return in_order(name.strip() for name in text.split(","))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _state(models_dir: Path, version: int, config: ModelConfig) -> tuple[str, str]:
    try:
        live = load_model(champion(models_dir))
    except IntentSparkError as error:
        return MISSING, str(error)
    if live.manifest["examples"]["version"] != version:
        return STALE, f"the live model was made of version {live.manifest['examples']['version']}"
    return (THERE, "") if live.config == config else (STALE, "model.yaml or --candidates has changed")


def _lineage(build: Build) -> dict[str, Any]:
    """What the manifest keeps of the training set's own making."""
    return {
        "splits": build.details["splits"],
        "horizon_days": build.details["horizon_days"],
        "label_event_types": build.details["label_event_types"],
        "definition_hash": build.definition,
        "table_versions": build.inputs,
        "code_version": code_version(),
    }


def _told(model_version: str, model: TrainedModel) -> str:
    found = {name: candidate.metrics[CALIBRATED] for name, candidate in model.candidates.items()}
    ranked = sorted(found.items(), key=lambda item: item[1]["log_loss"])
    pairs = [f"{name} AUC {m['auc']:.4f} log loss {m['log_loss']:.4f}" for name, m in ranked]
    return f"model {model_version} is live, its champion {model.champion}; on validation: {'; '.join(pairs)}"
