from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from intent_spark.config.errors import ContractError
from intent_spark.config.loading import load_settings
from intent_spark.config.source import MoneyField, SourceMapping, TimeField
from intent_spark.events.mapping import in_range, map_events, minor_units, time_column

COLUMNS = ["id", "who", "what", "item", "quantity", "price", "currency", "at"]
GOOD = {
    "id": "e1", "who": "u1", "what": "sale", "item": "i1", "quantity": "2", "price": "12.34", "currency": "GBP",
    "at": "2026-01-15 10:00:00",
}  # fmt: skip
LEARNED = datetime(2026, 4, 1, 12, tzinfo=UTC)
LIMITS = load_settings().events
MakeMapping = Callable[..., SourceMapping]


def raw_rows(spark: SparkSession, rows: list[dict[str, Any]], corrupt: bool = False) -> DataFrame:
    """Parsed rows as ``raw.parse`` gives them."""
    schema = ", ".join(f"{name} string" for name in COLUMNS)
    schema += ", _batch string, _file string, _block bigint, _row bigint, _raw string, _corrupt string"
    broken = "malformed" if corrupt else None
    values = [
        (*[row.get(name) for name in COLUMNS], None, "file:/f.csv", 0, n, f"line {n}", broken)
        for n, row in enumerate(rows)
    ]
    return spark.createDataFrame(values, schema)


def mapped(spark: SparkSession, mapping: SourceMapping, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    frame = map_events(raw_rows(spark, list(rows)), mapping, LEARNED, LIMITS)
    return [row.asDict() for row in frame.orderBy("_row").collect()]


def test_a_good_row_becomes_an_event(spark: SparkSession, make_mapping: MakeMapping) -> None:
    frame = map_events(raw_rows(spark, [GOOD]), make_mapping(), LEARNED, LIMITS)
    names = ["event_id", "user_id", "event_type", "item_id", "category", "price", "quantity", "session_id"]
    expected = spark.createDataFrame(
        [
            (
                "e1",
                "u1",
                "purchase",
                "i1",
                None,
                1234,
                2,
                None,
                datetime(2026, 1, 15, 10),
                LEARNED,
                date(2026, 1, 15),
                None,
            )
        ],
        "event_id string, user_id string, event_type string, item_id string, category string, price bigint, "
        "quantity int, session_id string, event_time timestamp, ingest_time timestamp, event_date date, reason string",
    )
    expected = expected.selectExpr("* except (event_time)", "timestamp '2026-01-15 10:00:00' as event_time")
    chosen = [*names, "ingest_time", "event_date", "reason", "event_time"]
    assert_df_equality(frame.select(chosen), expected.select(chosen), ignore_nullable=True)
    assert frame.select("_raw").first() == (None,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None}, "missing_event_id"),
        ({"id": "  "}, "missing_event_id"),
        ({"who": None}, "missing_user_id"),
        ({"who": ""}, "missing_user_id"),
        ({"what": None}, "missing_event_type"),
        ({"what": "steal"}, "unknown_event_type"),
        ({"what": "SALE"}, "unknown_event_type"),
        ({"at": None}, "bad_event_time"),
        ({"at": "yesterday"}, "bad_event_time"),
        ({"at": "2026-02-30 10:00:00"}, "bad_event_time"),
        ({"at": "0000-01-01 00:00:00"}, "bad_event_time"),
        ({"at": "2026-04-02 13:00:01"}, "future"),
        ({"price": "free"}, "bad_price"),
        ({"price": "-0.01"}, "bad_price"),
        ({"price": "NaN"}, "bad_price"),
        ({"price": "1" * 30}, "bad_price"),
        ({"currency": "EUR"}, "foreign_currency"),
        ({"quantity": "some"}, "bad_quantity"),
        ({"quantity": None}, "bad_quantity"),
        ({"quantity": "99999999999"}, "bad_quantity"),
        ({"at": "2026-04-02 13:00:00"}, None),  # exactly the tolerance: 12:00 UTC, a day after it was learned
        ({"price": None, "currency": None}, None),
        ({"price": " ", "currency": "EUR"}, None),
        ({"price": "0"}, None),
        ({"item": None}, None),
    ],
)
def test_reasons(spark: SparkSession, make_mapping: MakeMapping, change: dict[str, Any], reason: str | None) -> None:
    [row] = mapped(spark, make_mapping(), GOOD | change)
    assert row["reason"] == reason
    assert row["_raw"] == ("line 0" if reason else None)


def test_the_first_broken_rule_is_the_reason(spark: SparkSession, make_mapping: MakeMapping) -> None:
    [row] = mapped(spark, make_mapping(), {})
    assert row["reason"] == "missing_event_id"
    corrupt = map_events(raw_rows(spark, [GOOD], corrupt=True), make_mapping(), LEARNED, LIMITS).first()
    assert corrupt and corrupt["reason"] == "malformed"


def test_the_sources_date_range_is_half_open_in_the_shops_days(spark: SparkSession, make_mapping: MakeMapping) -> None:
    mapping = make_mapping(dates={"first": date(2026, 1, 2), "end": date(2026, 1, 4)})
    times = ["2026-01-01 23:59:59", "2026-01-02 00:00:00", "2026-01-03 23:59:59", "2026-01-04 00:00:00"]
    reasons = [row["reason"] for row in mapped(spark, mapping, *[GOOD | {"at": at} for at in times])]
    assert reasons == ["outside_date_range", None, None, "outside_date_range"]


def test_an_expression_that_fails_on_a_value_spoils_its_row_only(
    spark: SparkSession, make_mapping: MakeMapping
) -> None:
    mapping = make_mapping(fields={"quantity": "cast(quantity as int) * 1", "item_id": "split(item, '-')[1]"})
    rows = mapped(spark, mapping, GOOD | {"quantity": "two"}, GOOD | {"item": "a-b"}, GOOD | {"item": "a"})
    assert [row["reason"] for row in rows] == ["bad_quantity", None, None]
    assert [row["item_id"] for row in rows] == [None, "b", None]
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"


def test_a_column_that_the_data_lack_is_named(spark: SparkSession, make_mapping: MakeMapping) -> None:
    with pytest.raises(ContractError) as caught:
        mapped(spark, make_mapping(fields={"user_id": "customer"}), GOOD)
    sentence = str(caught.value)
    assert sentence.startswith("the mapping does not fit the data: ")
    assert "`customer`" in sentence and "The data have: id, who, what, item" in sentence
    assert "\n" not in sentence


def test_an_expression_that_is_no_sql_is_refused(spark: SparkSession, make_mapping: MakeMapping) -> None:
    with pytest.raises(ContractError, match="the mapping does not fit the data"):
        mapped(spark, make_mapping(fields={"user_id": "who +* 1"}), GOOD)


def test_hashed_ids_depend_on_the_declared_columns_and_their_borders(
    spark: SparkSession, make_mapping: MakeMapping
) -> None:
    mapping = make_mapping(fields={"event_id": None}, id_columns=["who", "item"])
    rows = [
        GOOD,
        GOOD | {"price": "1"},
        GOOD | {"who": "u", "item": "1i1"},
        GOOD | {"item": None},
        GOOD | {"item": "i2"},
    ]
    ids = [row["event_id"] for row in mapped(spark, mapping, *rows)]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    assert all(len(name) == 32 for name in ids)


def read_times(spark: SparkSession, field: TimeField, *texts: str) -> list[str | None]:
    frame = spark.createDataFrame([(n, text) for n, text in enumerate(texts)], "n int, t string")
    # As text: Python would show timestamps in the machine's own zone.
    return [row[0] for row in frame.select(in_range(time_column(field)).cast("string")).collect()]


def test_text_times_in_london_over_daylight_saving(spark: SparkSession) -> None:
    field = TimeField(value="t", format="yyyy-MM-dd HH:mm:ss", zone="Europe/London")
    assert read_times(
        spark, field, "2011-03-27 00:59:59", "2011-03-27 02:00:00", "2011-10-30 00:59:59", "2011-10-30 02:00:00",
        "2011-07-01 00:30:00", "2011-1-5 8:00:00",
    ) == [
        "2011-03-27 00:59:59", "2011-03-27 01:00:00", "2011-10-29 23:59:59", "2011-10-30 02:00:00",
        "2011-06-30 23:30:00", None,
    ]  # fmt: skip


def test_iso_times_use_their_own_offset_before_the_fields_zone(spark: SparkSession) -> None:
    field = TimeField(value="t", format="iso", zone="Asia/Shanghai")
    assert read_times(
        spark, field, "2026-03-01T12:00:00+08:00", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00", "2026-03-01",
        "2026-03-01 12:00:00.250-0530", " 2026-03-01T12:00:00Z ", "2026-03-01 noon",
    ) == [
        "2026-03-01 04:00:00", "2026-03-01 12:00:00", "2026-03-01 04:00:00", "2026-02-28 16:00:00",
        "2026-03-01 17:30:00.25", "2026-03-01 12:00:00", None,
    ]  # fmt: skip


def test_a_time_without_a_day_is_no_time(spark: SparkSession) -> None:
    """Spark would complete it with the current day: another answer tomorrow."""
    field = TimeField(value="t", format="iso")
    assert read_times(spark, field, "12:30:00", "T12:30", "12:30:00Z", "now", "2026") == [None] * 5


def test_unix_times(spark: SparkSession) -> None:
    seconds = TimeField(value="t", format="unix_seconds", zone="Asia/Shanghai")
    texts = ["1511544070", "1511544070.5", "x", "", "NaN", "Infinity", "-1e300", "999999999999999", "-62135596800"]
    assert read_times(spark, seconds, *texts) == ["2017-11-24 17:21:10", "2017-11-24 17:21:10.5", *[None] * 7]
    milliseconds = TimeField(value="t", format="unix_milliseconds")
    assert read_times(spark, milliseconds, "1511544070123") == ["2017-11-24 17:21:10.123"]


def test_days_are_cut_in_the_shops_zone(spark: SparkSession, make_mapping: MakeMapping) -> None:
    mapping = make_mapping(
        shop={"time_zone": "Asia/Shanghai"}, fields={"event_time": {"value": "at", "format": "unix_seconds"}}
    )
    # 2017-11-25 and 2017-12-04 begin in Shanghai at 16:00 UTC of the day before.
    times = [
        ("1511539199", "2017-11-24"),
        ("1511539200", "2017-11-25"),
        ("1512316799", "2017-12-03"),
        ("1512316800", "2017-12-04"),
    ]
    rows = mapped(spark, mapping, *[GOOD | {"at": at} for at, _ in times])
    assert [str(row["event_date"]) for row in rows] == [day for _, day in times]


def test_days_are_cut_in_london_in_summer(spark: SparkSession, make_mapping: MakeMapping) -> None:
    mapping = make_mapping(fields={"event_time": {"value": "at", "format": "iso"}})
    times = ["2025-07-01T22:59:59Z", "2025-07-01T23:00:00Z", "2025-12-01T23:59:59Z", "2025-12-02T00:00:00Z"]
    rows = mapped(spark, mapping, *[GOOD | {"at": at} for at in times])
    assert [str(row["event_date"]) for row in rows] == ["2025-07-01", "2025-07-02", "2025-12-01", "2025-12-02"]


@pytest.mark.parametrize(
    ("currency", "text", "minor"),
    [
        ("GBP", "12.34", 1234), ("GBP", "0.005", 1), ("GBP", "0.0049", 0), ("GBP", "19.99", 1999), ("GBP", "1e2", 10000),
        ("GBP", "-3.5", -350), ("GBP", "12,34", None), ("GBP", "", None), ("GBP", None, None), ("GBP", " 7 ", 700),
        ("GBP", "99999999999999", 9_999_999_999_999_900), ("JPY", "1500", 1500), ("JPY", "1499.5", 1500),
    ],
)  # fmt: skip
def test_money_becomes_integer_minor_units(
    spark: SparkSession, currency: str, text: str | None, minor: int | None
) -> None:
    frame = spark.createDataFrame([(text,)], "p string")
    [(value,)] = frame.select(minor_units(MoneyField(value="p"), currency)).collect()
    assert value == minor
