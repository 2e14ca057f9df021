"""Rows that the driver reads or writes itself, by delta-rs: a Spark job for a handful of rows takes seconds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction, write_deltalake
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from intent_spark.lakehouse.contract import TableContract

Rows = Iterable[dict[str, Any]]
# Conditions that all hold, such as ("as_of", "in", dates).
Where = list[tuple[str, str, Any]]


def read(path: str, columns: Iterable[str], where: Where | None) -> list[dict[str, Any]]:
    """The rows of the table at a path, by column names; a map is a list of pairs."""
    rows: list[dict[str, Any]] = DeltaTable(path).to_pyarrow_table(columns=list(columns), filters=where).to_pylist()
    return rows


def schema_of(path: str) -> StructType:
    """The table's schema, from its log alone."""
    return StructType.fromJson(json.loads(DeltaTable(path).schema().to_json()))


def create(path: str, contract: TableContract, properties: dict[str, str]) -> None:
    """Create an empty table; one that is there stays as it is. delta-rs can declare no CHECK constraint."""
    schema, partitions = Schema.from_json(contract.schema().json()), list(contract.partition_by)
    told: dict[str, Any] = {"description": contract.row, "configuration": properties}
    DeltaTable.create(path, schema, mode="ignore", partition_by=partitions, **told)


def append(path: str, rows: Rows, contract: TableContract, application: str | None) -> None:
    """Append; what was appended under the same transaction id, Delta's ``txnAppId``, is not appended again."""
    table = DeltaTable(path)
    if application is not None and table.transaction_version(application) is not None:
        return
    transactions = [Transaction(application, 0)] if application is not None else None
    told = CommitProperties(app_transactions=transactions)
    write_deltalake(table, _arrow_table(rows, contract), mode="append", commit_properties=told)


def replace(path: str, rows: Rows, contract: TableContract, predicate: str, user_metadata: str) -> None:
    """Replace the rows that fulfil an SQL predicate; a new row that does not is an error of delta-rs's."""
    told = CommitProperties(custom_metadata={"userMetadata": user_metadata})
    table = _arrow_table(rows, contract)
    write_deltalake(path, table, mode="overwrite", predicate=predicate, commit_properties=told)


def _arrow_table(rows: Rows, contract: TableContract) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=to_arrow_schema(contract.schema(), timezone="UTC"))
