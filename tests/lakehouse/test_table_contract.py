from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.dimensions.contract import ITEMS, USERS
from intent_spark.events.contract import EVENTS, EVENTS_QUARANTINE, INGEST_LEDGER
from intent_spark.lakehouse.contract import Column, TableContract, describe
from intent_spark.lakehouse.job_runs import JOB_RUNS

SALES = TableContract(
    name="sales",
    row="one sale",
    written_by="a test",
    keys=("sale_id",),
    partition_by=("day",),
    checks={"not_negative": "amount >= 0"},
    columns=(
        Column("day", "date", "day of the sale", nullable=False),
        Column("sale_id", "string", "its number", nullable=False),
        Column("amount", "bigint", "what was paid", "minor units", role="numeric"),
    ),
)


def test_select_takes_the_contracts_columns_in_order_and_casts(spark: SparkSession) -> None:
    frame = spark.createDataFrame(
        [("left out", 7, 100, "2026-03-01")], "note string, sale_id int, amount int, day string"
    )
    expected = spark.createDataFrame([(date(2026, 3, 1), "7", 100)], "day date, sale_id string, amount bigint")
    selected = SALES.select(frame)
    assert_df_equality(selected, expected, ignore_nullable=True, ignore_metadata=True)
    assert selected.schema["amount"].metadata == {"comment": "what was paid", "unit": "minor units", "role": "numeric"}


def test_select_names_all_missing_columns(spark: SparkSession) -> None:
    frame = spark.createDataFrame([("7", 1)], "sale_id string, other int")
    with pytest.raises(ContractError) as caught:
        SALES.select(frame)
    assert str(caught.value) == "table sales: the data lack day, amount; there are sale_id, other."
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("contract", [EVENTS, EVENTS_QUARANTINE, INGEST_LEDGER, JOB_RUNS, USERS, ITEMS, SALES])
def test_contracts_hold_together(contract: TableContract) -> None:
    names = [column.name for column in contract.columns]
    assert len(names) == len(set(names))
    assert {*contract.keys, *contract.partition_by} <= set(names)
    assert [field.name for field in contract.schema().fields] == names
    assert all(column.meaning for column in contract.columns)
    page = describe([contract])
    assert page.startswith(f"## {contract.name}\n")
    assert all(f"| `{name}` |" in page for name in names)
    assert all(rule in page for rule in contract.checks.values())


def test_rows_against_a_warning_are_counted(spark: SparkSession) -> None:
    contract = replace(SALES, warnings={"cheap": "amount > 5", "early": "day >= date'2026-01-01'"})
    frame = spark.createDataFrame([("1", 3), ("2", 9), ("3", None)], "sale_id string, amount int")
    frame = frame.withColumn("day", F.lit(date(2026, 3, 1)))
    assert frame.agg(*contract.warning_counts().values()).collect() == [(1, 0)]
    assert "Warned of, with the number of rows against it: `amount > 5`" in describe([contract])
