"""``run_pipeline``: all stages in order for one source and date; what is missing and no more."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, ClassVar

from intent_spark.config.errors import IntentSparkError, UsageError
from intent_spark.config.loading import load_source
from intent_spark.config.source import FORMATS, SourceMapping
from intent_spark.dimensions.job import IngestItems, IngestUsers
from intent_spark.events.job import IngestEvents
from intent_spark.examples.job import BuildExamples
from intent_spark.examples.splits import default_splits
from intent_spark.feedback.job import EvaluateScores
from intent_spark.lakehouse.job import MISSING, THERE, Job, JobContext, Plan, PlanItem, execute, iso_day, positive
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.shop import data_range, recorded_shop
from intent_spark.models.directory import load_model
from intent_spark.models.registry import champion
from intent_spark.pipeline.options import build_parser
from intent_spark.profiles.contract import definition_hash
from intent_spark.profiles.job import BuildProfiles
from intent_spark.reports.table import text_table
from intent_spark.scoring.job import ScoreUsers
from intent_spark.training.job import TrainIntent

NOTHING = "nothing_to_do"


@dataclass(frozen=True)
class Stage:
    """A job and its options. They are made when the stage is reached: later ones depend on what earlier ones wrote."""

    job: Job
    words: Callable[[], list[str] | None]


class RunPipeline(Job):
    """Raw files to scores, and to the evaluation of what has matured."""

    name: ClassVar[str] = "run_pipeline"
    description: ClassVar[str] = "Ingest, build, train where needed, score and evaluate for one source and date."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--source", required=True, help="a mapping in conf/sources/")
        parser.add_argument("--input", required=True, help="folder of the raw data")
        parser.add_argument("--as-of", type=iso_day, required=True, help="the date to score")
        parser.add_argument("--format", choices=FORMATS, help="the files' format (default: the mapping's)")
        parser.add_argument("--start-date", type=iso_day, help="first raw day to look at (default: all)")
        parser.add_argument("--end-date", type=iso_day, help="day after the last")
        parser.add_argument("--ranks", type=positive, help="Horovod ranks (default: training.ranks)")
        parser.add_argument("--truth", help="folder of a simulated shop's true probabilities")
        parser.add_argument("--report", help="folder of the HTML report (default: report/ in the warehouse)")

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """Under --dry-run every stage's plan; else one item, since each stage is planned when it is reached."""
        mapping = load_source(options.source, options.format)
        stages = _stages(context, options, mapping)
        if not options.dry_run:
            return Plan([PlanItem("all stages", MISSING)], {"stages": stages})
        return Plan(_all_items(context, stages))

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Run each stage; a stage that finds all it wants there does nothing."""
        rows: list[dict[str, Any]] = []
        for stage in plan.inputs["stages"]:
            started = time.monotonic()
            words = stage.words()
            if words is None:
                continue
            done = execute(stage.job, context, build_parser(stage.job).parse_args(words))
            seconds = round(time.monotonic() - started, 1)
            rows.append(
                {"stage": stage.job.name, "status": done.status, "rows in": done.rows_in, "rows out": done.rows_out,
                 "seconds": seconds}
            )  # fmt: skip
        print(text_table(rows))  # noqa: T201  # the table is what the person asked for
        if all(row["status"] == NOTHING for row in rows):
            return Outcome(f"nothing to do: all {len(rows)} stages found what they want there", status=NOTHING)
        did = [row["stage"] for row in rows if row["status"] != NOTHING]
        return Outcome(f"did {', '.join(did)}", rows[0]["rows in"], rows[-1]["rows out"])


def _stages(context: JobContext, options: Namespace, mapping: SourceMapping) -> list[Stage]:
    raw = ["--source", options.source, "--input", options.input]
    raw += ["--format", options.format] if options.format else []
    dates = [
        w for key in ("start_date", "end_date") if getattr(options, key) for w in _dated(key, getattr(options, key))
    ]
    scored = ["--as-of", options.as_of.isoformat()]
    return [
        Stage(IngestEvents(), lambda: raw + dates),
        Stage(IngestUsers(), lambda: raw if mapping.users else None),
        Stage(IngestItems(), lambda: raw if mapping.items else None),
        Stage(BuildProfiles(), lambda: _profile_words(context, options.as_of)),
        Stage(BuildExamples(), lambda: scored if _needs_training(context, options.as_of) else None),
        Stage(TrainIntent(), lambda: _training_words(context, options)),
        Stage(ScoreUsers(), lambda: scored),
        Stage(EvaluateScores(), lambda: _evaluation_words(context, options)),
    ]


def _dated(key: str, day: date) -> list[str]:
    return [f"--{key.replace('_', '-')}", day.isoformat()]


def _profile_words(context: JobContext, as_of: date) -> list[str]:
    """The date to score and, where a model is wanted, the dates to train and validate on."""
    first, _ = data_range(context.lakehouse)
    wanted = {as_of}
    if _needs_training(context, as_of):
        horizon = recorded_shop(context.lakehouse).horizon_days
        examples = context.settings.examples
        wanted |= set(default_splits(as_of, first, horizon, examples.step_days, examples.train_dates))
    return [word for day in sorted(wanted) for word in ("--as-of", day.isoformat())]


def _training_words(context: JobContext, options: Namespace) -> list[str] | None:
    if not _needs_training(context, options.as_of):
        return None
    return ["--ranks", str(options.ranks)] if options.ranks else []


def _needs_training(context: JobContext, as_of: date) -> bool:
    """No live model, one of other features, or one whose last evaluation asks for another."""
    try:
        live = champion(Path(context.lakehouse.path("models")))
    except UsageError:
        return True
    if load_model(live).manifest["lineage"]["definition_hash"] != definition_hash(context.settings.features):
        return True
    if not context.lakehouse.exists("evaluations"):
        return False
    last = (
        context.lakehouse.read("evaluations").where(f"model_version = '{live.name}'").orderBy("as_of", ascending=False)
    )
    row = last.select("retrain", "as_of").first()
    return bool(row and row["retrain"] and row["as_of"] < as_of)


def _evaluation_words(context: JobContext, options: Namespace) -> list[str] | None:
    """The date's evaluation, where its label has matured."""
    horizon = recorded_shop(context.lakehouse).horizon_days
    _, end = data_range(context.lakehouse)
    if options.as_of + timedelta(days=horizon) > end:
        return None
    words = ["--as-of", options.as_of.isoformat()]
    words += ["--truth", options.truth] if options.truth else []
    return words + (["--report", options.report] if options.report else [])


def _all_items(context: JobContext, stages: list[Stage]) -> list[PlanItem]:
    """Every stage's plan. What stands after something that is still to be done may be stale by then, and says so."""
    items: list[PlanItem] = []
    for stage in stages:
        waiting = any(item.state != THERE for item in items)
        for item in _dry_items(context, stage):
            is_open = waiting and item.state == THERE
            items.append(
                PlanItem(item.what, item.state, "as of now; the stages before it may change it") if is_open else item
            )
    return items


def _dry_items(context: JobContext, stage: Stage) -> list[PlanItem]:
    """A stage's plan, or that it waits for what earlier stages have still to write."""
    try:
        words = stage.words()
        if words is None:
            return []
        return stage.job.plan(context, build_parser(stage.job).parse_args(words)).items
    except IntentSparkError as error:
        if isinstance(stage.job, IngestEvents):
            raise
        return [PlanItem(stage.job.name, MISSING, f"planned after the stages before it: {error}")]
