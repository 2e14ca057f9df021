"""Dimensions with validity (type 2): versions from snapshots that may arrive in any order."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def merge_versions(there: DataFrame, arriving: DataFrame, key: str) -> DataFrame:
    """All versions of each entity, in order and without repeats, from those known and those that arrive.

    Args:
        there: versions with ``valid_from`` and ``valid_to``.
        arriving: rows with ``valid_from``; two for one entity and day are settled by the larger content.

    The result depends on the rows alone, not on the order of arrival.
    """
    content = [name for name in arriving.columns if name not in (key, "valid_from", "valid_to")]
    both = there.drop("valid_to").unionByName(arriving.drop("valid_to")).distinct()
    fingerprint = F.to_json(F.struct(*content), {"ignoreNullFields": "false"})
    stated = both.withColumn("content", fingerprint)
    by_day = Window.partitionBy(key, "valid_from").orderBy(F.desc("content"))
    in_order = Window.partitionBy(key).orderBy("valid_from")
    single = stated.withColumn("nth", F.row_number().over(by_day)).where("nth = 1")
    changed = single.withColumn("before", F.lag("content").over(in_order))
    kept = changed.where(F.col("before").isNull() | (F.col("before") != F.col("content")))
    closed = kept.withColumn("valid_to", F.lead("valid_from").over(in_order))
    return closed.select(key, "valid_from", "valid_to", *content)
