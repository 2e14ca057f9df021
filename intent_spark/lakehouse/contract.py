"""A table's contract: its schema with the meaning of each column, its keys, partitions and checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, StructField, StructType, _parse_datatype_string

from intent_spark.config.errors import ContractError
from intent_spark.lakehouse.texts import selected


@dataclass(frozen=True)
class Column:
    """One column. ``type`` is Spark DDL; ``role`` tells training how to read a feature."""

    name: str
    type: str
    meaning: str
    unit: str = ""
    nullable: bool = True
    role: str | None = None

    def spark_field(self) -> StructField:
        """The column as a Spark field whose metadata keeps meaning, unit and role."""
        metadata = {"comment": self.meaning} | ({"unit": self.unit} if self.unit else {})
        metadata |= {"role": self.role} if self.role else {}
        return StructField(self.name, _parsed(self.type), self.nullable, metadata)


@cache
def _parsed(ddl: str) -> DataType:
    """Spark is asked through its JVM, for each column of each table: once."""
    return _parse_datatype_string(ddl)


@dataclass(frozen=True)
class TableContract:
    """One Delta table: what a row is, who writes it, how it is laid out, what always holds and what should.

    A row against one of ``checks`` fails the write; rows against ``warnings`` are written, counted and logged.
    ``skip_by`` are the columns of which the log keeps each file's smallest and largest value, so that readers skip
    files; those of all columns if it is empty, which takes a fifth of a large write.
    """

    name: str
    row: str
    written_by: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    partition_by: tuple[str, ...] = ()
    skip_by: tuple[str, ...] = ()
    checks: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    owner: str = "data platform"

    def schema(self) -> StructType:
        """The table's schema, keys and dates first as written."""
        return StructType([column.spark_field() for column in self.columns])

    def properties(self) -> dict[str, str]:
        """The Delta table's properties that the contract gives it."""
        checks = {f"delta.constraints.{name}": rule for name, rule in self.checks.items()}
        return checks | ({"delta.dataSkippingStatsColumns": ",".join(self.skip_by)} if self.skip_by else {})

    def warning_counts(self) -> dict[str, SparkColumn]:
        """Aggregates that count the rows against each of ``warnings``, by the warning's name."""
        return {name: F.count_if(~F.coalesce(F.expr(rule), F.lit(True))) for name, rule in self.warnings.items()}

    def named(self, values: Sequence[object]) -> dict[str, object]:
        """A row's values, in the order of the columns, by their names."""
        return {column.name: value for column, value in zip(self.columns, values, strict=True)}

    def cast(self, frame: DataFrame) -> DataFrame:
        """Exactly the contract's columns, cast to its types: what is written, as the table keeps its metadata itself.

        Raises:
            ContractError: the frame lacks a column.
        """
        missing = [c.name for c in self.columns if c.name not in frame.columns]
        if missing:
            raise ContractError(
                f"table {self.name}: the data lack {', '.join(missing)}; there are {', '.join(frame.columns)}."
            )
        return selected(frame, (), {c.name: f"cast(`{c.name}` as {c.type})" for c in self.columns})

    def select(self, frame: DataFrame) -> DataFrame:
        """The same, carrying the contract's metadata.

        Raises:
            ContractError: the frame lacks a column.
        """
        # No DataFrame.to, which builds every array and map anew.
        told = [F.col(field.name).alias(field.name, metadata=field.metadata) for field in self.schema().fields]
        return self.cast(frame).select(told)


def describe(contracts: Iterable[TableContract]) -> str:
    """The contracts as one Markdown page."""
    return "\n".join(line for contract in contracts for line in _section(contract))


def _section(contract: TableContract) -> list[str]:
    lines = [f"## {contract.name}", "", f"One row is {contract.row}. Written by `{contract.written_by}`."]
    lines += [f"Owner: {contract.owner}."]
    lines += [
        f"Key: {', '.join(contract.keys)}. Partitioned by: {', '.join(contract.partition_by) or 'nothing'}.",
        *([f"Files are skipped by: {', '.join(contract.skip_by)}."] if contract.skip_by else []),
        "",
    ]
    lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
    lines += [f"| `{c.name}` | {c.type} | {c.unit} | {c.meaning} |" for c in contract.columns]
    lines += [f"\nChecked on every write: `{rule}`" for rule in contract.checks.values()]
    lines += [f"\nWarned of, with the number of rows against it: `{rule}`" for rule in contract.warnings.values()]
    return [*lines, ""]
