"""``evaluate_scores``: matured scores into outcomes, metrics, a report and a decision."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.heads import CHURN, HEADS
from intent_spark.config.log import step
from intent_spark.feedback.contract import EVALUATIONS, OUTCOMES
from intent_spark.feedback.evaluation import Evaluation, evaluate
from intent_spark.feedback.outcomes import ALL, check_both_outcomes, common_categories, segments
from intent_spark.feedback.page import page
from intent_spark.lakehouse.files import list_files
from intent_spark.lakehouse.job import MISSING, STALE, THERE, Job, JobContext, Plan, PlanItem, iso_day
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.labels import label
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.lakehouse.shop import data_range, touched_days, touched_within
from intent_spark.models.directory import load_model
from intent_spark.reports.evaluation import metric_rows, write
from intent_spark.reports.table import text_table

INTERVALS = ("auc", "pr_auc", "log_loss")


class EvaluateScores(Job):
    """What became of the scores of one date."""

    name: ClassVar[str] = "evaluate_scores"
    description: ClassVar[str] = "Compare matured scores with what happened: metrics, report, retrain decision."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--as-of", type=iso_day, required=True, help="the scores' date")
        parser.add_argument("--truth", help="folder of a simulated shop's true probabilities")
        parser.add_argument("--report", help="folder of the HTML report (default: report/ in the warehouse)")

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """Whether the scores are there, matured, and not yet evaluated."""
        context.lakehouse.require("scores", "score_users")
        day = options.as_of.isoformat()
        made = [(v, build) for v, build in context.lakehouse.builds("scores") if day in build.partitions]
        if not made:
            raise UsageError(f"table 'scores' lacks {day}; run score_users --as-of {day} first.")
        version, scored = made[0]
        model_dir = Path(context.lakehouse.path("models")) / str(scored.details["model"])
        lineage = load_model(model_dir).manifest["lineage"]
        horizon = int(lineage["horizon_days"])
        _check_matured(context, options.as_of, horizon)
        there = context.lakehouse.newest_builds(EVALUATIONS.name).get(day)
        report = Path(options.report or context.lakehouse.path("report")).absolute()
        truth = _truth(context, options.truth, options.as_of, horizon) if options.truth else None
        closes = options.as_of + timedelta(days=horizon)
        labels = touched_within(touched_days(context.lakehouse), options.as_of, closes)
        limits = context.settings.evaluation.model_dump()
        told_truth = str(Path(options.truth).absolute()) if options.truth else None
        details = {"truth": told_truth, "limits": limits, "report": str(report)}
        state = MISSING if there is None else _state(there, version, labels, details)
        inputs = {"scores_version": version, "model_dir": model_dir, "horizon": horizon, "report": report}
        inputs |= {"truth": truth, "details": details, "label_event_types": lineage["label_event_types"]}
        return Plan([PlanItem(f"evaluation of scores {day}", state)], inputs)

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Write outcomes and evaluations, print the metrics, draw the report."""
        lakehouse, as_of = context.lakehouse, options.as_of
        inputs = {"scores": plan.inputs["scores_version"], "events": lakehouse.version("events")}
        inputs["profiles"] = lakehouse.version("profiles")
        build = Build(self.name, [as_of.isoformat()], inputs, details=plan.inputs["details"])
        outcomes = _outcomes(context, as_of, plan.inputs, inputs)
        check_both_outcomes(outcomes, as_of, plan.inputs["horizon"])
        with step("evaluate_scores.outcomes", as_of=as_of) as counts:
            lakehouse.create(OUTCOMES)
            lakehouse.replace(outcomes, OUTCOMES, "as_of", [as_of], build)
            written = lakehouse.read(OUTCOMES.name).where(F.col("as_of") == F.lit(as_of))
            counts["rows"] = written.count()
        model = load_model(plan.inputs["model_dir"])
        with step("evaluate_scores.metrics", as_of=as_of):
            result = evaluate(written, plan.inputs["truth"], model, context.settings.evaluation)
            _record(context, result, as_of, plan.inputs["model_dir"].name, build)
        with step("evaluate_scores.report") as logged:
            shown = page(context.lakehouse, result, model, as_of, plan.inputs["horizon"], inputs)
            logged["path"] = write(shown, plan.inputs["report"])
        print(text_table(metric_rows(shown.candidates)))  # noqa: T201  # the metrics are what the person asked for
        return Outcome(_told(result, logged["path"]), counts["rows"], counts["rows"], inputs)


def _check_matured(context: JobContext, as_of: date, horizon: int) -> None:
    _, end = data_range(context.lakehouse)
    closes = as_of + timedelta(days=horizon)
    if closes > end:
        raise ContractError(
            f"the scores of {as_of} are not matured: their window closes at {closes}, events end at {end}; "
            "ingest the days between and run again."
        )


def _state(there: Build, scores_version: int, labels_version: int, details: dict[str, Any]) -> str:
    is_same = there.inputs["scores"] == scores_version and there.inputs["events"] >= labels_version
    is_drawn = (Path(details["report"]) / "index.html").exists()
    return THERE if is_same and is_drawn and there.details == details else STALE


def _outcomes(context: JobContext, as_of: date, planned: dict[str, Any], inputs: dict[str, int]) -> DataFrame:
    lakehouse = context.lakehouse
    at_date = F.col("as_of") == F.lit(as_of)
    scores = lakehouse.read("scores", inputs["scores"]).where(at_date)
    # What was scored before there was such a head.
    scores = scores.withColumns({h.name: F.lit(None).cast("double") for h in HEADS if h.name not in scores.columns})
    profiles = lakehouse.read("profiles", inputs["profiles"]).where(at_date)
    known = segments(profiles.columns, common_categories(profiles))
    grouped = profiles.select("user_id", known.alias("segments"))
    events = lakehouse.read("events", inputs["events"])
    labelled = label(scores, events, as_of, planned["horizon"], planned["label_event_types"])
    joined = labelled.join(grouped, on="user_id", how="left")
    return joined.withColumn("segments", F.coalesce("segments", F.array(F.lit("regular"))))


def _truth(context: JobContext, folder: str, as_of: date, horizon: int) -> DataFrame:
    files = [file.path for file in list_files(context.spark, folder)]
    truth = context.spark.read.parquet(*files).where(F.col("as_of") == F.lit(as_of))
    found = truth.where(F.col("horizon_days") == horizon)
    if found.isEmpty():
        raise UsageError(f"--truth {folder}: nothing for {as_of} and a horizon of {horizon} days; leave --truth out.")
    return found.select("user_id", "p_state", "p_filter")


def _record(context: JobContext, result: Evaluation, as_of: date, model_version: str, build: Build) -> None:
    rows = []
    for told in result.figures:
        m, found = told.metrics, [told.intervals[name] for name in INTERVALS]
        ends = [end for one in found for end in (one.low, one.high)]
        spend = result.spend.get(told.segment) if told.candidate == result.champion else None
        rows.append(
            (as_of, told.candidate, told.candidate == result.champion, told.segment, model_version, int(m.users),
             int(m.positives), m.auc, m.pr_auc, m.log_loss, *ends, m.brier, m.calibration_error,
             spend and spend.expected, spend and spend.spent, result.decision.retrain, result.decision.reasons)
        )  # fmt: skip
    context.lakehouse.replace_rows(map(EVALUATIONS.named, rows), EVALUATIONS, "as_of", as_of, build)


def _told(result: Evaluation, report: Path) -> str:
    decision = "; ".join(result.decision.reasons) or "the model holds"
    churn = next((one for one in result.figures if (one.candidate, one.segment) == (CHURN.name, ALL)), None)
    told = f"; churn AUC {churn.metrics.auc:.4f}" if churn else ""
    if (spend := result.spend.get(ALL)) and spend.ratio is not None:
        told += f"; expected spend {spend.ratio:.3f} of what was spent, its top tenth has {spend.top_share:.0%} of it"
    return f"retrain: {'yes' if result.decision.retrain else 'no'} ({decision}){told}; report: {report}"
