"""``build_examples``: profiles at several dates and what happened after them, as one pinned training set."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any, ClassVar

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.log import step
from intent_spark.examples.splits import default_splits, split_dates
from intent_spark.lakehouse.job import MISSING, STALE, THERE, Job, JobContext, Plan, PlanItem, iso_day, positive
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.labels import OUTCOMES, content_digest, labelled_snapshots
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.lakehouse.shop import data_range, recorded_shop, touched_days, touched_within

ROWS_PER_FILE = 1_000_000
# What a rank reads at a time when it shuffles: few enough that its memory holds many from all over the table.
ROWS_PER_GROUP = 16_384
GROUP_LIMIT = "parquet.block.row.count.limit"
TABLE = "examples"


class BuildExamples(Job):
    """A training set: one row is one user at one snapshot date with the label that has matured since."""

    name: ClassVar[str] = "build_examples"
    description: ClassVar[str] = "Join profiles at several dates with what happened within the horizon after each."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--as-of", type=iso_day, help="choose the dates for a model that is to score this day")
        parser.add_argument("--train-as-of", type=iso_day, action="append", help="a training date; repeatable")
        parser.add_argument("--validation-as-of", type=iso_day, help="the validation date")
        parser.add_argument(
            "--refit-as-of",
            type=iso_day,
            action="append",
            help="a date for the refit alone, before validation; repeatable",
        )
        parser.add_argument("--test-as-of", type=iso_day, help="the test date, if examples shall hold it")
        parser.add_argument(
            "--horizon-days", type=positive, help="days after as_of that the label looks at (default: the shop's)"
        )

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """The snapshots of each split, checked for maturity and for being there."""
        shop = recorded_shop(context.lakehouse)
        horizon = options.horizon_days or shop.horizon_days
        splits = _splits(context, options, horizon)
        _check_matured(context, splits, horizon)
        profiles = _profile_versions(context, splits)
        request = {"splits": {d.isoformat(): s for d, s in sorted(splits.items())}, "horizon_days": horizon}
        request |= {
            "definition": _definition(context, splits),
            "profiles": profiles,
            "label_event_types": context.settings.examples.label_event_types,
            "outcomes": [*OUTCOMES],
        }
        request |= {"labels": _label_versions(context, splits, horizon)}
        state = _state(context, request)
        items = [PlanItem(f"{TABLE} {day} ({split})", state) for day, split in sorted(splits.items())]
        return Plan(items, {"splits": splits, "horizon": horizon, "request": request})

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Write the training set as one new version of the table, its manifest in the commit."""
        lakehouse, splits = context.lakehouse, plan.inputs["splits"]
        inputs = {name: lakehouse.version(name) for name in ("profiles", "events")}
        with step("build_examples.write", dates=len(splits)) as counts:
            frame = _examples(context, splits, plan.inputs["horizon"], inputs).persist()
            per_split = _counts(frame)
            counts |= {split: row["users"] for split, row in per_split.items()}
            manifest = plan.inputs["request"] | {"counts": per_split, "content": content_digest(frame)}
            build = Build(
                self.name,
                [d.isoformat() for d in sorted(splits)],
                inputs,
                plan.inputs["request"]["definition"],
                manifest,
            )
            with _small_row_groups(context):
                lakehouse.overwrite(_laid_out(frame), TABLE, ("as_of",), build)
            frame.unpersist()
        rows = lakehouse.read(TABLE).count()
        if rows != sum(row["users"] for row in per_split.values()):
            raise RuntimeError(f"{TABLE} holds {rows} rows where {per_split} were made")
        told = "; ".join(f"{s} {r['users']} rows, base rate {r['base_rate']:.4f}" for s, r in per_split.items())
        return Outcome(f"version {lakehouse.version(TABLE)}: {told}", rows, rows, inputs)


def _splits(context: JobContext, options: Namespace, horizon: int) -> dict[date, str]:
    named = options.train_as_of or options.validation_as_of or options.test_as_of or options.refit_as_of
    if bool(options.as_of) == bool(named):
        raise UsageError("say --as-of DAY, or --train-as-of DAY (repeatable) with --validation-as-of DAY.")
    if options.as_of:
        configured = context.settings.examples
        first, _ = data_range(context.lakehouse)
        return default_splits(options.as_of, first, horizon, configured.step_days, configured.train_dates)
    if not options.validation_as_of:
        raise UsageError("--validation-as-of DAY is missing: early stopping and calibration need it.")
    dates = (options.train_as_of or [], options.validation_as_of, options.test_as_of)
    return split_dates(*dates, horizon, options.refit_as_of or [])


def _check_matured(context: JobContext, splits: dict[date, str], horizon: int) -> None:
    _, end = data_range(context.lakehouse)
    for day, split in sorted(splits.items()):
        closes = day + timedelta(days=horizon)
        if closes > end:
            raise ContractError(
                f"the label of {split} date {day} is not matured: its window closes at {closes}, events end at {end}; "
                "take an earlier date or ingest the days between."
            )


def _profile_versions(context: JobContext, splits: dict[date, str]) -> dict[str, dict[str, int]]:
    """The inputs of each snapshot: they tell whether a training set is still made of what is there."""
    context.lakehouse.require("profiles", "build_profiles")
    builds = context.lakehouse.newest_builds("profiles")
    missing = sorted(day.isoformat() for day in splits if day.isoformat() not in builds)
    if missing:
        raise UsageError(f"table 'profiles' lacks {', '.join(missing)}; run build_profiles --as-of for each.")
    definitions = {builds[day.isoformat()].definition for day in splits}
    if len(definitions) > 1:
        raise UsageError(
            "the snapshots were built under different feature definitions; run build_profiles for them again."
        )
    return {day.isoformat(): builds[day.isoformat()].inputs for day in sorted(splits)}


def _definition(context: JobContext, splits: dict[date, str]) -> str:
    return context.lakehouse.newest_builds("profiles")[max(splits).isoformat()].definition


def _label_versions(context: JobContext, splits: dict[date, str], horizon: int) -> dict[str, int]:
    """The version of events that last touched each label's window: a late purchase turns a label over."""
    touched, window = touched_days(context.lakehouse), timedelta(days=horizon)
    return {day.isoformat(): touched_within(touched, day, day + window) for day in sorted(splits)}


def _state(context: JobContext, request: dict[str, Any]) -> str:
    builds = context.lakehouse.builds(TABLE) if context.lakehouse.exists(TABLE) else []
    if not builds:
        return MISSING
    asked = {key: value for key, value in builds[0][1].details.items() if key not in ("counts", "content")}
    return THERE if asked == request else STALE


def _examples(context: JobContext, splits: dict[date, str], horizon: int, inputs: dict[str, int]) -> DataFrame:
    lakehouse, types = context.lakehouse, context.settings.examples.label_event_types
    profiles, events = (
        lakehouse.read("profiles", inputs["profiles"]),
        lakehouse.read("events", inputs["events"]),
    )
    return labelled_snapshots(profiles, events, splits, horizon, types)


def _laid_out(examples: DataFrame) -> DataFrame:
    """In one order, whatever plan made the rows: training reads them in that order, and rounds in it.

    The order is that of a hash, so that every stretch of a file is a fair sample of users.
    """
    spread = examples.repartition(max(1, examples.count() // ROWS_PER_FILE), "user_id")
    return spread.sortWithinPartitions("as_of", F.xxhash64("user_id"), "user_id")


@contextmanager
def _small_row_groups(context: JobContext) -> Iterator[None]:
    """Delta takes no such option for one write, but hands the session's settings on to Parquet's writer."""
    context.spark.conf.set(GROUP_LIMIT, ROWS_PER_GROUP)
    try:
        yield
    finally:
        context.spark.conf.unset(GROUP_LIMIT)


def _counts(examples: DataFrame) -> dict[str, dict[str, Any]]:
    rows = examples.groupBy("split").agg(F.count("*").alias("users"), F.avg("label").alias("base_rate")).collect()
    return {row["split"]: row.asDict() for row in sorted(rows, key=lambda row: str(row["split"]))}
