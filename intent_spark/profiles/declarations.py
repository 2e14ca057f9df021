"""Declarations checked against the events contract before any work: each fault is one sentence."""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from intent_spark.config.errors import UsageError
from intent_spark.config.features import FeaturesConfig
from intent_spark.profiles.contract import feature_columns, states_contract, user_days_contract
from intent_spark.profiles.partials import all_partials

EVENT_COLUMNS = (
    "event_date date, event_id string, user_id string, event_type string, item_id string, category string, "
    "price bigint, quantity int, session_id string, event_time timestamp, ingest_time timestamp"
)
# The item as it was on the event's day, where a declaration names it.
ITEM_COLUMNS = "item_brand string, item_title string, item_list_price bigint, item_category string"
USER_COLUMNS = (
    "user_id string, age int, gender string, city_tier int, registration_date date, "
    "marketing_consent boolean, as_of date"
)


def check_declarations(spark: SparkSession, features: FeaturesConfig) -> None:
    """Analyse every expression without running it.

    Raises:
        UsageError: an expression names an unknown column or cannot be parsed, or two columns get one name.
    """
    _check_column_names(features)
    partials = all_partials(features)
    events = spark.createDataFrame([], f"{EVENT_COLUMNS}, {ITEM_COLUMNS}")
    _check(events, [(p.name, p.expression) for p in partials], "an event")
    _check(events, [(p.name, p.key) for p in partials if p.key], "an event")
    users = spark.createDataFrame([], USER_COLUMNS)
    _check(users, ((u.name, u.expression) for u in features.user), "a user")
    derived = {feature.name for feature in features.derived}
    known = [c for c in feature_columns(features) if c.name not in derived]
    profile = spark.createDataFrame([], ", ".join(f"`{c.name}` {c.type}" for c in known))
    for level in features.derived_in_levels():
        _check(profile, [(d.name, d.expression) for d in level], "the other features")
        profile = profile.withColumns({d.name: F.expr(d.expression).cast("double") for d in level})


def _check_column_names(features: FeaturesConfig) -> None:
    for contract in (user_days_contract(features), states_contract(features)):
        names = [column.name for column in contract.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(
                f"features.yaml: the columns of {contract.name} for two features would both be named "
                f"{', '.join(twice)}; rename one of the features."
            )


def _check(frame: DataFrame, expressions: Iterable[tuple[str, str]], over: str) -> None:
    pairs = list(expressions)
    try:
        frame.select(*[F.expr(expression).alias(name) for name, expression in pairs])
    except PySparkException:
        name, problem = next(fault for pair in pairs if (fault := _fault(frame, *pair)))
        raise UsageError(
            f"features.yaml: feature '{name}': its expression over {over} does not hold: {problem}"
        ) from None


def _fault(frame: DataFrame, name: str, expression: str) -> tuple[str, str] | None:
    try:
        frame.select(F.expr(expression))
    except PySparkException as error:
        lines = [line for line in (error.getMessage() or str(error)).splitlines() if line.strip()]
        return name, lines[0]
    return None
