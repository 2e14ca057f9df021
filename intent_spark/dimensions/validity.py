"""Dimensions with validity (type 2): versions from snapshots and changes that may arrive in any order."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

VALIDITY_COLUMNS = ("valid_from", "valid_to", "stated_on", "said_from")
GONE = "gone"


def dated(arriving: DataFrame, day: date) -> DataFrame:
    """Rows of a file of ``day`` say what holds on it; ``valid_from`` stays what the data say of its beginning."""
    return arriving.withColumn("stated_on", F.array(F.greatest("valid_from", F.lit(day))))


def merge_versions(
    there: DataFrame, arriving: DataFrame, key: str, snapshot: date | None = None, earlier: Collection[date] = ()
) -> DataFrame:
    """All versions of each entity, in order and without repeats, from those known and those that arrive.

    But for corrections the result depends on the statements alone, not on their order of arrival: a version keeps
    the days that stated it, so that a late statement between two equal ones parts them where it should. What is
    known before an entity's first statement is told by its earliest ``valid_from``, unless a snapshot in between did
    not have it; ``said_from`` keeps that day, since a later arrival may tell of an earlier statement. A full snapshot
    also states who is not in it: an entity known before it is ``gone`` from its day on, until another statement.

    Args:
        there: versions with ``valid_from``, ``valid_to`` and ``stated_on``, the days that stated them.
        arriving: rows with ``valid_from`` and one day in ``stated_on``. Of two for one entity and day the one that
            arrives later is a correction; two that arrive together are settled by the larger content.
        key: the entity's column.
        snapshot: the day of which ``arriving`` is a full snapshot; None where it holds changes only.
        earlier: the days of the full snapshots that arrived before.
    """
    content = [name for name in arriving.columns if name not in (key, *VALIDITY_COLUMNS)]
    known = _statements(there, key, content, arrival=0)
    if snapshot is not None:  # what it said when it was delivered before holds no more
        kept = known.join(arriving.select(key).distinct().withColumn("is_in", F.lit(True)), on=key, how="left")
        known = kept.where(F.col("is_in") | (F.col("stated") != F.lit(snapshot))).drop("is_in")
    both = known.unionByName(_statements(arriving, key, content, arrival=1))
    packed = F.struct(F.to_json(F.struct(*content), {"ignoreNullFields": "false"}).alias("text"), *content)
    stated = both.groupBy(key, "stated").agg(
        F.max_by(packed, F.struct("arrival", packed["text"])).alias("content"), F.min("since").alias("since")
    )
    days = sorted({*earlier, *([snapshot] if snapshot else [])})
    unlimited = stated.withColumn("not_before", F.lit(None).cast("date"))
    return _versions(_with_absences(stated, key, days) if days else unlimited, key, content)


def first_changed_day(before: DataFrame, after: DataFrame, key: str) -> date | None:
    """The first day of which two states of a dimension say different things; None where they say the same.

    Args:
        before: versions of entities.
        after: the same after more was learned.
        key: the entity's column.
    """
    old, new = _spans(before, key, "old"), _spans(after, key, "new")
    pairs = old.join(new, on=[key, "valid_from"], how="full")
    is_same = F.col("old.text").eqNullSafe(F.col("new.text")) & F.col("old").isNotNull() & F.col("new").isNotNull()
    ends_differ = F.col("old.end") != F.col("new.end")
    shorter = F.when(ends_differ, F.least("old.end", "new.end"))
    day = F.when(is_same, shorter).otherwise(F.col("valid_from"))
    found: date | None = pairs.agg(F.min(day)).collect()[0][0]
    return found


def _spans(rows: DataFrame, key: str, side: str) -> DataFrame:
    """Of each version its key and beginning, and as one struct its end and what it says."""
    content = [name for name in rows.columns if name not in (key, *VALIDITY_COLUMNS)]
    end = F.coalesce("valid_to", F.lit(date.max))
    said = F.struct(end.alias("end"), F.to_json(F.struct(*content)).alias("text"))
    return rows.select(key, "valid_from", said.alias(side))


def _statements(rows: DataFrame, key: str, content: list[str], arrival: int) -> DataFrame:
    """A row for each day that stated something; ``since`` is from when it is said to hold."""
    said = F.least("valid_from", "said_from").alias("said")
    told = rows.select(key, said, F.explode("stated_on").alias("stated"), *content)
    return told.withColumns({"since": F.least("said", "stated"), "arrival": F.lit(arrival)}).drop("said")


def _with_absences(stated: DataFrame, key: str, snapshots: list[date]) -> DataFrame:
    """Add to the statements that an entity was in none of the snapshots that do not name it, once it was known.

    ``not_before`` is the first statement of an entity that a snapshot between ``since`` and that day did not have.
    """
    taken = F.array(*[F.lit(day) for day in snapshots])
    per_key = stated.groupBy(key).agg(
        F.collect_set("stated").alias("days"), F.min("stated").alias("first"), F.min("since").alias("since")
    )
    missed = F.filter(taken, lambda day: ~F.array_contains("days", day))
    absent = per_key.withColumn("missed", missed)
    later = absent.select(key, F.explode(F.filter("missed", lambda day: day > F.col("first"))).alias("stated"))
    gone = later.select(key, "stated", _content_of_nobody(stated).alias("content"), F.col("stated").alias("since"))
    # Absent from a snapshot before its first statement, it cannot have been there since before that snapshot.
    was_absent = F.exists("missed", lambda day: (day < F.col("first")) & (day >= F.col("since")))
    limits = absent.where(was_absent).select(key, F.col("first").alias("not_before"))
    return stated.join(limits, on=key, how="left").unionByName(gone, allowMissingColumns=True)


def _content_of_nobody(stated: DataFrame) -> Column:
    """The content of an entity that is gone, in the shape of the others'."""
    shape = stated.select("content.*").drop("text").schema
    values = [
        (F.lit(True) if field.name == GONE else F.lit(None).cast(field.dataType)).alias(field.name)
        for field in shape.fields
    ]
    return F.struct(F.to_json(F.struct(*values), {"ignoreNullFields": "false"}).alias("text"), *values)


def _versions(stated: DataFrame, key: str, content: list[str]) -> DataFrame:
    """Runs of equal statements, each valid until the next; the first from when the entity is said to have begun."""
    in_order = Window.partitionBy(key).orderBy("stated")
    is_repeat = F.lag("content.text").over(in_order).eqNullSafe(F.col("content.text"))
    numbered = stated.withColumn("is_new", F.when(is_repeat, 0).otherwise(1))
    runs = numbered.withColumn("run", F.sum("is_new").over(in_order.rowsBetween(Window.unboundedPreceding, 0)))
    begun = runs.withColumn("since", F.min("since").over(Window.partitionBy(key)))
    is_first = F.col("run") == 1
    from_day = F.coalesce("not_before", F.least("since", "stated"))
    versions = begun.groupBy(key, "run").agg(
        F.min(F.when(is_first, from_day).otherwise(F.col("stated"))).alias("valid_from"),
        F.min(F.when(is_first, F.col("since"))).alias("said_from"),
        F.sort_array(F.collect_list("stated")).alias("stated_on"),
        F.min_by("content", "stated").alias("content"),
    )
    closed = versions.withColumn("valid_to", F.lead("valid_from").over(Window.partitionBy(key).orderBy("valid_from")))
    return closed.select(key, *VALIDITY_COLUMNS, *[F.col(f"content.{name}").alias(name) for name in content])
