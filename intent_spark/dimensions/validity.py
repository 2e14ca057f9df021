"""Dimensions with validity (type 2): versions from snapshots that may arrive in any order."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

VALIDITY_COLUMNS = ("valid_from", "valid_to", "stated_on")


def date_changes(arriving: DataFrame, there: DataFrame, key: str, day: date) -> DataFrame:
    """A snapshot taken on ``day`` says of an entity that is known already what holds from that day, not since ever."""
    known = there.select(key).distinct().withColumn("is_known", F.lit(True))
    flagged = arriving.join(known, on=key, how="left")
    held_from = F.when(F.col("is_known"), F.greatest("valid_from", F.lit(day))).otherwise(F.col("valid_from"))
    return flagged.withColumn("valid_from", held_from).withColumn("stated_on", F.array("valid_from")).drop("is_known")


def merge_versions(there: DataFrame, arriving: DataFrame, key: str) -> DataFrame:
    """All versions of each entity, in order and without repeats, from those known and those that arrive.

    But for corrections the result depends on the statements alone, not on their order of arrival: a version keeps
    the days that stated it, so that a late statement between two equal ones parts them where it should.

    Args:
        there: versions with ``valid_from``, ``valid_to`` and ``stated_on``, the days that stated them.
        arriving: rows with ``valid_from``. Of two for one entity and day the one that arrives later is a correction;
            two that arrive together are settled by the larger content.
    """
    content = [name for name in arriving.columns if name not in (key, *VALIDITY_COLUMNS)]
    known = there.select(key, F.explode("stated_on").alias("valid_from"), F.lit(0).alias("arrival"), *content)
    both = known.unionByName(arriving.select(key, "valid_from", F.lit(1).alias("arrival"), *content))
    packed = F.struct(F.to_json(F.struct(*content), {"ignoreNullFields": "false"}).alias("text"), *content)
    stated = both.groupBy(key, "valid_from").agg(F.max_by(packed, F.struct("arrival", packed["text"])).alias("content"))
    in_order = Window.partitionBy(key).orderBy("valid_from")
    is_repeat = F.lag("content.text").over(in_order).eqNullSafe(F.col("content.text"))
    numbered = stated.withColumn("is_new", F.when(is_repeat, 0).otherwise(1))
    runs = numbered.withColumn("run", F.sum("is_new").over(in_order.rowsBetween(Window.unboundedPreceding, 0)))
    versions = runs.groupBy(key, "run").agg(
        F.min("valid_from").alias("valid_from"),
        F.sort_array(F.collect_list("valid_from")).alias("stated_on"),
        F.min_by("content", "valid_from").alias("content"),
    )
    closed = versions.withColumn("valid_to", F.lead("valid_from").over(in_order))
    return closed.select(key, *VALIDITY_COLUMNS, *[F.col(f"content.{name}").alias(name) for name in content])
