"""``ingest_users`` and ``ingest_items``: snapshots of entities into dimensions with validity."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import ClassVar

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.loading import load_source
from intent_spark.config.log import step
from intent_spark.config.source import FORMATS, DimensionMapping, SourceMapping
from intent_spark.dimensions.contract import ITEMS, USERS
from intent_spark.dimensions.validity import date_changes, merge_versions
from intent_spark.lakehouse.contract import TableContract
from intent_spark.lakehouse.files import list_files
from intent_spark.lakehouse.job import MISSING, STALE, THERE, Job, JobContext, Plan, PlanItem, iso_day
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.lakehouse.session import null_on_error


class IngestDimension(Job):
    """What the two jobs share; each names its table and its part of the source mapping."""

    contract: ClassVar[TableContract]
    section: ClassVar[str]

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--source", required=True, help="a mapping in conf/sources/")
        parser.add_argument("--format", choices=FORMATS, help="the files' format (default: the mapping's)")
        parser.add_argument("--input", required=True, help="folder of raw data that the mapping's path lies in")
        parser.add_argument("--date", type=iso_day, help="the snapshot's day: what it changes holds from then on")

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """Whether the snapshot brings a version that the table lacks."""
        mapping = load_source(options.source, options.format)
        dimension: DimensionMapping | None = getattr(mapping, self.section)
        if dimension is None:
            raise UsageError(f"source {options.source} maps no {self.section}; add a section '{self.section}' to it.")
        if "{date}" in dimension.path and options.date is None:
            raise UsageError(
                f"source {options.source} has a {self.section} file for each day; say which with --date DAY."
            )
        path = f"{options.input.rstrip('/')}/{dimension.path}".replace("{date}", str(options.date))
        files = [file.path for file in list_files(context.spark, path)]
        arriving = self._arriving(context, files, mapping, dimension)
        if options.date and context.lakehouse.exists(self.contract.name):
            there = context.lakehouse.read(self.contract.name)
            arriving = date_changes(arriving, there, self.contract.keys[0], options.date)
        state = self._state(context, arriving)
        return Plan([PlanItem(f"{self.contract.name} from {dimension.path}", state)], {"arriving": arriving})

    def _arriving(
        self, context: JobContext, files: list[str], mapping: SourceMapping, dimension: DimensionMapping
    ) -> DataFrame:
        reader = context.spark.read
        if mapping.format == "csv":
            raw = reader.csv(files, header=mapping.text.header, sep=mapping.text.delimiter)
        else:
            raw = reader.parquet(*files) if mapping.format == "parquet" else reader.json(files)
        key = self.contract.keys[0]
        columns = {key: dimension.key, "valid_from": dimension.valid_from, **dimension.columns}
        try:
            with null_on_error(context.spark):
                mapped = raw.select(*[F.expr(expression).alias(name) for name, expression in columns.items()])
                arriving = self.contract.select(mapped.withColumns(_open()))
        except AnalysisException as error:
            problem = (error.getMessage() or str(error)).splitlines()[0]
            raise ContractError(f"the mapping of {self.section} does not fit the data: {problem}") from error
        unusable = arriving.where(F.col(key).isNull() | F.col("valid_from").isNull()).count()
        if unusable:
            raise ContractError(
                f"{unusable} rows of {dimension.path} have no {key} or no valid_from as source maps them; "
                "mend the mapping or the file."
            )
        return arriving

    def _state(self, context: JobContext, arriving: DataFrame) -> str:
        if not context.lakehouse.exists(self.contract.name):
            return MISSING
        there = context.lakehouse.read(self.contract.name)
        merged = merge_versions(there, arriving, self.contract.keys[0])
        return THERE if merged.exceptAll(there).isEmpty() else STALE

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Merge the arriving versions and replace the dimension whole."""
        lakehouse, arriving = context.lakehouse, plan.inputs["arriving"]
        lakehouse.create(self.contract)
        inputs = {self.contract.name: lakehouse.version(self.contract.name)}
        there = lakehouse.read(self.contract.name, inputs[self.contract.name])
        with step(f"{self.name}.merge") as counts:
            merged = self.contract.select(merge_versions(there, arriving, self.contract.keys[0]))
            writer = merged.write.format("delta").mode("overwrite")
            writer.option("userMetadata", Build(self.name, inputs=inputs).to_json()).save(
                lakehouse.path(self.contract.name)
            )
            counts["rows"] = lakehouse.read(self.contract.name).count()
        return Outcome(f"{counts['rows']} versions", rows_in=arriving.count(), rows_out=counts["rows"], inputs=inputs)


class IngestUsers(IngestDimension):
    """Users as known over time."""

    name: ClassVar[str] = "ingest_users"
    description: ClassVar[str] = "Read a snapshot of users into the dimension 'users', valid from–to."
    contract: ClassVar[TableContract] = USERS
    section: ClassVar[str] = "users"


class IngestItems(IngestDimension):
    """Items as offered over time."""

    name: ClassVar[str] = "ingest_items"
    description: ClassVar[str] = "Read a snapshot of items into the dimension 'items', valid from–to."
    contract: ClassVar[TableContract] = ITEMS
    section: ClassVar[str] = "items"


def _open() -> dict[str, Column]:
    """A row as it arrives: its end is not known, and its own day states it."""
    return {"valid_to": F.lit(None).cast("date"), "stated_on": F.array("valid_from")}
