"""From a command line to an exit code: arguments, configuration, session, plan, run, ledger."""

from __future__ import annotations

import os
import sys
import traceback
from argparse import Namespace
from typing import NoReturn

from intent_spark.config.errors import EXIT_DONE, EXIT_FAILED, IntentSparkError
from intent_spark.config.leaving import leave
from intent_spark.config.loading import load_settings
from intent_spark.config.log import LOGGER, configure_logging
from intent_spark.config.settings import Settings
from intent_spark.lakehouse.causes import root_cause
from intent_spark.lakehouse.job import Job, JobContext, execute
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.session import spark_session
from intent_spark.pipeline.options import build_parser


def program(job: Job) -> NoReturn:
    """Run a job as all that this process is for: the process ends with the job's exit code."""
    try:
        main(job)
    except SystemExit as left:
        code = left.code
    leave(code if isinstance(code, int) else EXIT_DONE if code is None else EXIT_FAILED)


def main(job: Job, arguments: list[str] | None = None) -> NoReturn:
    """Run a job and leave by SystemExit with its exit code."""
    configure_logging()
    try:
        code = _run(job, arguments)
    except IntentSparkError as error:
        print(f"{job.name}: {error}", file=sys.stderr)  # noqa: T201  # the sentence is for the person
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        print(f"{job.name}: failed: {_first_line(error)}", file=sys.stderr)  # noqa: T201
        if os.environ.get("INTENT_SPARK_TRACE"):
            traceback.print_exc()
        code = EXIT_FAILED
    _leave(code)


def _run(job: Job, arguments: list[str] | None) -> int:
    options = build_parser(job).parse_args(arguments)
    job.check_options(options)
    settings = load_settings(options.env, options.set)
    context = open_context(settings, options.warehouse, job.name)
    if options.dry_run:
        _show_plan(job, context, options)
    else:
        execute(job, context, options)
    return EXIT_DONE


def open_context(settings: Settings, warehouse: str | None, name: str) -> JobContext:
    """A session and a warehouse for a job or a notebook."""
    spark = spark_session(settings.environment, name)
    return JobContext(settings, spark, Lakehouse(spark, warehouse or settings.warehouse, settings.retention))


def _show_plan(job: Job, context: JobContext, options: Namespace) -> None:
    plan = job.plan(context, options)
    report = [plan.report] if plan.report else []
    lines = [*report, *plan.lines(), f"{job.name}: {len(plan.todo)} of {len(plan.items)} to do; nothing was changed."]
    print("\n".join(lines))  # noqa: T201  # the plan is what the person asked for


def _first_line(error: BaseException) -> str:
    """The cause in one line."""
    return f"{type(error).__name__}: {root_cause(error)} (INTENT_SPARK_TRACE=1 shows the trace)"


def _leave(code: int) -> NoReturn:
    LOGGER.debug("exit=%d", code)
    sys.exit(code)
