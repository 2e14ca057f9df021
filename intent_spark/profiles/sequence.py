"""The last events of a user: aligned columns, newest first in days and states, oldest first in profiles."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import DataFrame

from intent_spark.config.features import SEQUENCE_TIME, SequenceSettings
from intent_spark.lakehouse.texts import folded_in_order, selected
from intent_spark.profiles.partials import event_condition

# While a state is cut to its window: how many last events stay; null where all do.
STILL = "events still within"
# What folding gives until it is taken apart: the last events as one array of structs.
NEWEST = "newest events"


def kept_types(sequence: SequenceSettings | None) -> dict[str, str]:
    """Spark's type of each column that days and states keep; a gap follows from the times."""
    if sequence is None:
        return {}
    return {SEQUENCE_TIME: "array<timestamp>"} | {c.name: f"array<{c.type}>" for c in sequence.columns if c.value}


def counted_events(sequence: SequenceSettings) -> str:
    """SQL that is true for the events that the sequence is made of."""
    return event_condition(sequence.event_types, sequence.filter)


def newest_of_events(events: DataFrame, sequence: SequenceSettings, *keys: str) -> DataFrame:
    """The last events by the keys."""
    return taken_apart(folded_in_order(events, keys, {NEWEST: newest(sequence)}), sequence)


def newest(sequence: SequenceSettings) -> str:
    """SQL that folds events to the last of them; of equal instants the larger event_id is the later one."""
    values = "".join(f", '{c.name}', cast({c.value} as {c.type})" for c in sequence.columns if c.value)
    kept = f"named_struct('{SEQUENCE_TIME}', event_time{values})"
    # A place that is null is passed over.
    place = f"if({counted_events(sequence)}, named_struct('event_time', event_time, 'event_id', event_id), null)"
    return f"max_by({kept}, {place}, {sequence.length})"


def newest_of_days(days: DataFrame, sequence: SequenceSettings, are_one: bool) -> DataFrame:
    """The last of the days' last events, by user; as they are where the days are but ``are_one``."""
    kept = [*kept_types(sequence)]
    if are_one:
        return days.select("user_id", *kept)
    some = days.where(f"size({SEQUENCE_TIME}) > 0")
    columns = ", ".join(f"'{name}', `{name}`" for name in kept)
    # No two rows of a user are of one day, and every row holds an event: no more days are needed than events.
    latest = f"max_by(named_struct({columns}), event_date, {sequence.length})"
    listed = folded_in_order(some, ("user_id",), {NEWEST: latest})
    flat = {name: f"slice(flatten(`{NEWEST}`.`{name}`), 1, {sequence.length})" for name in kept}
    return selected(listed, ("user_id",), flat)


def taken_apart(frame: DataFrame, sequence: SequenceSettings) -> DataFrame:
    """The columns of the last events in place of what ``newest`` made."""
    others = tuple(f"`{name}`" for name in frame.columns if name != NEWEST)
    return selected(frame, others, {name: f"`{NEWEST}`.`{name}`" for name in kept_types(sequence)})


def within_window(base: DataFrame, sequence: SequenceSettings, since: datetime) -> DataFrame:
    """A state less the last events from before ``since``; its other columns as they are."""
    start = f"timestamp'{since:%Y-%m-%d %H:%M:%S} UTC'"
    # The newest come first: those that have left are the last ones, in every column. Only a user whose oldest event has
    # left is looked at event by event, which a lambda does slowly.
    still = f"if(try_element_at({SEQUENCE_TIME}, -1) < {start}, size(filter({SEQUENCE_TIME}, e -> e >= {start})), null)"
    counted = selected(base, ("*",), {STILL: still})
    kept = {name: f"if(`{STILL}` is null, `{name}`, slice(`{name}`, 1, `{STILL}`))" for name in kept_types(sequence)}
    return selected(counted, tuple(f"`{name}`" for name in base.columns if name not in kept), kept)


def joined_on(sequence: SequenceSettings) -> dict[str, str]:
    """SQL by column: new events, ``+COLUMN``, before the old, ``-COLUMN``."""
    told = {}
    for name, kind in kept_types(sequence).items():
        old = f"coalesce(`-{name}`, cast(array() as {kind}))"
        joined = f"slice(concat(`+{name}`, {old}), 1, {sequence.length})"
        told[name] = f"cast(if(`+{name}` is null, {old}, {joined}) as {kind})"
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
