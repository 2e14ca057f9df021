"""Declarations checked against the events contract before any work: each fault is one sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    ByteType,
    DataType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    NullType,
    ShortType,
)

from intent_spark.config.errors import UsageError
from intent_spark.config.features import FeaturesConfig, SequenceSettings, words
from intent_spark.lakehouse.texts import selected
from intent_spark.profiles.contract import feature_columns, states_contract, user_days_contract
from intent_spark.profiles.partials import all_partials
from intent_spark.profiles.profile import derived_texts
from intent_spark.profiles.sequence import counted_events

EVENT_COLUMNS = (
    "event_date date, event_id string, user_id string, event_type string, item_id string, category string, "
    "price bigint, quantity int, session_id string, event_time timestamp, ingest_time timestamp, "
    "batch_id string, source string"
)
# The item as it was on the event's day, where a declaration names it.
ITEM_COLUMNS = (
    "item_brand string, item_title string, item_list_price bigint, item_category string, item_price_level int"
)
USER_COLUMNS = (
    "user_id string, age int, gender string, city_tier int, registration_date date, "
    "marketing_consent boolean, as_of date"
)


CLOCK = {"current_date", "curdate", "current_timestamp", "current_time", "now", "localtimestamp"}
# Spark's date'today' and its like, and unix_timestamp of nothing.
CLOCK_TEXT = re.compile(
    r"\b(date|timestamp(_ntz|_ltz)?)\s*['\"]\s*(now|today|yesterday|tomorrow)\b|\bunix_timestamp\s*\(\s*\)",
    re.IGNORECASE,
)
NUMBERS = (ByteType, ShortType, IntegerType, LongType, FloatType, DoubleType, DecimalType, BooleanType, NullType)
SMALL = (ByteType, ShortType, IntegerType, NullType)
WHOLE = (*SMALL, LongType)
# What these make of a value is a whole number; a fraction would be cut off without a word.
SUMMED = ("sum", "mean", "std", "min", "max", "decayed_sum", "count")


@dataclass(frozen=True)
class Declared:
    """An expression of a feature, and the types that its values may have; of any type where none is said."""

    feature: str
    expression: str
    types: tuple[type[DataType], ...] = ()
    wanted: str = ""


def check_declarations(spark: SparkSession, features: FeaturesConfig) -> None:
    """Analyse every expression without running it.

    Raises:
        UsageError: an expression names an unknown column, cannot be parsed, is of a type that its aggregate cannot
            take, or is no function of one row alone; or two columns get one name.
    """
    check_column_names(features)
    partials = all_partials(features)
    events = spark.createDataFrame([], f"{EVENT_COLUMNS}, {ITEM_COLUMNS}")
    values = [
        Declared(f.title, f.value, WHOLE, f"aggregate {f.aggregate} takes whole numbers")
        for f in features.windowed if f.value and f.aggregate in SUMMED
    ]  # fmt: skip
    _check(events, values, "an event")
    _check(events, [Declared(p.name, p.expression) for p in partials], "an event")
    _check(events, [Declared(p.name, p.key) for p in partials if p.key], "an event")
    _check(events, _of_sequence(features.sequence) if features.sequence else [], "an event")
    users = spark.createDataFrame([], USER_COLUMNS)
    numeric = (NUMBERS, "role numeric takes numbers")
    _check(users, [Declared(u.name, u.expression, *(numeric if u.role == "numeric" else ())) for u in features.user],
           "a user")  # fmt: skip
    derived = {feature.name for feature in features.derived}
    known = [c for c in feature_columns(features) if c.name not in derived]
    profile = spark.createDataFrame([], ", ".join(f"`{c.name}` {c.type}" for c in known))
    for level in features.derived_in_levels():
        told = [Declared(d.name, d.expression, NUMBERS, "derived features are numbers") for d in level]
        _check(profile, told, "the other features")
        # Also as it will be read: "a as b" is an expression to Spark, and cannot be cast.
        texts = derived_texts(level)
        _check(profile, [Declared(*named) for named in texts.items()], "the other features")
        profile = selected(profile, ("*",), texts)


FITS: dict[str, tuple[tuple[type[DataType], ...], str]] = {
    "string": ((), ""),
    "int": (SMALL, "type int takes whole numbers of 32 bits: bigint takes longer ones"),
    "bigint": (WHOLE, "type bigint takes whole numbers"),
    "double": (NUMBERS, "type double takes numbers"),
}


def _of_sequence(sequence: SequenceSettings) -> list[Declared]:
    values = [Declared(c.name, c.value, *FITS[c.type]) for c in sequence.columns if c.value]
    return [*values, Declared("sequence", f"if({counted_events(sequence)}, 1, 0)")]


def check_column_names(features: FeaturesConfig) -> None:
    """Whether two features would give two columns of a table one name.

    Raises:
        UsageError: they would.
    """
    for contract in (user_days_contract(features), states_contract(features)):
        names = [column.name for column in contract.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(
                f"features.yaml: the columns of {contract.name} for two features would both be named "
                f"{', '.join(twice)}; rename one of the features."
            )


def _check(frame: DataFrame, declared: list[Declared], over: str) -> None:
    """All at once, for analysis takes its time; one by one where something is wrong."""
    if not declared or _fault(frame, declared) is None:
        return
    for one in declared:
        if (problem := _fault(frame, [one])) is not None:
            raise UsageError(
                f"features.yaml: feature '{one.feature}': its expression over {over} does not hold: {problem}"
            )


def _fault(frame: DataFrame, declared: list[Declared]) -> str | None:
    """What is wrong with some expressions, or with one of them; None where nothing is."""
    names = [f"c{place}" for place in range(len(declared))]
    try:
        chosen = frame.select(*[F.expr(d.expression).alias(name) for d, name in zip(declared, names, strict=True)])
        fields = chosen.schema.fields
    except PySparkException as error:
        return next(line for line in (error.getMessage() or str(error)).splitlines() if line.strip())
    for one, field in zip(declared, fields, strict=True):
        if one.types and not isinstance(field.dataType, one.types):
            return f"it is of type {field.dataType.simpleString()}, but {one.wanted}; cast or round it."
    plan = chosen._jdf.queryExecution().analyzed()
    if plan.nodeName() != "Project" or plan.child().nodeName() in ("Window", "Generate"):
        return "it gathers or multiplies rows; a value is made of one row."
    if not plan.deterministic() or any(_reads_the_clock(d.expression) for d in declared):
        return "it gives another value at another time; equal data must give equal features."
    return None


def _reads_the_clock(expression: str) -> bool:
    return bool(CLOCK & words(expression) or CLOCK_TEXT.search(expression))
