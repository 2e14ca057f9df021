from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import unquote

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession
from test_table_contract import SALES

from intent_spark.config.errors import UsageError
from intent_spark.dimensions.contract import ITEMS
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.lakehouse import Build, Lakehouse

SCHEMA = "day date, sale_id string, amount bigint"
MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)


@pytest.fixture
def lakehouse(context: JobContext) -> Lakehouse:
    """A warehouse with three days of sales."""
    lakehouse = context.lakehouse
    lakehouse.create(SALES)
    lakehouse.append_once(sales(context.spark, MONDAY, TUESDAY, WEDNESDAY), SALES, "first")
    return lakehouse


def sales(spark: SparkSession, *days: date, amount: int = 5) -> DataFrame:
    return spark.createDataFrame([(day, f"{day:%a}", amount) for day in days], SCHEMA)


def amounts(lakehouse: Lakehouse) -> dict[str, int]:
    return {row["sale_id"]: row["amount"] for row in lakehouse.read("sales").collect()}


def live_files(lakehouse: Lakehouse) -> dict[Path, tuple[int, bytes]]:
    """The files of the newest version, with their times and bytes."""
    paths = [Path(unquote(name.removeprefix("file:"))) for name in lakehouse.read("sales").inputFiles()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def of_day(files: dict[Path, tuple[int, bytes]], day: date) -> dict[Path, tuple[int, bytes]]:
    return {path: content for path, content in files.items() if path.parent.name == f"day={day}"}


def test_replace_changes_exactly_one_partition(lakehouse: Lakehouse) -> None:
    before, version = live_files(lakehouse), lakehouse.version("sales")
    lakehouse.replace(sales(lakehouse.spark, TUESDAY, amount=9), SALES, "day", [TUESDAY], Build("test"))
    after = live_files(lakehouse)
    assert amounts(lakehouse) == {"Mon": 5, "Tue": 9, "Wed": 5}
    assert of_day(before, TUESDAY).keys().isdisjoint(after)
    for untouched in (MONDAY, WEDNESDAY):
        assert of_day(before, untouched) == of_day(after, untouched) != {}
    assert lakehouse.version("sales") == version + 1
    assert_df_equality(
        lakehouse.read("sales", version).drop("sale_id"),
        sales(lakehouse.spark, MONDAY, TUESDAY, WEDNESDAY).drop("sale_id"),
        ignore_row_order=True, ignore_nullable=True, ignore_metadata=True,
    )  # fmt: skip


def test_replace_with_no_rows_empties_the_day(lakehouse: Lakehouse) -> None:
    lakehouse.replace(sales(lakehouse.spark, TUESDAY).where("false"), SALES, "day", [TUESDAY], Build("test"))
    assert amounts(lakehouse) == {"Mon": 5, "Wed": 5}


def test_a_row_outside_the_replaced_day_is_refused(lakehouse: Lakehouse) -> None:
    version = lakehouse.version("sales")
    stray = sales(lakehouse.spark, TUESDAY, WEDNESDAY, amount=9)
    with pytest.raises(Exception, match="DELTA_REPLACE_WHERE_MISMATCH"):
        lakehouse.replace(stray, SALES, "day", [TUESDAY], Build("test"))
    assert lakehouse.version("sales") == version
    assert amounts(lakehouse) == {"Mon": 5, "Tue": 5, "Wed": 5}


def test_checks_and_required_columns_are_kept_by_the_table(lakehouse: Lakehouse) -> None:
    with pytest.raises(Exception, match="not_negative"):
        lakehouse.append_once(sales(lakehouse.spark, MONDAY, amount=-1), SALES, "negative")
    nameless = lakehouse.spark.createDataFrame([(MONDAY, None, 1)], SCHEMA)
    with pytest.raises(Exception, match="(?i)not null"):
        lakehouse.append_once(nameless, SALES, "nameless")
    assert amounts(lakehouse) == {"Mon": 5, "Tue": 5, "Wed": 5}


def test_append_once_adds_a_batch_once(lakehouse: Lakehouse) -> None:
    spark = lakehouse.spark
    lakehouse.append_once(sales(spark, MONDAY, TUESDAY, WEDNESDAY), SALES, "first")
    assert lakehouse.read("sales").count() == 3
    lakehouse.append_once(sales(spark, MONDAY), SALES, "second", Build("test", inputs={"raw": 4}))
    lakehouse.append_once(sales(spark, MONDAY), SALES, "first")
    lakehouse.append_once(sales(spark, MONDAY), SALES, "second")
    assert lakehouse.read("sales").count() == 4
    assert [build.inputs for _, build in lakehouse.builds("sales")] == [{"raw": 4}]


def test_builds_say_what_made_each_partition(lakehouse: Lakehouse) -> None:
    assert lakehouse.builds("sales") == []
    assert lakehouse.newest_builds("nowhere") == {}
    spark, day = lakehouse.spark, TUESDAY.isoformat()
    older = Build("older", ["2026-03-02", day], {"events": 3}, "definition", {"late": 1})
    newer = Build("newer", [day], {"events": 4})
    lakehouse.replace(sales(spark, MONDAY, TUESDAY), SALES, "day", [TUESDAY, MONDAY], older)
    lakehouse.replace(sales(spark, TUESDAY), SALES, "day", [TUESDAY], newer)
    versions = [version for version, _ in lakehouse.builds("sales")]
    assert [build for _, build in lakehouse.builds("sales")] == [newer, older]
    assert versions == sorted(versions, reverse=True)
    assert lakehouse.newest_builds("sales") == {"2026-03-02": older, day: newer}


def test_require_names_the_job_that_makes_the_table(lakehouse: Lakehouse) -> None:
    lakehouse.require("sales", "sell")
    with pytest.raises(UsageError, match=r"warehouse .*/warehouse has no table 'profiles'; run build_profiles first\."):
        lakehouse.require("profiles", "build_profiles")


def test_created_tables_outlive_training_sets(lakehouse: Lakehouse) -> None:
    properties = lakehouse.properties("sales")
    assert properties["delta.logRetentionDuration"] == "interval 400 days"
    assert properties["delta.enableDeletionVectors"] == "false"
    version = lakehouse.version("sales")
    lakehouse.create(SALES)
    assert lakehouse.version("sales") == version


def test_overwrite_replaces_schema_and_keeps_earlier_versions(lakehouse: Lakehouse) -> None:
    frame = lakehouse.spark.createDataFrame([(MONDAY, 7, datetime(2026, 3, 2))], "day date, amount int, at timestamp")
    version = lakehouse.version("sales")
    lakehouse.overwrite(frame, "sales", ("day",), Build("test"))
    assert lakehouse.read("sales").columns == ["day", "amount", "at"]
    assert lakehouse.read("sales", version).count() == 3


def test_the_version_that_stood_before_an_instant(lakehouse: Lakehouse, spark: SparkSession) -> None:
    """The last one committed by then; the empty first one where there was none."""
    between = datetime.now(UTC)
    lakehouse.append_once(sales(spark, MONDAY), SALES, "second")
    assert lakehouse.version_before("sales", datetime.now(UTC)) == lakehouse.version("sales")
    assert lakehouse.version_before("sales", between) == lakehouse.version("sales") - 1
    first = lakehouse.version_before("sales", datetime(2020, 1, 1, tzinfo=UTC))
    assert lakehouse.read("sales", first).count() == 0


def test_a_dimension_as_known_at_a_day(context: JobContext) -> None:
    versions = context.spark.createDataFrame(
        [("a", "2026-01-01", "2026-03-02", 10), ("a", "2026-03-02", None, 20), ("b", "2026-03-03", None, 30)],
        "item_id string, valid_from string, valid_to string, price int",
    ).selectExpr(
        "*",
        "array(date(valid_from)) as stated_on",
        "cast(null as date) as said_from",
        "null as category",
        "null as brand",
        "null as title",
        "null as gone",
    )
    context.lakehouse.create(ITEMS)
    context.lakehouse.append_once(versions, ITEMS, "all")

    def prices(day: date) -> dict[str, int]:
        return {row["item_id"]: row["price"] for row in context.lakehouse.as_known_at("items", day).collect()}

    assert prices(date(2025, 12, 31)) == {}
    assert prices(date(2026, 1, 1)) == {}, "a change of that day may have come in its afternoon"
    assert prices(MONDAY) == {"a": 10}
    assert prices(TUESDAY) == {"a": 20}
    assert prices(WEDNESDAY) == {"a": 20, "b": 30}


@pytest.mark.parametrize("left", [(), (".00000000000000000000.json.1f.tmp",)])
def test_a_creation_that_was_killed_is_no_obstacle(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: tuple[str, ...]
) -> None:
    """Killed after the log's folder was made, before its first commit."""
    monkeypatch.setattr("intent_spark.lakehouse.files.UNFINISHED_LOG_SECONDS", 0.2)
    log = tmp_path / SALES.name / "_delta_log"
    log.mkdir(parents=True)
    for name in left:
        (log / name).touch()
    lakehouse = Lakehouse(spark, str(tmp_path))
    assert not lakehouse.exists(SALES.name)
    lakehouse.create(SALES)
    assert lakehouse.version(SALES.name) == 0
