"""Raw rows to candidate events by a source's mapping; a row that does not fit is given a reason, not dropped."""

from __future__ import annotations

from datetime import datetime
from itertools import chain

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.config.settings import EventsSettings
from intent_spark.config.source import MoneyField, SourceMapping, TimeField
from intent_spark.events.parse import CORRUPT
from intent_spark.events.raw import POSITION
from intent_spark.lakehouse.session import null_on_error

# Currencies that have no cents (ISO 4217); all others met here have two digits.
WHOLE_CURRENCIES = ("CLP", "ISK", "JPY", "KRW", "VND")
# In minor units; a larger amount is garbage, and sums of such would overflow. A double holds all amounts up to it.
LARGEST_AMOUNT = 10**13
# Seconds from the year 1900 to 9999: what lies outside is no shop's event, and calendars disagree about it.
FIRST_SECOND, LAST_SECOND = -2_208_988_800, 253_402_214_400


def map_events(rows: DataFrame, mapping: SourceMapping, learned_at: datetime, limits: EventsSettings) -> DataFrame:
    """Candidate events of the contract's fields with their position, and what becomes of their rows.

    ``reason`` says why a row is refused and ``_filtered`` that the mapping leaves it out; ``_part`` counts from 0 the
    events that one row was split into. A row of which one event is refused is refused whole, and stands there once.

    Raises:
        ContractError: the mapping names a column that the data do not have.
    """
    try:
        with null_on_error(rows.sparkSession):
            parts = _split(rows, mapping)
            kept = [*POSITION, "_part", "_filtered", "_raw", CORRUPT]
            mapped = parts.select(*_fields(mapping, learned_at), *_ties(mapping), *kept)
    except AnalysisException as error:
        problem = (error.getMessage() or str(error)).splitlines()[0]
        raise ContractError(f"the mapping does not fit the data: {problem} The data have: {_told(rows)}.") from error
    # Each in a projection of its own: Spark reads a time again for every mention of it in the same one.
    timed = mapped.withColumns({name: in_range(F.col(name)) for name in ("event_time", "ingest_time")})
    dated = timed.withColumn("event_date", F.to_date(F.from_utc_timestamp("event_time", mapping.shop.time_zone)))
    reasoned = dated.withColumn("reason", F.when(~F.col("_filtered"), _reason(mapping, limits)))
    whole = reasoned if mapping.split is None else _refuse_whole_rows(reasoned)
    raw = F.when(F.col("reason").isNotNull(), F.col("_raw")).alias("_raw")  # good rows need not carry their text
    return whole.select(*[name for name in whole.columns if name not in ("_raw", CORRUPT) and name[:4] != "raw_"], raw)


def _told(rows: DataFrame) -> str:
    """The data's columns; a line that was not cut at all was cut at the wrong character."""
    names = [name for name in rows.columns if not name.startswith("_")]
    others = [mark for mark in ";|\t," if len(names) == 1 and mark in names[0]]
    hint = f" (one column; is the delimiter {others[0]!r}?)" if others else ""
    return ", ".join(names) + hint


def _split(rows: DataFrame, mapping: SourceMapping) -> DataFrame:
    """The rows with ``_filtered``, those that are kept and readable split into their parts."""
    left_out = (
        F.col(CORRUPT).isNull() & ~F.coalesce(F.expr(mapping.where).cast("boolean"), F.lit(True))
        if mapping.where
        else F.lit(False)
    )
    flagged = rows.withColumn("_filtered", left_out)
    if mapping.split is None:
        return flagged.withColumn("_part", F.lit(0))
    elements = F.when(~F.col("_filtered") & F.col(CORRUPT).isNull(), F.expr(mapping.split.by))
    parts = flagged.select("*", F.posexplode_outer(elements).alias("_place", mapping.split.into))
    return parts.withColumn("_part", F.coalesce("_place", F.lit(0))).drop("_place")


def unknown_types(rows: DataFrame, mapping: SourceMapping) -> DataFrame:
    """The column ``type``: the raw event types, row by row, that the mapping's event_types do not name."""
    with null_on_error(rows.sparkSession):
        parts = _split(rows, mapping).where(~F.col("_filtered"))
        found = parts.select(_text(mapping.fields.event_type).alias("type"))
    return found.where(F.col("type").isNotNull() & _mapped_type(F.col("type"), mapping.event_types).isNull())


def _refuse_whole_rows(parts: DataFrame) -> DataFrame:
    """A row one of whose events is refused becomes one refused row, with the reason of the first such event."""
    row = Window.partitionBy(*POSITION)
    first = F.min(F.when(F.col("reason").isNotNull(), F.struct("_part", "reason"))).over(row)["reason"]
    return parts.withColumn("reason", first).where(F.col("reason").isNull() | (F.col("_part") == 0))


def _ties(mapping: SourceMapping) -> list[Column]:
    return [F.expr(expression).alias(f"_tie_{place}") for place, expression in enumerate(mapping.tie_break)]


def _fields(mapping: SourceMapping, learned_at: datetime) -> list[Column]:
    fields = mapping.fields
    ingest = time_column(fields.ingest_time) if fields.ingest_time else F.lit(learned_at).cast("timestamp")
    currency = F.expr(fields.price.currency) if fields.price and fields.price.currency else F.lit(mapping.shop.currency)
    raw_price = F.expr(fields.price.value).cast("string") if fields.price else F.lit(None).cast("string")
    price = minor_units(fields.price, mapping.shop.currency) if fields.price else F.lit(None).cast("bigint")
    session = _text(fields.session_id) if fields.session_id else F.lit(None).cast("string")
    return [
        _event_id(mapping).alias("event_id"),
        _text(fields.user_id).alias("user_id"),
        _text(fields.event_type).alias("raw_type"),
        _mapped_type(_text(fields.event_type), mapping.event_types).alias("event_type"),
        _text(fields.item_id).alias("item_id"),
        _text(fields.category).alias("category"),
        price.alias("price"),
        raw_price.alias("raw_price"),
        currency.alias("raw_currency"),
        F.expr(f"try_cast({fields.quantity} as int)").alias("quantity"),
        session.alias("session_id"),
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
    """A raw time as a timestamp, null where it cannot be read; whether a shop can have it, ``in_range`` says."""
    if field.format in ("unix_seconds", "unix_milliseconds"):
        seconds = F.expr(f"try_cast({field.value} as double)")
        seconds = seconds / 1000 if field.format == "unix_milliseconds" else seconds
        return F.when(seconds.between(FIRST_SECOND, LAST_SECOND), F.timestamp_seconds(seconds))
    text = F.expr(f"cast({field.value} as string)")
    if field.format == "iso":
        # Without its Z a time is read as UTC too, the zone of the session; to look a zone up takes as long again.
        usual = F.substring(text, 1, 19).try_cast("timestamp")
        return F.when(_is_usual(text), usual).otherwise(_iso_time(field, text))
    # A signed year of five digits and more overflows even in try_to_timestamp.
    short = F.when(~text.rlike(r"[+-]\d{5}"), text)
    return F.to_utc_timestamp(F.try_to_timestamp(short, F.lit(field.format)), field.zone)


def _iso_time(field: TimeField, text: Column) -> Column:
    # Spark completes a time of day by the current day: only a text that begins with a year and a dash is asked.
    parsed = F.when(F.substring(F.ltrim(text), 5, 1) == "-", F.expr(f"try_cast({field.value} as timestamp)"))
    # Many texts end in Z, and a regular expression costs more than reading the time.
    has_offset = F.endswith(text, F.lit("Z")) | text.rlike(r"(Z|:\d\d(\.\d+)?\s?[+-]\d{1,2}(:?\d\d)?)\s*$")
    return F.when(has_offset, parsed).otherwise(F.to_utc_timestamp(parsed, field.zone))


def _is_usual(text: Column) -> Column:
    """Whether a time is written like 2026-01-31T12:00:00Z; a part is cut out but twice, which is what costs."""
    date_to_hour, minute = F.substring(text, 5, 10), F.substring(text, 15, 3)
    ends = (
        F.startswith(date_to_hour, F.lit("-")) & F.endswith(date_to_hour, F.lit(":")) & F.endswith(minute, F.lit(":"))
    )
    return (F.octet_length(text) == 20) & F.endswith(text, F.lit("Z")) & ends


def in_range(time: Column) -> Column:
    """The time, null where no shop can have it."""
    return F.when(F.unix_seconds(time).between(FIRST_SECOND, LAST_SECOND), time)


def minor_units(field: MoneyField, currency: str) -> Column:
    """An amount like 12.34 as 1234; rounded half up; null where it is not a number."""
    factor = 1 if currency in WHOLE_CURRENCIES else 100
    return F.round(F.expr(f"try_cast({field.value} as decimal(18,4))") * factor).cast("bigint")


def _reason(mapping: SourceMapping, limits: EventsSettings) -> Column:
    """Why a row is refused: the first rule that it breaks."""
    latest = F.col("ingest_time") + F.expr(f"interval {limits.future_tolerance_hours} hours")
    has_price = F.trim("raw_price") != ""
    rules = [
        (F.col("event_id").isNull(), "missing_event_id"),
        (F.col("user_id").isNull(), "missing_user_id"),
        (F.col("raw_type").isNull(), "missing_event_type"),
        (F.col("event_type").isNull(), "unknown_event_type"),
        (F.col("event_time").isNull(), "bad_event_time"),
        (F.col("ingest_time").isNull(), "bad_ingest_time"),
        (F.col("event_time") > latest, "future"),
        (_too_old(limits), "beyond_horizon"),
        (has_price & (F.col("price").isNull() | (F.col("price") < 0)), "bad_price"),
        (has_price & (F.col("raw_currency") != mapping.shop.currency), "foreign_currency"),
        (F.col("quantity").isNull() | (F.col("quantity") < 0), "bad_quantity"),
        (F.col("price").cast("double") * F.abs(F.col("quantity").cast("double")) > LARGEST_AMOUNT, "bad_price"),
        (_outside(mapping), "outside_date_range"),
    ]
    return F.coalesce(CORRUPT, *[F.when(broken, F.lit(name)) for broken, name in rules])


def _too_old(limits: EventsSettings) -> Column:
    if limits.horizon_days is None:
        return F.lit(False)
    return F.col("event_time") < F.col("ingest_time") - F.expr(f"interval {limits.horizon_days} days")


def _outside(mapping: SourceMapping) -> Column:
    day, outside = F.col("event_date"), F.lit(False)
    if mapping.dates.first:
        outside = outside | (day < F.lit(mapping.dates.first))
    if mapping.dates.end:
        outside = outside | (day >= F.lit(mapping.dates.end))
    return outside
