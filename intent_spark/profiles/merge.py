"""``user_days`` to profiles at one date: every feature from the partials of the days before it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from intent_spark.config.features import LIFETIME, FeaturesConfig, Window, WindowedFeature
from intent_spark.profiles.contract import definition_hash
from intent_spark.profiles.partials import (
    all_partials,
    columns_by_definition,
    feature_partials,
    interval_partial,
)
from intent_spark.profiles.user_days import EVENT_FIELDS, FOLDS

MICROS_PER_DAY = 86_400_000_000


def first_instant(day: date, time_zone: str) -> datetime:
    """The first instant of a day in the shop's zone, in UTC. 2017-12-03 in Asia/Shanghai is 2017-12-02T16:00Z."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(time_zone)).astimezone(UTC)


def build_profile(
    days: DataFrame, users: DataFrame | None, features: FeaturesConfig, as_of: date, time_zone: str
) -> DataFrame:
    """The profiles of all users seen before ``as_of``.

    Args:
        days: user_days; rows at and after ``as_of`` are not looked at.
        users: the users' attributes as they were at ``as_of``, or None where the shop has none.
    """
    before = days.where(F.col("event_date") < F.lit(as_of))
    instant = F.lit(first_instant(as_of, time_zone))
    numeric = windowed_features(before, features, as_of, instant)
    preferred = preferred_categories(before, features, as_of)
    sequence = last_sequence(before, features, as_of, instant)
    joined = numeric.join(preferred, on="user_id", how="left").join(sequence, on="user_id", how="left")
    described = with_user_features(joined, users, features, as_of)
    derived = described
    for feature in features.derived:
        derived = derived.withColumn(feature.name, F.expr(feature.expression).cast("double"))
    stamps = {"as_of": F.lit(as_of), "definition_hash": F.lit(definition_hash(features))}
    return derived.withColumns(stamps | _empty_sequences(sequence))


def in_window(window: Window, as_of: date) -> Column:
    """Whether a day lies in [as_of - window, as_of); ``as_of`` itself is excluded by the caller."""
    if window == LIFETIME:
        return F.lit(True)
    return F.col("event_date") >= F.lit(as_of - timedelta(days=int(window)))


def windowed_features(before: DataFrame, features: FeaturesConfig, as_of: date, instant: Column) -> DataFrame:
    """All windowed features and interval statistics, one aggregation by user."""
    kept = columns_by_definition(all_partials(features))
    partials = {
        f"{feature.name}/{window}/{number}": FOLDS[partial.over_days](F.when(in_window(window, as_of), F.col(column)))
        for feature in features.windowed
        for number, partial in enumerate(feature_partials(feature))
        for column in [kept[partial.definition]]
        for window in feature.windows
    }
    intervals = {
        i.name: F.sort_array(F.collect_list(F.when(F.col(column) == 1, F.col("event_date"))))
        for i in features.intervals
        for column in [kept[interval_partial(i.name, i.event_types).definition]]
    }
    folded = before.groupBy("user_id").agg(*[fold.alias(name) for name, fold in (partials | intervals).items()])
    finished = [
        _finish(feature, window, instant).alias(feature.column(window))
        for feature in features.windowed
        for window in feature.windows
    ]
    statistics = [column for i in features.intervals for column in interval_statistics(i.name)]
    return folded.select("user_id", *finished, *statistics)


def _finish(feature: WindowedFeature, window: Window, instant: Column) -> Column:
    """A feature's value from its merged partials. Nothing to count is 0; nothing to measure is null."""
    first = F.col(f"`{feature.name}/{window}/0`")
    match feature.aggregate:
        case "count" | "sum" | "active_days":
            return F.coalesce(first, F.lit(0)).cast("bigint")
        case "mean":
            return F.try_divide(first, F.col(f"`{feature.name}/{window}/1`"))
        case "days_since_last" | "days_since_first":
            return (F.unix_micros(instant) - F.unix_micros(first)) / MICROS_PER_DAY
        case _:
            return first


def interval_statistics(name: str) -> list[Column]:
    """Mean, population standard deviation, min and max of the gaps in the sorted array of days ``name``."""
    pairs = f"greatest(size({name}) - 1, 0)"
    gaps = f"zip_with(slice({name}, 2, {pairs}), slice({name}, 1, {pairs}), (b, a) -> datediff(b, a))"
    count, total = f"size({gaps})", f"aggregate({gaps}, 0L, (s, g) -> s + g)"
    squares = f"aggregate({gaps}, 0L, (s, g) -> s + cast(g as bigint) * g)"
    # n*sum(x²) - sum(x)² in integers: exact before the one division and root.
    spread = f"sqrt(cast({count} * {squares} - {total} * {total} as double))"
    some = f"{count} > 0"
    statistics = {
        "mean": f"if({some}, {total} / {count}, null)",
        "std": f"if({some}, {spread} / {count}, null)",
        "min": f"cast(array_min({gaps}) as double)",
        "max": f"cast(array_max({gaps}) as double)",
    }
    return [F.expr(expression).alias(f"{name}_{key}") for key, expression in statistics.items()]


def preferred_categories(before: DataFrame, features: FeaturesConfig, as_of: date) -> DataFrame:
    """``top_category_1`` …: the categories of the largest weight; ties go to the later name."""
    preferred = features.preferred_categories
    recent = before.where(in_window(preferred.window_days, as_of))
    met = recent.select("user_id", F.inline("category_weights"))
    summed = met.groupBy("user_id", "category").agg(F.sum("weight").alias("weight"))
    top = F.max_by("category", F.struct("weight", "category"), preferred.count).alias("top")
    places = [F.get("top", F.lit(n - 1)).alias(f"top_category_{n}") for n in range(1, preferred.count + 1)]
    return summed.groupBy("user_id").agg(top).select("user_id", *places)


def last_sequence(before: DataFrame, features: FeaturesConfig, as_of: date, instant: Column) -> DataFrame:
    """The last events as aligned arrays, oldest first."""
    recent = before.where(in_window(features.sequence.window_days, as_of))
    events = recent.select("user_id", F.inline("last_events"))
    newest = F.max_by(F.struct(*EVENT_FIELDS), F.struct("event_time", "event_id"), features.sequence.length)
    ordered = events.groupBy("user_id").agg(F.reverse(newest).alias("e")).withColumn("end", instant)
    following = "array_append(slice(e.event_time, 2, size(e)), end)"
    gaps = f"zip_with(e.event_time, {following}, (a, b) -> unix_seconds(b) - unix_seconds(a))"
    return ordered.select(
        "user_id",
        F.col("e.event_type").alias("seq_event_type"),
        F.col("e.category").alias("seq_category"),
        F.col("e.item_id").alias("seq_item"),
        # The number of binary digits is an exact logarithm, alike on every machine.
        F.expr("transform(e.price, p -> length(bin(p)))").alias("seq_price_band"),
        F.expr(gaps).alias("seq_gap_seconds"),
    )


def _empty_sequences(sequence: DataFrame) -> dict[str, Column]:
    """A user without events in the window has empty arrays, not nulls."""
    arrays = [field for field in sequence.schema.fields if field.name.startswith("seq_")]
    return {f.name: F.coalesce(F.col(f.name), F.array().cast(f.dataType)) for f in arrays}


def with_user_features(profile: DataFrame, users: DataFrame | None, features: FeaturesConfig, as_of: date) -> DataFrame:
    """Attributes of the user as they were at ``as_of``; null for a user who is not known."""
    if users is None:
        return profile.withColumns({f.name: F.lit(None).cast("string") for f in features.user})
    known = users.withColumn("as_of", F.lit(as_of))
    named = known.select("user_id", *[F.expr(f.expression).alias(f.name) for f in features.user])
    return profile.join(named, on="user_id", how="left")
