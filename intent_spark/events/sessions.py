"""Sessions where the source has none: a user's events, cut where a gap is too long."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def cut_sessions(events: DataFrame, stored: DataFrame | None, gap_minutes: int) -> DataFrame:
    """The events with ``session_id``: new at a user's first event and after each gap longer than ``gap_minutes``.

    Events join a session that is stored already where no gap parts them from it; what is stored keeps its session, also
    where a late event joins two. A new session's id is a hash of the user and the session's first moment.

    Args:
        events: rows with user_id, event_time and event_id.
        stored: user_id, event_time, event_id and session_id of the events around them, or None where there are none.
        gap_minutes: the longest pause within a session.
    """
    new = events.withColumns({"session_id": F.lit(None).cast("string"), "_is_new": F.lit(True)})
    told = (
        new if stored is None else new.unionByName(stored.withColumn("_is_new", F.lit(False)), allowMissingColumns=True)
    )
    in_order = Window.partitionBy("user_id").orderBy("event_time", "event_id")
    pause = F.unix_micros("event_time") - F.unix_micros(F.lag("event_time").over(in_order))
    begins = F.when(pause <= gap_minutes * 60_000_000, 0).otherwise(1)
    numbered = told.withColumn("_begins", begins).withColumn("_session", F.sum("_begins").over(in_order))
    session = Window.partitionBy("user_id", "_session").orderBy("event_time", "event_id")
    whole = session.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    first = F.unix_micros(F.first("event_time").over(whole)).cast("string")
    known = F.first("session_id", ignorenulls=True).over(whole)
    own = F.md5(F.concat_ws("\u0001", "user_id", first))
    return (
        numbered.withColumn("session_id", F.coalesce(known, own))
        .where("_is_new")
        .drop("_is_new", "_begins", "_session")
    )
