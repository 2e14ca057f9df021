"""Events to ``user_days``: one pass over the events of some days."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from intent_spark.config.features import FeaturesConfig, PreferredCategories
from intent_spark.profiles.partials import Partial, all_partials

FOLDS = {"sum": F.sum, "min": F.min, "max": F.max}
EVENT_FIELDS = ("event_time", "event_id", "event_type", "category", "item_id", "price")


def user_days(events: DataFrame, features: FeaturesConfig) -> DataFrame:
    """The partials of each user and day.

    Args:
        events: rows of the events contract.
        features: the declarations.
    """
    # One exchange by user serves both aggregations below: each groups by the user and more.
    moved = events.select("user_id", "event_date", "quantity", *EVENT_FIELDS).repartition("user_id")
    folded = moved.groupBy("user_id", "event_date").agg(
        *[_within_day(partial) for partial in all_partials(features)],
        last_events(features.sequence.length),
    )
    weights = category_weights(moved, features.preferred_categories)
    return folded.join(weights, on=["user_id", "event_date"], how="left")


def _within_day(partial: Partial) -> Column:
    return FOLDS[partial.within_day](F.expr(partial.expression)).alias(partial.name)


def last_events(length: int) -> Column:
    """The last events, newest first, ties broken by event_id; memory is bounded by ``length``."""
    return F.max_by(F.struct(*EVENT_FIELDS), F.struct("event_time", "event_id"), length).alias("last_events")


def category_weights(events: DataFrame, preferred: PreferredCategories) -> DataFrame:
    """For each user and day the categories met and their weight, by category."""
    cases = " ".join(f"when event_type = '{name}' then {weight}" for name, weight in sorted(preferred.weights.items()))
    weighted = events.withColumn("weight", F.expr(f"case {cases} end"))
    met = weighted.where(F.col("category").isNotNull() & F.col("weight").isNotNull())
    summed = met.groupBy("user_id", "event_date", "category").agg(F.sum(F.col("weight").cast("bigint")).alias("weight"))
    collected = F.sort_array(F.collect_list(F.struct("category", "weight")))
    return summed.groupBy("user_id", "event_date").agg(collected.alias("category_weights"))
