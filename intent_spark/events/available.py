"""``ingest_events --available-now``: all that is new in a landing folder or a topic, and then the end."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame

from intent_spark.config.errors import UsageError
from intent_spark.config.loading import load_source
from intent_spark.config.source import SourceMapping
from intent_spark.events import kafka
from intent_spark.events.batch import unfinished
from intent_spark.events.finish import Counts, finish_all
from intent_spark.events.ingestion import ingest_files
from intent_spark.events.intake import drain, new_files, paths_of
from intent_spark.lakehouse.job import MISSING, JobContext, Plan, PlanItem, positive

CHECKPOINTS = "_checkpoints/ingest_events"


def add_available_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--available-now", action="store_true",
        help="take what is new in the landing folder --input, or in the source's topic, in micro-batches, and end",
    )  # fmt: skip
    parser.add_argument("--checkpoint", help="folder that keeps what was seen (default: in the warehouse, by source)")
    parser.add_argument(
        "--per-batch", type=positive, help="files, or records of a topic, in one micro-batch (default: all)"
    )


def plan_available(context: JobContext, options: Namespace) -> Plan:
    """What is looked into; what is new there is found by looking.

    Raises:
        UsageError: neither a folder nor a topic is named, or both.
    """
    mapping = load_source(options.source, options.format)
    if mapping.kafka is None and options.input is None:
        raise UsageError(f"source {options.source} names no topic; say where its files land by --input FOLDER.")
    if mapping.kafka is not None and options.input is not None:
        raise UsageError(f"source {options.source} reads topic {mapping.kafka.topic}; leave out --input.")
    where = options.input if mapping.kafka is None else f"topic {mapping.kafka.topic}"
    about = f"source {options.source}: {mapping.description}"
    return Plan([PlanItem(f"what is new in {where}", MISSING)], {"mapping": mapping}, about)


def run_available(context: JobContext, options: Namespace, plan: Plan) -> dict[str, Counts]:
    """Ingest each micro-batch as a batch run would; gives the counts of those that brought something."""
    mapping: SourceMapping = plan.inputs["mapping"]
    finish_all(context, unfinished(context.lakehouse))
    told: dict[str, Counts] = {}

    def work(batch: DataFrame) -> None:
        paths = [o.path for o in kafka.offsets_of(batch)] if mapping.kafka else paths_of(batch)
        batch_id, counts = ingest_files(context, options.source, mapping, paths)
        if counts["read"]:
            told[batch_id] = counts

    checkpoint = options.checkpoint or context.lakehouse.path(f"{CHECKPOINTS}/{options.source}")
    drain(_stream(context, options, mapping), checkpoint, work)
    return told


def _stream(context: JobContext, options: Namespace, mapping: SourceMapping) -> DataFrame:
    if mapping.kafka is not None:
        try:
            return kafka.stream(context.spark, mapping.kafka, options.per_batch)
        except AnalysisException as error:
            raise UsageError(
                f"source {options.source} reads a topic, and Spark's connector for it is missing: "
                "run 'tools/setup.sh kafka' once."
            ) from error
    folder = f"{options.input.rstrip('/')}/{mapping.path}".rstrip("/")
    try:
        return new_files(context.spark, folder, options.per_batch)
    except AnalysisException as error:
        raise UsageError(f"input {folder}: there is no such folder; make it, or check --input.") from error
