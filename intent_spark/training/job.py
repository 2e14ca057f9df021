"""``train_intent``: the pinned training set into a registered model, on Horovod."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, ClassVar

from intent_spark.config.errors import IntentSparkError
from intent_spark.lakehouse.job import MISSING, STALE, THERE, Job, JobContext, Plan, PlanItem, positive
from intent_spark.lakehouse.job_runs import Outcome, code_version
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.models.directory import load_model
from intent_spark.models.registry import champion, promote
from intent_spark.training.train import TrainingRequest, train


class TrainIntent(Job):
    """The intent model and logistic regression beside it, trained by ranks that read the table's files themselves."""

    name: ClassVar[str] = "train_intent"
    description: ClassVar[str] = "Train the intent model on the examples with Horovod and make it the live model."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--ranks", type=positive, help="Horovod ranks (default: training.ranks)")
        parser.add_argument("--launcher", choices=("auto", "single", "spark"), help="default: training.launcher")

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """The newest training set, and whether the live model was made of it."""
        context.lakehouse.require("examples", "build_examples")
        version, build = context.lakehouse.builds("examples")[0]
        models_dir = Path(context.lakehouse.path("models"))
        state, why = _state(models_dir, version, context)
        what = f"model of examples version {version} ({', '.join(build.partitions)})"
        return Plan([PlanItem(what, state, why)], {"version": version, "build": build, "models_dir": models_dir})

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Train, register, promote."""
        settings, version, build = context.settings, plan.inputs["version"], plan.inputs["build"]
        request = TrainingRequest(
            examples=context.lakehouse.path("examples"),
            version=version,
            models_dir=plan.inputs["models_dir"],
            config=settings.model,
            ranks=options.ranks or settings.training.ranks,
            launcher=options.launcher or settings.training.launcher,
            network_interface=settings.environment.network_interface,
            lineage=_lineage(build),
        )
        result = train(context.spark, request)
        promote(request.models_dir, result.model_version)
        rows = sum(split.rows for name, split in result.splits.items() if name != "test")
        return Outcome(_told(result.model_version, result.metrics), rows, 1, {"examples": version})


def _state(models_dir: Path, version: int, context: JobContext) -> tuple[str, str]:
    try:
        live = load_model(champion(models_dir))
    except IntentSparkError as error:
        return MISSING, str(error)
    if live.manifest["examples"]["version"] != version:
        return STALE, f"the live model was made of version {live.manifest['examples']['version']}"
    return (THERE, "") if live.config == context.settings.model else (STALE, "model.yaml has changed")


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


def _told(model_version: str, metrics: dict[str, dict[str, float]]) -> str:
    pairs = [f"{name} AUC {m['auc']:.4f} log loss {m['log_loss']:.4f}" for name, m in sorted(metrics.items())]
    return f"model {model_version} is live; on validation: {'; '.join(pairs)}"
