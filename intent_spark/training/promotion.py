"""``promote_model``: the waiting model takes the live one's place, if it is not worse; or the way back."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.log import step
from intent_spark.lakehouse.job import MISSING, THERE, Job, JobContext, Plan, PlanItem
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.labels import label
from intent_spark.lakehouse.shop import data_range
from intent_spark.models.directory import TrainedModel, knows_outcomes_until, load_model
from intent_spark.models.intervals import mean_interval
from intent_spark.models.registry import (
    WHOEVER,
    champion,
    former_champion,
    model_versions,
    promote,
    read_aliases,
    roll_back,
)
from intent_spark.training.feed import BUCKETS
from intent_spark.training.gate import SEED, SURE, Verdict, judge
from intent_spark.training.tracking import Tracker

LOSSES = ("loss", "other_loss")


class PromoteModel(Job):
    """Changes which model is live."""

    name: ClassVar[str] = "promote_model"
    description: ClassVar[str] = "Make the challenger the live model if it is not worse, or go back to the one before."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--model", metavar="VERSION", help="the model to promote (default: the challenger)")
        parser.add_argument("--force", action="store_true", help="without comparing it with the live one")
        parser.add_argument("--rollback", action="store_true", help="back to the model that was live before")

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """Which model, and whether it is live already."""
        models_dir = Path(context.lakehouse.path("models"))
        aliases = read_aliases(models_dir)
        if options.rollback:
            if options.model or options.force:
                raise UsageError("--rollback goes back by one model: it takes neither --model nor --force.")
            return Plan([PlanItem(f"back to model {former_champion(models_dir)}", MISSING)])
        version = options.model or aliases.challenger
        if version is None:
            raise UsageError(f"{models_dir} has no challenger: name a model by --model VERSION.")
        if version not in model_versions(models_dir):
            known = ", ".join(model_versions(models_dir)) or "none"
            raise UsageError(f"{models_dir} has no model {version}; it has {known}.")
        state = THERE if version == aliases.champion else MISSING
        return Plan([PlanItem(f"model {version} live", state)], {"version": version})

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Judge, change the aliases, tell MLflow."""
        models_dir, registry = Path(context.lakehouse.path("models")), context.settings.registry
        tracker = Tracker(models_dir, registry) if registry.record else None
        before = read_aliases(models_dir).champion
        if options.rollback:
            version, why = roll_back(models_dir).name, "rolled back"
        else:
            version = plan.inputs["version"]
            why = _let_in(context, models_dir / version, before, options.force)
            promote(models_dir, version, WHOEVER if options.force else before)
        if tracker:
            tracker.show_aliases()
        return Outcome(f"model {version} is live ({why}); before it {before or 'none'}")


def _let_in(context: JobContext, candidate: Path, live: str | None, force: bool) -> str:
    """Why the model may be promoted.

    Raises:
        ContractError: it is worse than the live one, or reads other features than the profiles have.
        UsageError: no date can tell.
    """
    load_model(candidate)
    if live is None or force:
        return "forced" if force else "it is the first"
    verdict = _judged(context, candidate, champion(candidate.parent))
    if not verdict.passed:
        raise ContractError(f"model {candidate.name} is not promoted: {verdict.why}; keep {live}, or say --force.")
    return verdict.why


def _judged(context: JobContext, candidate: Path, live: Path) -> Verdict:
    """Both models on the newest matured snapshot whose outcomes neither was trained on."""
    models = (load_model(candidate), load_model(live))
    day = _newest_unseen(context, models)
    lineage = models[0].manifest["lineage"]
    with step("promote_model.compare", as_of=day, challenger=candidate.name, champion=live.name) as counts:
        profiles = context.lakehouse.read("profiles").where(F.col("as_of") == F.lit(day))
        types = lineage["label_event_types"]
        labelled = label(profiles, context.lakehouse.read("events"), day, int(lineage["horizon_days"]), types)
        sums = _summed(context, labelled, (candidate, live), models)
        counts["users"] = int(sums["users"].sum())
    apart = (sums[LOSSES[0]] - sums[LOSSES[1]]).to_numpy(np.float64)
    return judge(mean_interval(apart, sums["users"].to_numpy(np.float64), SEED))


def _newest_unseen(context: JobContext, models: tuple[TrainedModel, TrainedModel]) -> date:
    lineages = [model.manifest["lineage"] for model in models]
    alike = [[lineage[k] for k in ("horizon_days", "definition_hash", "label_event_types")] for lineage in lineages]
    if alike[0] != alike[1]:
        raise UsageError(
            "the two models read other features, or their labels have another horizon or other event types: compare by "
            "hand, or --force."
        )
    unseen = max(knows_outcomes_until(lineage) for lineage in lineages)
    _, end = data_range(context.lakehouse)
    matured = end - timedelta(days=int(lineages[0]["horizon_days"]))
    builds = context.lakehouse.newest_builds("profiles")
    fit = [date.fromisoformat(d) for d, b in builds.items() if b.definition == lineages[0]["definition_hash"]]
    days = [day for day in fit if unseen <= day <= matured]
    if not days:
        raise UsageError(
            f"no snapshot can tell which model is better: one of {unseen} to {matured} is needed, with these features "
            "and a label that has matured; wait for it, or say --force."
        )
    return max(days)


def _summed(
    context: JobContext, labelled: DataFrame, folders: tuple[Path, Path], models: tuple[TrainedModel, TrainedModel]
) -> pd.DataFrame:
    """Users and the sum of each model's log losses, by groups of users: a bounded number of rows."""
    columns = sorted({name for model in models for name in model.schema.columns})
    places, rows = [str(folder) for folder in folders], context.settings.scoring.batch_rows
    threads = context.settings.scoring.threads

    def losses(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        from intent_spark.models.predictor import cached_predictor

        predictors = [cached_predictor(place, threads, rows) for place in places]
        for batch in batches:
            found: dict[str, Any] = {"user_id": batch["user_id"]}
            for name, predictor in zip(LOSSES, predictors, strict=True):
                score = predictor.predict_frame(batch).candidates[predictor.model.champion]
                right = np.where(batch["label"] == 1, score, 1.0 - score)
                found[name] = -np.log(np.maximum(right, SURE))
            yield pd.DataFrame(found)

    given = labelled.select("user_id", "label", *columns)
    scored = given.mapInPandas(losses, "user_id string, loss double, other_loss double")
    group = F.pmod(F.xxhash64("user_id"), F.lit(BUCKETS)).alias("bucket")
    sums = [F.sum(name).alias(name) for name in LOSSES]
    return scored.groupBy(group).agg(F.count("*").alias("users"), *sums).orderBy("bucket").toPandas()
