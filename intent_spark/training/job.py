"""``train_intent``: the pinned training set into a registered model, on Horovod."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, get_args

from intent_spark.config.errors import IntentSparkError, UsageError
from intent_spark.config.log import LOGGER, step
from intent_spark.config.model import ModelConfig, in_order
from intent_spark.config.training import LauncherName
from intent_spark.lakehouse.job import MISSING, STALE, THERE, Job, JobContext, Plan, PlanItem, positive
from intent_spark.lakehouse.job_runs import Outcome, code_version
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.models.directory import CALIBRATED, CROSS_FITTED, knows_outcomes_until, load_model
from intent_spark.models.registry import LiveModelError, challenger, champion, nominate, promote, read_aliases
from intent_spark.training.gate import Verdict, judge
from intent_spark.training.tracking import Tracker
from intent_spark.training.train import TrainingRequest, TrainingResult, train
from intent_spark.training.verification import read_manifest, verify


class TrainIntent(Job):
    """All candidates, trained by ranks that read the table's files themselves; the best on validation scores."""

    name: ClassVar[str] = "train_intent"
    description: ClassVar[str] = "Train the candidates on the examples with Horovod; the model goes live if not worse."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--ranks", type=positive, help="Horovod ranks (default: training.ranks)")
        parser.add_argument("--launcher", choices=get_args(LauncherName), help="default: training.launcher")
        parser.add_argument(
            "--tune", type=positive, metavar="N", help="search model.search by N trials first; goes on with a study"
        )
        parser.add_argument(
            "--verify", type=Path, metavar="MANIFEST", help="train that model again and compare; nothing is registered"
        )
        parser.add_argument(
            "--candidates", type=_candidates, metavar="NAME,NAME", help="what to train (default: model.candidates)"
        )

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """The newest training set, and whether the live model was made of it."""
        context.lakehouse.require("examples", "build_examples")
        if options.verify:
            if options.tune or options.ranks or options.launcher or options.candidates:
                raise UsageError(
                    "--verify trains as the manifest says: it takes none of --tune, --ranks, --launcher, --candidates."
                )
            read_manifest(options.verify)
            return Plan([PlanItem(f"verification of {options.verify}", MISSING)])
        version, build = context.lakehouse.builds("examples")[0]
        models_dir = Path(context.lakehouse.path("models"))
        config = context.settings.model
        if options.candidates:
            config = config.model_copy(update={"candidates": options.candidates})
        state, why = (STALE, "--tune") if options.tune else _state(models_dir, version, config)
        what = f"model of examples version {version} ({', '.join(build.partitions)})"
        inputs = {"version": version, "build": build, "models_dir": models_dir, "config": config}
        return Plan([PlanItem(what, state, why)], inputs)

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Train, register, and promote where the gate says so."""
        if options.verify:
            return Outcome(verify(context, options.verify, _any_request(context, options)))
        settings, version, build = context.settings, plan.inputs["version"], plan.inputs["build"]
        models_dir = plan.inputs["models_dir"]
        tracker = Tracker(models_dir, settings.registry) if settings.registry.record else None
        live, comparable = _live_model(models_dir, build)
        request = replace(
            _any_request(context, options),
            version=version,
            config=plan.inputs["config"],
            horizon_days=int(build.details["horizon_days"]),
            lineage=_lineage(build),
            live_model=live if comparable else None,
            trials=options.tune or 0,
        )
        result = train(context.spark, request)
        verdict = _admit(models_dir, result.model_version, _verdict(result, live, build), live)
        if tracker:
            with step("train_intent.mlflow"):
                tracker.record(result.model_dir, result.model, {"gate": verdict.why})
                tracker.show_aliases()
        rows = sum(split.rows for name, split in result.splits.items() if name != "test")
        return Outcome(_told(result, verdict), rows, 1, {"examples": version})


def _admit(models_dir: Path, model_version: str, verdict: Verdict, live: Path | None) -> Verdict:
    """Promote or nominate; who went live while the training ran was not compared with, and stays."""
    if verdict.passed:
        try:
            promote(models_dir, model_version, over=live.name if live else None)
            return verdict
        except LiveModelError as changed:
            verdict = Verdict(False, str(changed))
    nominate(models_dir, model_version)
    return verdict


def _any_request(context: JobContext, options: Namespace) -> TrainingRequest:
    """How to train here; on what is still to be said."""
    settings = context.settings
    return TrainingRequest(
        examples=context.lakehouse.path("examples"),
        version=0,
        models_dir=Path(context.lakehouse.path("models")),
        config=settings.model,
        horizon_days=1,
        ranks=options.ranks or settings.training.ranks,
        launcher=options.launcher or settings.training.launcher,
        network_interface=settings.environment.network_interface,
        settings=settings.training,
    )


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
    known = [(live, "")]
    try:
        waiting = challenger(models_dir)
        known += [(load_model(waiting), "it waits as the challenger")] if waiting else []
    except IntentSparkError as error:
        LOGGER.warning("step=train_intent.plan the challenger counts as none: %s", error)
    for model, why in known:
        if model.manifest["examples"]["version"] == version and model.config == config:
            return THERE, why
    if live.manifest["examples"]["version"] != version:
        return STALE, f"the live model was made of version {live.manifest['examples']['version']}"
    return STALE, "model.yaml or --candidates has changed"


def _live_model(models_dir: Path, build: Build) -> tuple[Path | None, bool]:
    """The live model, and whether it can be asked about validation as one that has not seen it."""
    version = read_aliases(models_dir).champion
    if version is None:
        return None, False
    live = models_dir / version
    try:
        lineage = load_model(live).manifest["lineage"]
    except IntentSparkError:
        return live, False
    return live, _alike(lineage, build) and knows_outcomes_until(lineage) <= _validation_date(build)


def _alike(lineage: Mapping[str, Any], build: Build) -> bool:
    """Whether a model reads the examples' features and means the same by its label."""
    told = _lineage(build)
    return all(lineage[key] == told[key] for key in ("definition_hash", "horizon_days", "label_event_types"))


def _validation_date(build: Build) -> date:
    return max(date.fromisoformat(day) for day, split in build.details["splits"].items() if split == "validation")


def _verdict(result: TrainingResult, live: Path | None, build: Build) -> Verdict:
    """Whether the new model goes live. One that saw the same validation is compared by its own cross-fitted loss."""
    if live is None:
        return Verdict(True, "it is the first")
    if result.against_live:
        return judge(result.against_live)
    try:
        known = load_model(live)
    except IntentSparkError as error:
        return Verdict(True, f"the live model cannot be read, so that nothing can be compared with it: {error}")
    if not _alike(known.manifest["lineage"], build):
        return Verdict(True, f"the live model {live.name} reads other features, or its label means something else")
    if known.manifest["examples"]["version"] != result.model.manifest["examples"]["version"]:
        return Verdict(False, f"the live model {live.name} knows outcomes of its validation: compare on a later date")
    mine, its = (model.best.metrics[CROSS_FITTED]["log_loss"] for model in (result.model, known))
    told = f"its cross-fitted log loss on the same validation is {mine:.5f}, the live one's {its:.5f}"
    return Verdict(mine <= its, told)


def _lineage(build: Build) -> dict[str, Any]:
    """What the manifest keeps of the training set's own making."""
    return {
        "splits": build.details["splits"],
        "horizon_days": build.details["horizon_days"],
        "label_event_types": build.details["label_event_types"],
        "definition_hash": build.definition,
        "table_versions": build.inputs,
        "content": build.details.get("content"),
        "code_version": code_version(),
    }


def _told(result: TrainingResult, verdict: Verdict) -> str:
    model = result.model
    found = {name: candidate.metrics[CALIBRATED] for name, candidate in model.candidates.items()}
    ranked = sorted(found.items(), key=lambda item: item[1]["log_loss"])
    pairs = [f"{name} AUC {m['auc']:.4f} log loss {m['log_loss']:.4f}" for name, m in ranked]
    place = "is live" if verdict.passed else "waits as the challenger"
    return (
        f"model {result.model_version} {place} ({verdict.why}), its champion {model.champion}; "
        f"on validation: {'; '.join(pairs)}"
    )
