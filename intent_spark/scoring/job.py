"""``score_users``: a probability for every user with a profile."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.log import step
from intent_spark.lakehouse.job import MISSING, STALE, THERE, Job, JobContext, Plan, PlanItem, iso_day
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.models.directory import TrainedModel, knows_outcomes_until, load_model
from intent_spark.models.registry import champion
from intent_spark.scoring.contract import SCORES
from intent_spark.scoring.intent_udf import intent_udf, score_columns


class ScoreUsers(Job):
    """Scores of one date by the live model; the date's partition is replaced whole."""

    name: ClassVar[str] = "score_users"
    description: ClassVar[str] = "Score every user that has a profile at a date with the live model."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--as-of", type=iso_day, required=True, help="snapshot date")

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """The date's profiles, the live model, and whether its scores are there."""
        context.lakehouse.require("profiles", "build_profiles")
        built = context.lakehouse.newest_builds("profiles").get(options.as_of.isoformat())
        if built is None:
            raise UsageError(
                f"table 'profiles' lacks {options.as_of}; run build_profiles --as-of {options.as_of} first."
            )
        model_dir = champion(Path(context.lakehouse.path("models")))
        model = load_model(model_dir)
        _check_definition(model, built)
        wanted = Build(
            self.name, [options.as_of.isoformat()], built.inputs, built.definition, {"model": model_dir.name}
        )
        there = context.lakehouse.newest_builds(SCORES.name).get(options.as_of.isoformat())
        knows_until = knows_outcomes_until(model.manifest["lineage"])
        if knows_until > options.as_of and not there:
            raise ContractError(
                f"the live model {model_dir.name} knows what users did until {knows_until}: it cannot be asked "
                f"what they would do from {options.as_of}; score {knows_until} or later."
            )
        if knows_until > options.as_of:
            item = PlanItem(f"scores {options.as_of}", THERE, "by an earlier model; the live one knows the outcome")
        else:
            state = THERE if there == wanted else STALE if there else MISSING
            item = PlanItem(f"scores {options.as_of} by model {model_dir.name}", state)
        return Plan([item], {"model_dir": model_dir, "model": model, "build": wanted})

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Score and replace the date's partition."""
        lakehouse = context.lakehouse
        version = lakehouse.version("profiles")
        profiles = lakehouse.read("profiles", version).where(F.col("as_of") == F.lit(options.as_of))
        lakehouse.create(SCORES)
        with step("score_users.write", as_of=options.as_of) as counts:
            scored = _scored(context, profiles, plan.inputs["model_dir"], plan.inputs["model"])
            lakehouse.replace(scored, SCORES, "as_of", [options.as_of], plan.inputs["build"])
            counts["profiles"] = profiles.count()
            counts["scores"] = _written(context, options.as_of)
        if counts["profiles"] != counts["scores"]:
            raise RuntimeError(f"{counts['profiles']} profiles gave {counts['scores']} scores")
        message = f"{counts['scores']} users scored by model {plan.inputs['model_dir'].name}"
        return Outcome(message, counts["profiles"], counts["scores"], {"profiles": version})


def _check_definition(model: TrainedModel, built: Build) -> None:
    trained_on = model.manifest["lineage"]["definition_hash"]
    if trained_on != built.definition:
        raise ContractError(
            f"the live model was trained on features of definition {trained_on}, "
            f"the profiles are of {built.definition}; "
            "build examples and train again."
        )


def _scored(context: JobContext, profiles: DataFrame, model_dir: Path, model: TrainedModel) -> DataFrame:
    settings: Any = context.settings.scoring
    context.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", settings.batch_rows)
    names = list(model.candidates)
    udf = intent_udf(str(model_dir), names, settings.threads, settings.batch_rows)
    # Few files make few tasks: spread the users so that every core scores.
    slots = context.spark.sparkContext.defaultParallelism
    spread = profiles.repartition(slots, "user_id")
    inputs = F.struct(*[F.col(f"`{name}`") for name in model.schema.columns])
    scored = spread.select("as_of", "user_id", udf(inputs).alias("score"))
    columns = score_columns("score", names, model.champion)
    stamped = scored.select("as_of", "user_id", *columns).withColumn("model_version", F.lit(model_dir.name))
    return stamped.withColumn("horizon_days", F.lit(model.manifest["lineage"]["horizon_days"]))


def _written(context: JobContext, as_of: date) -> int:
    return context.lakehouse.read(SCORES.name).where(F.col("as_of") == F.lit(as_of)).count()
