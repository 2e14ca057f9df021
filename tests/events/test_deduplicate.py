from __future__ import annotations

from datetime import date, datetime

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from intent_spark.events.deduplicate import mark

SCHEMA = (
    "event_id string, event_time timestamp, ingest_time timestamp, reason string, _file string, _block bigint, "
    "_row bigint"
)
DAY = date(2026, 3, 1)
NOON, LATER = datetime(2026, 3, 1, 12), datetime(2026, 3, 1, 13)


def candidates(spark: SparkSession, *rows: tuple[object, ...]) -> DataFrame:
    frame = spark.createDataFrame(list(rows), SCHEMA)
    fixed = {"_batch": F.lit(None).cast("string"), "_part": F.lit(0), "_filtered": F.lit(False)}
    return frame.withColumns(fixed | {"event_date": F.to_date("event_time")})


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
    won = {key for key, status in statuses(mark(rows, None, 7)).items() if status == "accepted"}
    assert won == {("f2", 0), ("f2", 1), ("f1", 2), ("f3", 5)}
    shuffled = mark(rows.orderBy("_row", "event_id").repartition(3), None, 7)
    assert statuses(shuffled) == statuses(mark(rows, None, 7))


def test_a_known_event_is_a_duplicate_whatever_its_time(spark: SparkSession) -> None:
    rows = candidates(spark, ("a", NOON, NOON, None, "f1", 0, 0), ("b", NOON, NOON, None, "f1", 0, 1))
    known = spark.createDataFrame([("a", DAY), ("a", DAY), ("z", DAY)], "event_id string, event_date date")
    expected = rows.selectExpr("*", "if(event_id = 'a', 'duplicate', 'accepted') as status")
    assert_df_equality(
        mark(rows, known, 7), expected, ignore_row_order=True, ignore_column_order=True, ignore_nullable=True
    )


def test_a_refused_row_neither_wins_nor_is_lost(spark: SparkSession) -> None:
    rows = candidates(
        spark,
        ("a", NOON, NOON, "bad_price", "f1", 0, 0), ("a", LATER, NOON, None, "f1", 0, 1),
        (None, None, NOON, "missing_event_id", "f1", 0, 2), (None, None, NOON, "malformed", "f1", 0, 3),
    )  # fmt: skip
    assert statuses(mark(rows, None, 7)) == {
        ("f1", 0): "quarantined", ("f1", 1): "accepted", ("f1", 2): "quarantined", ("f1", 3): "quarantined",
    }  # fmt: skip


def test_an_event_is_looked_for_within_the_look_back_only(spark: SparkSession) -> None:
    days = [datetime(2026, 3, day, 12) for day in (1, 8, 16)]
    rows = candidates(spark, *[("a", day, NOON, None, "f", 0, n) for n, day in enumerate(days)])
    assert statuses(mark(rows, None, 7)) == {("f", 0): "accepted", ("f", 1): "duplicate", ("f", 2): "accepted"}
    known = spark.createDataFrame(
        [("a", date(2026, 3, 15)), ("a", date(2026, 1, 1))], "event_id string, event_date date"
    )
    assert statuses(mark(rows, known, 7)) == {("f", 0): "accepted", ("f", 1): "duplicate", ("f", 2): "duplicate"}


def test_copies_of_one_moment_are_told_apart_by_the_declared_order(spark: SparkSession) -> None:
    rows = candidates(spark, ("a", NOON, NOON, None, "f1", 0, 0), ("a", NOON, NOON, None, "f2", 0, 0))
    later_file_first = rows.withColumn("_tie_0", F.when(F.col("_file") == "f2", 1).otherwise(2))
    assert statuses(mark(later_file_first, None, 7)) == {("f1", 0): "duplicate", ("f2", 0): "accepted"}
    assert statuses(mark(rows, None, 7)) == {("f1", 0): "accepted", ("f2", 0): "duplicate"}


def test_a_filtered_row_is_neither_event_nor_duplicate(spark: SparkSession) -> None:
    rows = candidates(spark, ("a", NOON, NOON, None, "f1", 0, 0), ("a", LATER, NOON, None, "f2", 0, 0))
    left_out = rows.withColumn("_filtered", F.col("_file") == "f1")
    assert statuses(mark(left_out, None, 7)) == {("f1", 0): "filtered", ("f2", 0): "accepted"}
