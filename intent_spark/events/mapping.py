"""Raw rows to candidate events by a source's mapping; a row that does not fit is given a reason, not dropped."""

from __future__ import annotations

from datetime import datetime
from itertools import chain

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.config.source import MoneyField, SourceMapping, TimeField
from intent_spark.events.raw import CORRUPT, POSITION
from intent_spark.lakehouse.session import null_on_error

# Currencies that have no cents (ISO 4217); all others met here have two digits.
WHOLE_CURRENCIES = ("CLP", "ISK", "JPY", "KRW", "VND")
# Seconds from the year 1900 to 9999: what lies outside is no shop's event, and calendars disagree about it.
# In minor units; a larger amount is garbage, and sums of such would overflow.
LARGEST_AMOUNT = 10**13
FIRST_SECOND, LAST_SECOND = -2_208_988_800, 253_402_214_400


def map_events(rows: DataFrame, mapping: SourceMapping, learned_at: datetime, tolerance_hours: int) -> DataFrame:
    """Candidate events of the contract's fields, with ``reason`` (null where the row is good), position and raw text.

    Raises:
        ContractError: the mapping names a column that the data do not have.
    """
    try:
        with null_on_error(rows.sparkSession):
            mapped = rows.select(*_fields(mapping, learned_at), CORRUPT, *POSITION, "_raw")
    except AnalysisException as error:
        problem = (error.getMessage() or str(error)).splitlines()[0]
        has = ", ".join(name for name in rows.columns if not name.startswith("_"))
        raise ContractError(f"the mapping does not fit the data: {problem} The data have: {has}.") from error
    reasoned = mapped.withColumn("reason", _reason(mapping, tolerance_hours))
    local_day = F.to_date(F.from_utc_timestamp("event_time", mapping.shop.time_zone))
    dated = reasoned.withColumn("event_date", local_day).withColumn("reason", _with_date_range(mapping))
    raw = F.when(F.col("reason").isNotNull(), F.col("_raw")).alias("_raw")  # good rows need not carry their text
    return dated.select(*[name for name in dated.columns if name not in ("_raw", CORRUPT) and name[:4] != "raw_"], raw)


def _fields(mapping: SourceMapping, learned_at: datetime) -> list[Column]:
    fields = mapping.fields
    ingest = time_column(fields.ingest_time) if fields.ingest_time else F.lit(learned_at).cast("timestamp")
    currency = F.expr(fields.price.currency) if fields.price and fields.price.currency else F.lit(mapping.shop.currency)
    raw_price = F.expr(fields.price.value).cast("string") if fields.price else F.lit(None).cast("string")
    return [
        _event_id(mapping).alias("event_id"),
        _text(fields.user_id).alias("user_id"),
        _text(fields.event_type).alias("raw_type"),
        _mapped_type(_text(fields.event_type), mapping.event_types).alias("event_type"),
        _text(fields.item_id).alias("item_id"),
        _text(fields.category).alias("category"),
        (minor_units(fields.price, mapping.shop.currency) if fields.price else F.lit(None).cast("bigint")).alias(
            "price"
        ),
        raw_price.alias("raw_price"),
        currency.alias("raw_currency"),
        F.expr(f"try_cast({fields.quantity} as int)").alias("quantity"),
        _text(fields.session_id).alias("session_id"),
        time_column(fields.event_time).alias("event_time"),
        ingest.alias("ingest_time"),
    ]


def _text(expression: str) -> Column:
    """An expression as text; blank is null."""
    text = F.trim(F.expr(expression).cast("string"))
    return F.when(text != "", text)


def _event_id(mapping: SourceMapping) -> Column:
    if mapping.fields.event_id is not None:
        return _text(mapping.fields.event_id)
    parts = [F.coalesce(F.expr(column).cast("string"), F.lit("")) for column in mapping.id_columns]
    return F.md5(F.concat_ws("\u0001", *parts))


def _mapped_type(raw: Column, types: dict[str, str]) -> Column:
    table = F.create_map(*chain.from_iterable((F.lit(key), F.lit(value)) for key, value in types.items()))
    return F.try_element_at(table, raw)


def time_column(field: TimeField) -> Column:
    """A raw time as a timestamp; null where it cannot be read."""
    if field.format in ("unix_seconds", "unix_milliseconds"):
        seconds = F.expr(f"try_cast({field.value} as double)")
        seconds = seconds / 1000 if field.format == "unix_milliseconds" else seconds
        return F.when(seconds.between(FIRST_SECOND, LAST_SECOND), F.timestamp_seconds(seconds))
    text = F.expr(f"cast({field.value} as string)")
    if field.format == "iso":
        # Spark completes a time of day by the current day: only a text that begins with a day is asked.
        parsed = F.when(text.rlike(r"^\s*\d{4}-\d"), F.expr(f"try_cast({field.value} as timestamp)"))
        has_offset = text.rlike(r"(Z|:\d\d(\.\d+)?\s?[+-]\d{1,2}(:?\d\d)?)\s*$")
        return _in_range(F.when(has_offset, parsed).otherwise(F.to_utc_timestamp(parsed, field.zone)))
    # A signed year of five digits and more overflows even in try_to_timestamp.
    short = F.when(~text.rlike(r"[+-]\d{5}"), text)
    return _in_range(F.to_utc_timestamp(F.try_to_timestamp(short, F.lit(field.format)), field.zone))


def _in_range(time: Column) -> Column:
    return F.when(F.unix_seconds(time).between(FIRST_SECOND, LAST_SECOND), time)


def minor_units(field: MoneyField, currency: str) -> Column:
    """An amount like 12.34 as 1234; rounded half up; null where it is not a number."""
    factor = 1 if currency in WHOLE_CURRENCIES else 100
    return F.round(F.expr(f"try_cast({field.value} as decimal(18,4))") * factor).cast("bigint")


def _reason(mapping: SourceMapping, tolerance_hours: int) -> Column:
    """Why a row is refused: the first rule that it breaks."""
    latest = F.col("ingest_time") + F.expr(f"interval {tolerance_hours} hours")
    has_price = F.trim("raw_price") != ""
    rules = [
        (F.col(CORRUPT), "malformed"),
        (F.col("event_id").isNull(), "missing_event_id"),
        (F.col("user_id").isNull(), "missing_user_id"),
        (F.col("raw_type").isNull(), "missing_event_type"),
        (F.col("event_type").isNull(), "unknown_event_type"),
        (F.col("event_time").isNull(), "bad_event_time"),
        (F.col("ingest_time").isNull(), "bad_ingest_time"),
        (F.col("event_time") > latest, "future"),
        (has_price & (F.col("price").isNull() | (F.col("price") < 0)), "bad_price"),
        (has_price & (F.col("raw_currency") != mapping.shop.currency), "foreign_currency"),
        (F.col("quantity").isNull() | (F.col("quantity") < 0), "bad_quantity"),
        (F.col("price") * F.abs("quantity").cast("decimal(10,0)") > LARGEST_AMOUNT, "bad_price"),
    ]
    return F.coalesce(*[F.when(broken, F.lit(name)) for broken, name in rules])


def _with_date_range(mapping: SourceMapping) -> Column:
    day, outside = F.col("event_date"), F.lit(False)
    if mapping.dates.first:
        outside = outside | (day < F.lit(mapping.dates.first))
    if mapping.dates.end:
        outside = outside | (day >= F.lit(mapping.dates.end))
    return F.coalesce("reason", F.when(outside, F.lit("outside_date_range")))
