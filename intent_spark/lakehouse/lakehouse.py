"""Delta tables under one warehouse: creating, reading at a version, replacing days, appending once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from delta.tables import DeltaTable, DeltaTableBuilder
from deltalake import DeltaTable as StoredTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.settings import RetentionSettings
from intent_spark.lakehouse import driver_rows, versions
from intent_spark.lakehouse.conflicts import retried
from intent_spark.lakehouse.contract import TableContract
from intent_spark.lakehouse.files import clear_unfinished_log, table_versions
from intent_spark.lakehouse.versions import undisturbed


def table_properties(retention: RetentionSettings) -> dict[str, str]:
    """What every table is made with. Training sets are pinned by version, so Delta's 30 and 7 days are too short."""
    return {
        "delta.logRetentionDuration": f"interval {retention.log_days} days",
        "delta.deletedFileRetentionDuration": f"interval {retention.deleted_files_days} days",
        "delta.enableDeletionVectors": "false",
    }


# Of a dimension's commit: the first day of which it says other things than before, nothing where there is none.
CHANGED_FROM = "changed_from"
# Among the versions that a build read: the table was not there. Every change of it came later.
NOT_THERE = -1


@dataclass(frozen=True)
class Build:
    """What one commit of a table was made from; stored in the commit itself."""

    job: str
    partitions: list[str] = field(default_factory=list)
    inputs: dict[str, int] = field(default_factory=dict)
    definition: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The commit's ``userMetadata``."""
        return json.dumps(self.__dict__, sort_keys=True)


def present(versions_of: DataFrame) -> DataFrame:
    """A dimension without the days on which an entity was gone."""
    if "gone" not in versions_of.columns:
        return versions_of
    return versions_of.where(~F.coalesce("gone", F.lit(False))).drop("gone")


class Lakehouse:
    """The warehouse of one shop: ``<root>/<table>``; ``retention`` is what tables are created with."""

    def __init__(self, spark: SparkSession, root: str, retention: RetentionSettings | None = None) -> None:
        self.spark, self.retention = spark, retention or RetentionSettings()
        self.root = root if "://" in root else str(Path(root).resolve())

    def path(self, name: str) -> str:
        """Where a table lies."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Whether the table was ever created."""
        return bool(table_versions(self.spark, self.path(name)))

    def require(self, name: str, job: str) -> None:
        """Refuse to go on without a table.

        Raises:
            UsageError: it names the job that makes the table.
        """
        if not self.exists(name):
            raise UsageError(f"warehouse {self.root} has no table '{name}'; run {job} first.")

    def version(self, name: str) -> int:
        """The table's newest version."""
        return max(table_versions(self.spark, self.path(name)))

    def version_before(self, name: str, instant: datetime) -> int:
        """The last version committed before an instant; the first one, empty, where there was none yet."""
        history = DeltaTable.forPath(self.spark, self.path(name)).history()
        newest = history.where(F.col("timestamp") < F.lit(instant)).agg(F.max("version")).collect()[0][0]
        return min(table_versions(self.spark, self.path(name))) if newest is None else int(newest)

    def rows_version(self, name: str) -> int:
        """The version that last changed a row: compaction and vacuum change none."""
        return versions.rows_version(self.path(name))

    def newest_equal(self, name: str, version: int) -> int:
        """The newest version that holds the very rows of an earlier one."""
        return versions.newest_equal(self.path(name), version)

    def read(self, name: str, version: int | None = None) -> DataFrame:
        """The table, at a version if one is given."""
        reader = self.spark.read.format("delta")
        return (reader if version is None else reader.option("versionAsOf", version)).load(self.path(name))

    def rows(self, name: str, *columns: str, where: driver_rows.Where | None = None) -> list[dict[str, Any]]:
        """The rows of a small table, if it is there, without a Spark job; a map is a list of pairs."""
        return driver_rows.read(self.path(name), columns, where) if self.exists(name) else []

    def has_columns(self, name: str, *columns: str) -> bool:
        """Whether the table is there and has these columns."""
        return self.exists(name) and set(columns) <= set(driver_rows.schema_of(self.path(name)).names)

    def create(self, contract: TableContract, properties: dict[str, str] | None = None) -> None:
        """Create the table with its contract's schema, properties and CHECK constraints, or add columns it lacks.

        Raises:
            ContractError: the table has a column of another type.
        """
        retried(lambda: self._create(contract, properties))

    def _create(self, contract: TableContract, properties: dict[str, str] | None) -> None:
        if self.exists(contract.name):
            return self._add_columns(contract)
        wanted = table_properties(self.retention) | contract.properties() | (properties or {})
        if not contract.checks:
            return driver_rows.create(self.path(contract.name), contract, wanted)
        builder = self._builder(contract.name, contract.schema(), contract.partition_by).comment(contract.row)
        for key, value in wanted.items():
            builder = builder.property(key, value)
        builder.execute()
        return None

    def _builder(self, name: str, schema: StructType, partition_by: tuple[str, ...]) -> DeltaTableBuilder:
        clear_unfinished_log(self.spark, self.path(name))
        builder = DeltaTable.createIfNotExists(self.spark).location(self.path(name)).addColumns(schema)
        return builder.partitionedBy(*partition_by) if partition_by else builder

    def _add_columns(self, contract: TableContract) -> None:
        stored = driver_rows.schema_of(self.path(contract.name))
        there = {field.name: field.dataType.simpleString() for field in stored.fields}
        wanted = {field.name: field.dataType.simpleString() for field in contract.schema().fields}
        retyped = [f"{name} ({there[name]})" for name, kind in wanted.items() if there.get(name, kind) != kind]
        if retyped:
            raise ContractError(
                f"table {contract.name}: another type is now declared for {', '.join(retyped)}; give it a new name."
            )
        if set(wanted) - set(there):
            # No rows, only the schema: unlike ALTER TABLE this keeps the columns' metadata, which training reads.
            nothing = self.spark.createDataFrame([], contract.schema())
            writer = nothing.write.format("delta").mode("append").option("mergeSchema", "true")
            writer.save(self.path(contract.name))

    def properties(self, name: str) -> dict[str, str]:
        """The table's properties."""
        return dict(StoredTable(self.path(name)).metadata().configuration)

    def replace(
        self, frame: DataFrame, contract: TableContract, column: str, days: Iterable[date], build: Build
    ) -> None:
        """Replace whole partitions, and exactly these: rows outside ``days`` are an error of Delta's, not a write."""
        wanted = ", ".join(f"'{day.isoformat()}'" for day in sorted(days))
        writer = contract.cast(frame).write.format("delta").mode("overwrite")
        writer = writer.option("replaceWhere", f"{column} in ({wanted})").option("userMetadata", build.to_json())
        undisturbed(self.spark, self.path(contract.name), lambda: writer.save(self.path(contract.name)))

    def drop(self, name: str, column: str, days: Iterable[date]) -> None:
        """Take whole partitions out of the newest version; earlier versions still hold them."""
        DeltaTable.forPath(self.spark, self.path(name)).delete(F.col(column).isin(list(days)))

    def overwrite(self, frame: DataFrame, name: str, partition_by: tuple[str, ...], build: Build) -> None:
        """Replace the whole table, schema included; earlier versions stay readable."""
        if not self.exists(name):
            builder = self._builder(name, frame.schema, partition_by)
            for key, value in table_properties(self.retention).items():
                builder = builder.property(key, value)
            builder.execute()
        writer = frame.write.format("delta").mode("overwrite").partitionBy(*partition_by)
        writer = writer.option("overwriteSchema", "true").option("userMetadata", build.to_json())
        undisturbed(self.spark, self.path(name), lambda: writer.save(self.path(name)))

    def append_once(self, frame: DataFrame, contract: TableContract, batch_id: str, build: Build | None = None) -> None:
        """Append; the same batch appended again adds nothing."""
        self.create(contract)
        writer = contract.cast(frame).write.format("delta").mode("append")
        # The id is in the application's name: a lower version under one name would be skipped silently.
        writer = writer.option("txnAppId", f"{contract.name}:{batch_id}").option("txnVersion", 0)
        if build:
            writer = writer.option("userMetadata", build.to_json())
        retried(lambda: writer.save(self.path(contract.name)))

    def append_rows(self, rows: driver_rows.Rows, contract: TableContract, once: str | None = None) -> None:
        """Append rows that the driver holds, without a Spark job.

        Args:
            rows: by the contract's column names.
            contract: the table.
            once: what these rows are of; appended again for the same they add nothing.
        """
        self.create(contract)
        held, application = list(rows), f"{contract.name}:{once}" if once else None
        retried(lambda: driver_rows.append(self.path(contract.name), held, contract, application))

    def replace_rows(
        self, rows: driver_rows.Rows, contract: TableContract, column: str, day: date, build: Build
    ) -> None:
        """Replace one day's partition by rows that the driver holds, without a Spark job."""
        self.create(contract)
        path, held, of_day = self.path(contract.name), list(rows), f"{column} = '{day.isoformat()}'"
        write = partial(driver_rows.replace, path, held, contract, of_day, build.to_json())
        undisturbed(self.spark, path, write)

    def builds(self, name: str) -> list[tuple[int, Build]]:
        """The recorded commits of a table, newest first, as (version, build)."""
        told = [
            (int(c["version"]), c["userMetadata"])
            for c in StoredTable(self.path(name)).history()
            if c.get("userMetadata")
        ]
        return [(version, Build(**json.loads(text))) for version, text in sorted(told, reverse=True)]

    def newest_builds(self, name: str) -> dict[str, Build]:
        """For each partition the build that made what it holds now."""
        newest: dict[str, Build] = {}
        for _, build in self.builds(name) if self.exists(name) else []:
            for partition in build.partitions:
                newest.setdefault(partition, build)
        return newest

    def partition_sizes(self, name: str) -> dict[str, tuple[int, int]]:
        """Rows and bytes of each partition of a table partitioned by one column, from its log alone."""
        if not self.exists(name):
            return {}
        sizes: dict[str, tuple[int, int]] = {}
        for file in self.file_statistics(name):
            [partition] = [str(value) for key, value in file.items() if key.startswith("partition.")]
            before = sizes.get(partition, (0, 0))
            sizes[partition] = (before[0] + (file["num_records"] or 0), before[1] + file["size_bytes"])
        return sizes

    def file_statistics(self, name: str, *keys: str) -> list[dict[str, Any]]:
        """What the log tells of each file: size, rows, ``partition.COLUMN``, ``max.COLUMN``; None where it does not.

        Args:
            name: the table.
            keys: which of these; the size, the rows and the partition if none is named.
        """
        files = StoredTable(self.path(name)).get_add_actions(flatten=True)
        partitions = [key for key in files.schema.names if key.startswith("partition.")]
        wanted = keys or (*partitions, "num_records", "size_bytes")
        nothing = [None] * files.num_rows
        columns = [files[key].to_pylist() if key in files.schema.names else nothing for key in wanted]
        return [dict(zip(wanted, row, strict=True)) for row in zip(*columns, strict=True)]

    def changed_days(self, name: str) -> dict[int, date]:
        """By each version that changed a dimension the first day of which it says other things since."""
        told = {version: build.details.get(CHANGED_FROM, date.min.isoformat()) for version, build in self.builds(name)}
        # A commit that does not say what it changed may have changed everything.
        told.setdefault(self.rows_version(name), date.min.isoformat())
        return {version: date.fromisoformat(day) for version, day in told.items() if day}

    def as_known_at(self, name: str, day: date, version: int | None = None) -> DataFrame:
        """A dimension's rows as known at the first instant of a day: those that held on the day before.

        A change of that very day may have come in its afternoon. Who is gone is not among them.
        """
        rows = present(self.read(name, version))
        begun = F.col("valid_from") < F.lit(day)
        not_ended = F.col("valid_to").isNull() | (F.col("valid_to") >= F.lit(day))
        return rows.where(begun & not_ended)
