"""``ingest_users`` and ``ingest_items``: snapshots or changes of entities into dimensions with validity."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import date
from typing import Any, ClassVar

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.loading import load_source
from intent_spark.config.log import step
from intent_spark.config.source import FORMATS, DimensionMapping, SourceMapping
from intent_spark.dimensions.contract import ITEMS, USERS
from intent_spark.dimensions.rows import read_rows
from intent_spark.dimensions.validity import GONE, dated, first_changed_day, merge_versions
from intent_spark.lakehouse.contract import TableContract
from intent_spark.lakehouse.files import list_files
from intent_spark.lakehouse.job import MISSING, STALE, THERE, Job, JobContext, Plan, PlanItem, iso_day
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import CHANGED_FROM, Build
from intent_spark.lakehouse.session import null_on_error
from intent_spark.lakehouse.versions import undisturbed


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
        if dimension.kind == "snapshot" and options.date is None:
            raise UsageError(
                f"source {options.source} has snapshots of {self.section}: say of which day with --date DAY."
            )
        path = f"{options.input.rstrip('/')}/{dimension.path}".replace("{date}", str(options.date))
        files = [file.path for file in list_files(context.spark, path)]
        arriving = self._arriving(context, files, mapping, dimension)
        arriving = dated(arriving, options.date) if options.date else arriving
        inputs = {"arriving": arriving, "snapshot": options.date if dimension.kind == "snapshot" else None}
        state = self._state(context, inputs)
        return Plan([PlanItem(f"{self.contract.name} from {dimension.path}", state)], inputs)

    def _arriving(
        self, context: JobContext, files: list[str], mapping: SourceMapping, dimension: DimensionMapping
    ) -> DataFrame:
        raw = read_rows(context.spark, files, mapping)
        key = self.contract.keys[0]
        columns = {key: dimension.key, "valid_from": dimension.valid_from, **dimension.columns}
        columns |= {GONE: f"if({dimension.gone}, true, null)"}
        try:
            with null_on_error(context.spark):
                mapped = raw.select(*[F.expr(expression).alias(name) for name, expression in columns.items()])
                arriving = self.contract.cast(_emptied(mapped, list(dimension.columns)).withColumns(_open()))
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

    def _state(self, context: JobContext, inputs: dict[str, Any]) -> str:
        if not context.lakehouse.exists(self.contract.name):
            return MISSING
        there = self._there(context)
        return THERE if self._merged(context, there, inputs).exceptAll(there).isEmpty() else STALE

    def _there(self, context: JobContext) -> DataFrame:
        """What the table holds, in the contract's columns; an older table may lack one."""
        there = context.lakehouse.read(self.contract.name)
        lacking = {c.name: F.lit(None).cast(c.type) for c in self.contract.columns if c.name not in there.columns}
        return self.contract.cast(there.withColumns(lacking))

    def _merged(self, context: JobContext, there: DataFrame, inputs: dict[str, Any]) -> DataFrame:
        builds = context.lakehouse.builds(self.contract.name)
        taken = {date.fromisoformat(b.details["snapshot"]) for _, b in builds if b.details.get("snapshot")}
        key = self.contract.keys[0]
        return self.contract.cast(merge_versions(there, inputs["arriving"], key, inputs["snapshot"], taken))

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Merge the arriving versions and replace the dimension whole."""
        lakehouse, name, snapshot = context.lakehouse, self.contract.name, plan.inputs["snapshot"]
        lakehouse.create(self.contract)
        inputs = {name: lakehouse.version(name)}
        details = {"snapshot": snapshot.isoformat()} if snapshot else {}
        with step(f"{self.name}.merge") as counts:
            there = self._there(context)
            merged = self._merged(context, there, plan.inputs)
            # What is made of the dimension is rebuilt from this day on, and not all of it.
            changed = first_changed_day(there, merged, self.contract.keys[0])
            details[CHANGED_FROM] = changed.isoformat() if changed else ""
            build = Build(self.name, inputs=inputs, details=details)
            writer = merged.write.format("delta").mode("overwrite").option("userMetadata", build.to_json())
            undisturbed(context.spark, lakehouse.path(name), lambda: writer.save(lakehouse.path(name)))
            written = lakehouse.read(name)
            counts["rows"], counts["gone"] = written.count(), written.where("gone and valid_to is null").count()
        arrived = plan.inputs["arriving"].count()
        message = f"{counts['rows']} versions" + (f", {counts['gone']} gone now" if counts["gone"] else "")
        return Outcome(message, rows_in=arrived, rows_out=counts["rows"], inputs=inputs)


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


def _emptied(mapped: DataFrame, columns: list[str]) -> DataFrame:
    """What is gone has no attributes: two statements that it is are equal."""
    return mapped.withColumns({name: F.when(F.col(GONE).isNull(), F.col(name)) for name in columns})


def _open() -> dict[str, Column]:
    """A row as it arrives: its end is not known, and its own day states it."""
    return {
        "valid_to": F.lit(None).cast("date"),
        "stated_on": F.array("valid_from"),
        "said_from": F.lit(None).cast("date"),
    }
