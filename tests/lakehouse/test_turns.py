"""Of two appends that decided by the same state of a table only one goes through."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from pyspark.sql import DataFrame

from intent_spark.lakehouse.contract import Column, TableContract
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.lakehouse.turns import Turn, append_in_turn, commits, current_turn

NUMBERS = TableContract("numbers", "one number", "a test", (Column("n", "bigint", "the number"),), keys=("n",))
pytestmark = pytest.mark.slow


def numbers(context: JobContext, *values: int) -> DataFrame:
    return context.spark.createDataFrame([(n,) for n in values], "n bigint").coalesce(1)


def stored(context: JobContext) -> list[int]:
    return sorted(row[0] for row in context.lakehouse.read("numbers").collect())


def test_an_append_that_knows_an_older_table_writes_nothing(context: JobContext) -> None:
    lakehouse = context.lakehouse
    assert current_turn(lakehouse, "numbers") == Turn(0, -1)
    assert commits(lakehouse, "numbers") == []
    lakehouse.create(NUMBERS)
    before = current_turn(lakehouse, "numbers")
    assert append_in_turn(lakehouse, numbers(context, 1, 2), NUMBERS, before, Build("one"))
    assert not append_in_turn(lakehouse, numbers(context, 3), NUMBERS, before, Build("two"))
    lakehouse.append_once(numbers(context, 9), NUMBERS, "an append that takes no turn")
    assert append_in_turn(lakehouse, numbers(context), NUMBERS, current_turn(lakehouse, "numbers"), Build("three"))
    assert stored(context) == [1, 2, 9]
    found = commits(lakehouse, "numbers")
    assert [(c.version, c.build.job, c.rows, c.build.details["turn"]) for c in found] == [
        (1, "one", 2, 1), (3, "three", 0, 2)
    ]  # fmt: skip
    assert [c.build.job for c in commits(lakehouse, "numbers", since=1)] == ["three"]


def test_of_two_appends_at_the_same_moment_one_writes_nothing(context: JobContext) -> None:
    def slowly(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            time.sleep(4)
            yield frame

    context.lakehouse.create(NUMBERS)
    turn = current_turn(context.lakehouse, "numbers")
    slow = numbers(context, 1).mapInPandas(slowly, "n bigint")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(append_in_turn, context.lakehouse, slow, NUMBERS, turn, Build("slow"))
        time.sleep(1.5)
        assert append_in_turn(context.lakehouse, numbers(context, 2), NUMBERS, turn, Build("quick"))
        assert first.result() is None
    assert stored(context) == [2]


def test_tables_made_at_the_same_moment(context: JobContext) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: context.lakehouse.create(NUMBERS), range(3)))
        list(pool.map(lambda _: context.lakehouse.append_once(numbers(context, 7), NUMBERS, "same"), range(3)))
    assert stored(context) == [7]
