"""The ways to a profile, called without tables: what the job does, on frames."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from pyspark.sql import DataFrame

from intent_spark.config.features import FeaturesConfig
from intent_spark.profiles.contract import states_contract
from intent_spark.profiles.direct import EventDays
from intent_spark.profiles.fold import StoredDays
from intent_spark.profiles.items import EventFrames
from intent_spark.profiles.profile import profiles_of
from intent_spark.profiles.slots import Slots
from intent_spark.profiles.state import Base, build_state, find_way, same_slots


def merged_state(days: DataFrame, features: FeaturesConfig, as_of: date, zone: str) -> DataFrame:
    """The state of a date from the days alone."""
    return build_state(StoredDays(days), features, find_way(Slots(features), as_of, None), zone)


def direct_state(events: DataFrame, features: FeaturesConfig, as_of: date, zone: str) -> DataFrame:
    """The state of a date straight from the events."""
    return build_state(EventDays(EventFrames.of(events)), features, find_way(Slots(features), as_of, None), zone)


def rolled_state(days: DataFrame, features: FeaturesConfig, dates: Iterable[date], zone: str) -> DataFrame:
    """The state of the last date by way of the dates before it; each is written out, as the table would have it."""
    first, *later = dates
    state, at = merged_state(days, features, first, zone).localCheckpoint(), first
    slots = Slots(features)
    for as_of in later:
        way = find_way(slots, as_of, Base(at, same_slots(list(slots))))
        state, at = build_state(StoredDays(days), features, way, zone, state).localCheckpoint(), as_of
    assert set(state.columns) == {c.name for c in states_contract(features).columns} - {"as_of"}
    return state


def build_profile(
    days: DataFrame, users: DataFrame | None, features: FeaturesConfig, as_of: date, zone: str
) -> DataFrame:
    """Profiles by merging days."""
    return profiles_of(merged_state(days, features, as_of, zone), users, features, as_of, zone)
