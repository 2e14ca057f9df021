"""What happened after a snapshot: the labels of an example."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import MapType, StructField

from intent_spark.config.heads import CHURN, SPEND

LABEL = "label"
# All that an example tells of what happened afterwards.
OUTCOMES = (LABEL, CHURN.label, SPEND.label)


def label(
    profiles: DataFrame, events: DataFrame, as_of: date, horizon_days: int, event_types: Iterable[str]
) -> DataFrame:
    """Add ``label``, ``churned`` and ``spent``, of the events in [as_of, as_of + horizon).

    ``label`` is 1 where the user has an event of these types, ``spent`` is their price times quantity in minor units,
    ``churned`` is 1 where the user has no event of any type.

    Args:
        profiles: one row a user, all of them kept.
        events: rows with user_id, event_date, event_type, price and quantity.
    """
    end = as_of + timedelta(days=horizon_days)
    inside = (F.col("event_date") >= F.lit(as_of)) & (F.col("event_date") < F.lit(end))
    wanted = F.col("event_type").isin(*event_types)
    spent = F.sum(F.when(wanted, F.col("price") * F.col("quantity")))
    told = F.max(wanted.cast("int")).alias(LABEL), F.lit(0).alias(CHURN.label), spent.alias(SPEND.label)
    flagged = profiles.join(events.where(inside).groupBy("user_id").agg(*told), on="user_id", how="left")
    unseen = {LABEL: F.lit(0), CHURN.label: F.lit(1), SPEND.label: F.lit(0).cast("bigint")}
    return flagged.withColumns({name: F.coalesce(name, value) for name, value in unseen.items()})


def labelled_snapshots(
    profiles: DataFrame, events: DataFrame, splits: Mapping[date, str], horizon_days: int, event_types: Iterable[str]
) -> DataFrame:
    """The profiles of several dates with their :data:`OUTCOMES`, ``split`` and ``weight``: a training set."""
    types = list(event_types)
    parts = [
        label(profiles.where(F.col("as_of") == F.lit(day)), events, day, horizon_days, types)
        .withColumn("split", F.lit(split))
        .withColumn("weight", F.lit(1.0))
        for day, split in sorted(splits.items())
    ]
    return reduce(DataFrame.unionByName, parts)


def content_digest(frame: DataFrame) -> str:
    """A digest of a frame's columns and rows, whatever their order: equal for equal training sets.

    Two independent 64-bit hashes of each row are summed, exactly; the sums do not depend on any order.
    """
    # Asked for once: a frame's schema is parsed anew each time.
    fields = sorted(frame.schema.fields, key=lambda field: field.name)
    columns = [_hashable(field) for field in fields]
    sums = [F.sum(F.xxhash64(F.lit(seed), *columns).cast("decimal(38,0)")).alias(f"sum{seed}") for seed in (1, 2)]
    counted = frame.agg(F.count("*").alias("rows"), *sums).collect()[0]
    types = ",".join(f"{field.name} {field.dataType.simpleString()}" for field in fields)
    return hashlib.sha256(f"{types}|{counted['rows']}|{counted['sum1']}|{counted['sum2']}".encode()).hexdigest()


def _hashable(field: StructField) -> Column:
    """A map has no order, so it is hashed as its entries by key."""
    column = F.col(f"`{field.name}`")
    return F.array_sort(F.map_entries(column)) if isinstance(field.dataType, MapType) else column
