"""What a job is: options, a plan that can be shown without doing it, and the run of that plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from pyspark.sql import SparkSession

from intent_spark.config.errors import EXIT_REFUSED, EXIT_USAGE, IntentSparkError, UsageError
from intent_spark.config.log import LOGGER
from intent_spark.config.settings import Settings
from intent_spark.lakehouse.job_runs import Outcome, record_run
from intent_spark.lakehouse.lakehouse import Lakehouse

THERE, MISSING, STALE = "there", "missing", "stale"
NO_ROWS = "holds no rows"


@dataclass(frozen=True)
class PlanItem:
    """One thing wanted: a table's partition, a batch, a model. ``state`` is there, missing or stale."""

    what: str
    state: str
    why: str = ""


@dataclass
class Plan:
    """What a run would do.

    ``inputs`` carries what planning found out and the run goes on with; ``report`` is shown with the plan.
    """

    items: list[PlanItem] = field(default_factory=list)
    inputs: dict[str, Any] = field(default_factory=dict)
    report: str = ""

    @property
    def todo(self) -> list[PlanItem]:
        """The items that are not there yet."""
        return [item for item in self.items if item.state != THERE]

    def lines(self) -> list[str]:
        """The plan for a person, one line an item."""
        width = max((len(item.what) for item in self.items), default=0)
        return [f"{item.state:<8} {item.what:<{width}}  {item.why}".rstrip() for item in self.items]


@dataclass(frozen=True)
class JobContext:
    """What every job is given."""

    settings: Settings
    spark: SparkSession
    lakehouse: Lakehouse


class Job(ABC):
    """A job: one arrow of the flow."""

    name: ClassVar[str]
    description: ClassVar[str]

    @abstractmethod
    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""

    def check_options(self, options: Namespace) -> None:  # noqa: B027  # most jobs have none that depend on others
        """Refuse options that do not go together, before anything is started.

        Raises:
            UsageError: it names them.
        """

    @abstractmethod
    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """What is wanted, what is there already, what is missing, and why. Changes nothing."""

    @abstractmethod
    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Do what the plan has to do."""


def execute(job: Job, context: JobContext, options: Namespace) -> Outcome:
    """Plan and run a job, and add its row to ``job_runs`` however it ends."""
    started = datetime.now(UTC)
    arguments = {key: value for key, value in vars(options).items() if value is not None}
    try:
        plan = job.plan(context, options)
        outcome = job.run(context, options, plan) if plan.todo else _nothing_to_do(plan)
    except BaseException as error:
        _record_failure(job, context, arguments, started, error)
        raise
    record_run(context.lakehouse, job.name, arguments, started, outcome)
    LOGGER.info('job=%s status=%s message="%s"', job.name, outcome.status, outcome.message)
    return outcome


def _nothing_to_do(plan: Plan) -> Outcome:
    blank = sum(item.why == NO_ROWS for item in plan.items)
    told = f"nothing to do: {len(plan.items)} wanted, all there" + (f", {blank} without a row" if blank else "")
    return Outcome(message=told if plan.items else "nothing to do: the files hold no rows", status="nothing_to_do")


def _record_failure(
    job: Job, context: JobContext, arguments: dict[str, Any], started: datetime, error: BaseException
) -> None:
    statuses = {EXIT_USAGE: "usage", EXIT_REFUSED: "refused"}
    code = error.exit_code if isinstance(error, IntentSparkError) else 1
    outcome = Outcome(message=f"{type(error).__name__}: {error}"[:1000], status=statuses.get(code, "failed"))
    if code == EXIT_USAGE and not context.lakehouse.exists("events"):
        return  # a mistyped path must not leave a new warehouse behind
    try:
        record_run(context.lakehouse, job.name, arguments, started, outcome)
    except Exception as second:  # the first error is the one to tell
        LOGGER.warning("job_runs could not be written: %s", str(second).splitlines()[0])


def iso_day(text: str) -> date:
    """An ISO day as ``argparse`` type.

    Raises:
        UsageError: the text is not a day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"'{text}' is not a day; write it as 2026-03-31.") from error


def positive(text: str) -> int:
    """A number of 1 or more as ``argparse`` type.

    Raises:
        UsageError: it is not.
    """
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"'{text}' is not a whole number of at least 1.")
    return int(text)


def day_range(start: date, end: date, step_days: int = 1) -> list[date]:
    """The days of the half-open range [start, end).

    Raises:
        UsageError: the range is empty or reversed.
    """
    if end <= start:
        raise UsageError(f"--start-date {start} is not before --end-date {end}; the range is half-open [start, end).")
    return [start + timedelta(days=offset) for offset in range(0, (end - start).days, step_days)]
