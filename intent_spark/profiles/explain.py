"""For notebooks: features tried on a few users before they are declared, and the events behind a user's values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import pandas as pd
import yaml
from pydantic import ValidationError
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from intent_spark.config.errors import UsageError
from intent_spark.config.features import FeaturesConfig, SequenceSettings, WindowedFeature, words
from intent_spark.config.loading import load_settings
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.session import spark_session
from intent_spark.lakehouse.shop import recorded_shop
from intent_spark.profiles.contract import feature_columns, profiles_contract
from intent_spark.profiles.declarations import check_column_names, check_declarations
from intent_spark.profiles.direct import EventDays
from intent_spark.profiles.partials import event_condition
from intent_spark.profiles.profile import profiles_of
from intent_spark.profiles.sequence import counted_events
from intent_spark.profiles.slots import Slots
from intent_spark.profiles.spans import DayRange, window_start
from intent_spark.profiles.state import build_state, find_way
from intent_spark.profiles.tables import ProfileTables, items_version

MOST_EVENTS = 20
TOLD_TIME = "told/time"
# Aggregates of which not the newest events are of interest: the oldest, or those of the least or largest value.
FROM_OLDEST, BY_VALUE = ("first", "days_since_first"), ("min", "max")


def preview(
    features_yaml_text: str, users: Sequence[str], as_of: date | str, warehouse: str = "warehouse"
) -> pd.DataFrame:
    """Features as they would be, of a few users, straight from the events; nothing is written.

    Args:
        features_yaml_text: declarations as in ``conf/features.yaml``; sections left out are empty.
        users: whom to show; a user without events before the date is left out.
        as_of: the date, e.g. ``2026-04-23``.
        warehouse: where the tables lie.

    Raises:
        UsageError: a declaration is wrong.
    """
    features = parse_features(features_yaml_text)
    tables, day = _tables(warehouse, features), _day(as_of)
    check_declarations(tables.lakehouse.spark, features)
    state = _state(tables, users, day)
    profile = profiles_of(state, tables.users(day), features, day, tables.zone)
    names = ["user_id", *[c.name for c in feature_columns(features)]]
    return profiles_contract(features).cast(profile).select(*names).orderBy("user_id").toPandas()


def known_at(as_of: date | str, instant: datetime, warehouse: str = "warehouse") -> DataFrame:
    """The profiles of a date as they could have been built at an instant: from events that had come in by then.

    Straight from the events by their ``ingest_time``, and from users and items as their tables stood then; nothing
    is written.

    Args:
        as_of: the date, e.g. ``2026-04-23``.
        instant: the moment of knowledge, with its zone: events that came in before it count.
        warehouse: where the tables lie.

    Raises:
        UsageError: the instant has no zone.
    """
    features = load_settings().features
    tables, day = _tables(warehouse, features, instant), _day(as_of)
    events = tables.events(known_at=instant).where(F.col("event_date") < F.lit(day))
    way = find_way(Slots(features), day, None)
    state = build_state(EventDays(events), features, way, tables.zone)
    return profiles_contract(features).select(profiles_of(state, tables.users(day), features, day, tables.zone))


def parse_features(text: str) -> FeaturesConfig:
    """Declarations from YAML text.

    Raises:
        UsageError: the text is no YAML, or a declaration is wrong.
    """
    try:
        tree = yaml.safe_load(text)
        return FeaturesConfig.model_validate({"windowed": [], "derived": [], "user": []} | (tree or {}))
    except (yaml.YAMLError, TypeError) as error:
        raise UsageError(f"features: no YAML with sections: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"features: {where or 'declarations'}: {first['msg']}; found {first['input']!r}.") from None


def explain(user: str, as_of: date | str, warehouse: str = "warehouse") -> pd.DataFrame:
    """What a user's features are made of.

    Returns one row a feature: ``feature``, ``value``, ``events`` (how many count), ``from`` and ``to`` (the window,
    half-open), ``behind``: the first of these events as "time type category price", in the shop's time, or the
    features a derived one is made of. The newest come first; the oldest, the cheapest or the dearest where the feature
    is about these.

    Raises:
        UsageError: the user has no event before the date.
    """
    features = load_settings().features
    tables, day = _tables(warehouse, features), _day(as_of)
    state = _state(tables, [user], day)
    profile = profiles_contract(features).cast(profiles_of(state, tables.users(day), features, day, tables.zone))
    values = profile.first()
    if values is None:
        raise UsageError(f"user {user} has no event before {day} in warehouse {tables.lakehouse.root}.")
    frames = tables.events(only=(F.col("user_id") == user) & (F.col("event_date") < F.lit(day)))
    clock = F.date_format(F.from_utc_timestamp("event_time", tables.zone), "yyyy-MM-dd HH:mm:ss")
    mine = frames.described.withColumn(TOLD_TIME, clock)
    counted = _counted(mine, features)
    rows = [
        _windowed(feature, window, name, values, counted[place], day)
        for place, feature in enumerate(features.windowed)
        for window in feature.windows
        for name in feature.columns(window)
    ]
    known = {c.name for c in feature_columns(features)}
    rows += [
        {"feature": d.name, "value": values[d.name], "behind": sorted(words(d.expression) & known)}
        for d in features.derived
    ]
    rows += [{"feature": u.name, "value": values[u.name], "behind": [u.expression]} for u in features.user]
    if features.sequence:
        rows += _sequence(mine, features.sequence, values, day)
    return pd.DataFrame(rows, columns=["feature", "value", "events", "from", "to", "behind"])


def _counted(events: DataFrame, features: FeaturesConfig) -> dict[int, list[Row]]:
    """For each windowed feature, by its place, the user's events that count; the most telling ones first."""
    flags = [F.expr(_condition(f)).alias(f"counts/{n}") for n, f in enumerate(features.windowed)]
    values = [
        F.expr(str(f.value)).alias(f"value/{n}") for n, f in enumerate(features.windowed) if f.aggregate in BY_VALUE
    ]
    rows = events.select("*", *flags, *values).orderBy(F.desc("event_time"), F.desc("event_id")).collect()
    return {
        n: _in_order([r for r in rows if r[f"counts/{n}"]], n, f.aggregate) for n, f in enumerate(features.windowed)
    }


def _in_order(newest_first: list[Row], place: int, aggregate: str) -> list[Row]:
    if aggregate in FROM_OLDEST:
        return newest_first[::-1]
    if aggregate in BY_VALUE:
        return sorted(newest_first, key=lambda row: row[f"value/{place}"], reverse=aggregate == "max")
    return newest_first


def _condition(feature: WindowedFeature) -> str:
    present = [f"({text}) is not null" for text in (feature.value, feature.by) if text]
    types = feature.weights or feature.event_types
    when = event_condition(set(types) & set(feature.event_types or types), feature.filter)
    return f"coalesce({' and '.join([when, *present])}, false)"


def _windowed(
    feature: WindowedFeature, window: Any, name: str, values: Row, counted: list[Row], as_of: date
) -> dict[str, Any]:
    reach = DayRange(window_start(window, as_of), as_of)
    inside = [row for row in counted if reach.holds(row["event_date"])]
    behind = [_told(row) for row in inside[:MOST_EVENTS]]
    begins = min((row["event_date"] for row in counted), default=None) if window == "lifetime" else reach.start
    return {
        "feature": name, "value": values[name], "events": len(inside), "from": begins, "to": as_of, "behind": behind,
    }  # fmt: skip


def _sequence(events: DataFrame, sequence: SequenceSettings, values: Row, as_of: date) -> list[dict[str, Any]]:
    """The columns of the last events, each with the same events behind it."""
    reach = DayRange(window_start(sequence.window_days, as_of), as_of)
    counted = events.where(reach.sql).where(counted_events(sequence))
    found = counted.orderBy(F.desc("event_time"), F.desc("event_id")).limit(sequence.length).collect()
    behind = [_told(row) for row in found[:MOST_EVENTS]]
    told = {"events": len(found), "from": reach.start, "to": as_of, "behind": behind}
    return [{"feature": c.name, "value": values[c.name]} | told for c in sequence.columns]


def _told(row: Row) -> str:
    parts = (row[TOLD_TIME], row["event_type"], row["category"], row["price"])
    return " ".join(str(part) for part in parts if part is not None)


def _state(tables: ProfileTables, users: Sequence[str], as_of: date) -> DataFrame:
    mine = tables.events(only=F.col("user_id").isin(*users) & (F.col("event_date") < F.lit(as_of)))
    return build_state(EventDays(mine), tables.features, find_way(Slots(tables.features), as_of, None), tables.zone)


def _tables(warehouse: str, features: FeaturesConfig, instant: datetime | None = None) -> ProfileTables:
    """The tables as they are, dimensions as they were before an instant where one is given."""
    check_column_names(features)
    spark = SparkSession.getActiveSession() or spark_session(load_settings().environment, "notebook")
    lakehouse = Lakehouse(spark, warehouse)
    recorded_shop(lakehouse)
    names = [name for name in ("events", "users", "items") if lakehouse.exists(name)]
    versions = items_version(lakehouse, features) | {name: lakehouse.version(name) for name in names}
    if instant is not None:
        versions |= {name: lakehouse.version_before(name, instant) for name in names if name != "events"}
    return ProfileTables(lakehouse, features, versions, "profiles")


def _day(as_of: date | str) -> date:
    return date.fromisoformat(as_of) if isinstance(as_of, str) else as_of
