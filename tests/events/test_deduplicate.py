from __future__ import annotations

from datetime import datetime

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from intent_spark.events.deduplicate import mark

SCHEMA = "event_id string, event_time timestamp, ingest_time timestamp, reason string, _file string, _block bigint, _row bigint"
NOON, LATER = datetime(2026, 3, 1, 12), datetime(2026, 3, 1, 13)


def candidates(spark: SparkSession, *rows: tuple[object, ...]) -> DataFrame:
    return spark.createDataFrame(list(rows), SCHEMA)


def statuses(marked: DataFrame) -> dict[tuple[str, int], str]:
    return {(row["_file"], row["_row"]): row["status"] for row in marked.collect()}


def test_the_earliest_of_an_event_wins_and_ties_break_by_position(spark: SparkSession) -> None:
    rows = candidates(
        spark,
        ("a", LATER, NOON, None, "f1", 0, 0), ("a", NOON, LATER, None, "f2", 0, 0),  # by event_time
        ("b", NOON, LATER, None, "f1", 0, 1), ("b", NOON, NOON, None, "f2", 0, 1),  # by ingest_time
        ("c", NOON, NOON, None, "f2", 0, 2), ("c", NOON, NOON, None, "f1", 9, 2), ("c", NOON, NOON, None, "f1", 9, 3),
        ("d", NOON, NOON, None, "f3", 7, 4), ("d", NOON, NOON, None, "f3", 0, 5),  # by block before row
    )  # fmt: skip
    won = {key for key, status in statuses(mark(rows, None)).items() if status == "accepted"}
    assert won == {("f2", 0), ("f2", 1), ("f1", 2), ("f3", 5)}
    shuffled = mark(rows.orderBy("_row", "event_id").repartition(3), None)
    assert statuses(shuffled) == statuses(mark(rows, None))


def test_a_known_event_is_a_duplicate_whatever_its_time(spark: SparkSession) -> None:
    rows = candidates(spark, ("a", NOON, NOON, None, "f1", 0, 0), ("b", NOON, NOON, None, "f1", 0, 1))
    known = spark.createDataFrame([("a",), ("a",), ("z",)], "event_id string")
    expected = rows.selectExpr("*", "if(event_id = 'a', 'duplicate', 'accepted') as status")
    assert_df_equality(
        mark(rows, known), expected, ignore_row_order=True, ignore_column_order=True, ignore_nullable=True
    )


def test_a_refused_row_neither_wins_nor_is_lost(spark: SparkSession) -> None:
    rows = candidates(
        spark,
        ("a", NOON, NOON, "bad_price", "f1", 0, 0), ("a", LATER, NOON, None, "f1", 0, 1),
        (None, None, NOON, "missing_event_id", "f1", 0, 2), (None, None, NOON, "malformed", "f1", 0, 3),
    )  # fmt: skip
    assert statuses(mark(rows, None)) == {
        ("f1", 0): "quarantined", ("f1", 1): "accepted", ("f1", 2): "quarantined", ("f1", 3): "quarantined",
    }  # fmt: skip
