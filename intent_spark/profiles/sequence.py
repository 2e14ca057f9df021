"""The last events of a user: aligned columns, newest first in days and states, oldest first in profiles."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from intent_spark.config.features import SEQUENCE_TIME, SequenceColumn, SequenceSettings
from intent_spark.profiles.partials import event_condition


def kept_types(sequence: SequenceSettings | None) -> dict[str, str]:
    """Spark's type of each column that days and states keep; a gap follows from the times."""
    if sequence is None:
        return {}
    return {SEQUENCE_TIME: "array<timestamp>"} | {c.name: f"array<{c.type}>" for c in sequence.columns if c.value}


def counted_events(sequence: SequenceSettings) -> str:
    """SQL that is true for the events that the sequence is made of."""
    return event_condition(sequence.event_types, sequence.filter)


def newest_of_events(events: DataFrame, sequence: SequenceSettings, *keys: str) -> DataFrame:
    """The last events by the keys; of equal instants the larger event_id is the later one."""
    values = [_cast(column).alias(column.name) for column in sequence.columns if column.value]
    kept = F.struct(F.col("event_time").alias(SEQUENCE_TIME), *values)
    # A place that is null is passed over.
    place = F.when(F.expr(counted_events(sequence)), F.struct("event_time", "event_id"))
    return _newest(events, kept, place, sequence, *keys)


def newest_of_days(days: DataFrame, sequence: SequenceSettings, are_one: bool) -> DataFrame:
    """The last of the days' last events, by user; as they are where the days are but ``are_one``.

    Events of one instant are of one day, so within it their order stands.
    """
    kept = [*kept_types(sequence)]
    if are_one:
        return days.select("user_id", *kept)
    events = days.select("user_id", F.posexplode(F.arrays_zip(*kept)).alias("later", "kept"))
    return _newest(
        events, F.col("kept"), F.struct(F.col(f"kept.{SEQUENCE_TIME}"), -F.col("later")), sequence, "user_id"
    )


def _newest(events: DataFrame, kept: Column, place: Column, sequence: SequenceSettings, *keys: str) -> DataFrame:
    """Memory is bounded by the length."""
    newest = events.groupBy(*keys).agg(F.max_by(kept, place, sequence.length).alias("newest"))
    return newest.select(*keys, *[F.col(f"newest.{name}").alias(name) for name in kept_types(sequence)])


def _cast(column: SequenceColumn) -> Column:
    return F.expr(f"cast({column.value} as {column.type})")


def joined_on(sequence: SequenceSettings, since: datetime) -> dict[str, str]:
    """SQL by column: new events, ``+COLUMN``, before the old, ``-COLUMN``, less those from before ``since``."""
    inside = f"e -> e >= timestamp'{since:%Y-%m-%d %H:%M:%S} UTC'"
    # The newest come first: those that have left the window are the last ones, in every column.
    still = f"coalesce(size(filter(`-{SEQUENCE_TIME}`, {inside})), 0)"
    told = {}
    for name, kind in kept_types(sequence).items():
        nothing = f"cast(array() as {kind})"
        old = f"coalesce(slice(`-{name}`, 1, {still}), {nothing})"
        joined = f"slice(concat(coalesce(`+{name}`, {nothing}), {old}), 1, {sequence.length})"
        told[name] = f"cast({joined} as {kind})"
    return told


def told(sequence: SequenceSettings, end_micros: int) -> dict[str, str]:
    """SQL for the columns of a profile that is as of an instant, in microseconds since 1970; oldest first."""
    return {
        column.name: f"reverse(`{column.name}`)" if column.value else _gaps(end_micros) for column in sequence.columns
    }


def _gaps(end_micros: int) -> str:
    """Whole seconds from each event to the next, from the last one to the end."""
    following = f"slice(concat(array(timestamp_micros({end_micros}L)), {SEQUENCE_TIME}), 1, size({SEQUENCE_TIME}))"
    return f"reverse(zip_with({SEQUENCE_TIME}, {following}, (one, next) -> unix_seconds(next) - unix_seconds(one)))"
