"""Reading and writing the profile tables: what they hold, and one committed part after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import date, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.config.features import FeaturesConfig
from intent_spark.config.log import LOGGER
from intent_spark.lakehouse.lakehouse import NOT_THERE, Build, Lakehouse, present
from intent_spark.lakehouse.quality import days_to_cap
from intent_spark.lakehouse.shop import event_rows, read_events, recorded_shop, touched_days
from intent_spark.profiles.capped import capped
from intent_spark.profiles.contract import (
    definition_hash,
    feature_hashes,
    kept_in_days,
    profiles_contract,
    sequence_hash,
    states_contract,
    user_days_contract,
)
from intent_spark.profiles.direct import EventDays
from intent_spark.profiles.fold import Days, StoredDays
from intent_spark.profiles.items import EventFrames, held_within, items_read, no_items, with_items, without_known_item
from intent_spark.profiles.planner import Holdings, Size, Snapshot, judge_states
from intent_spark.profiles.profile import profiles_of
from intent_spark.profiles.slots import Slots
from intent_spark.profiles.state import build_state, same_slots
from intent_spark.profiles.user_days import user_days

JOB = "build_profiles"


class ProfileTables:
    """The tables of one warehouse under one set of declarations, read at the versions of ``inputs``."""

    def __init__(self, lakehouse: Lakehouse, features: FeaturesConfig, inputs: dict[str, int], profiles: str) -> None:
        self.lakehouse, self.features, self.inputs = lakehouse, features, inputs
        self.zone = recorded_shop(lakehouse).time_zone
        self.profiles = replace(profiles_contract(features), name=profiles)

    def events(
        self, days: Collection[date] | None = None, known_at: datetime | None = None, only: Column | None = None
    ) -> EventFrames:
        """The events that features count, with their items' columns where a declaration reads them.

        Args:
            days: only of these days.
            known_at: only what had come in by then: what is not known cannot be counted against the cap.
            only: only such events, of whole days of their users.
        """
        events, cap = read_events(self.lakehouse, self.inputs["events"], known_at), self.features.daily_cap
        events = events if days is None else events.where(F.col("event_date").isin(list(days)))
        events = events if only is None else events.where(only)
        if cap is not None:
            suspected = days_to_cap(self.lakehouse, touched_days(self.lakehouse) if days is None else days, cap)
            events = capped(events, cap, suspected)
        if not (read := items_read(self.features)):
            return EventFrames.of(events, capped=cap is not None)
        held = touched_days(self.lakehouse) if days is None else days
        described = with_items(events, self.items(), held, self.features.unknown_item, read)
        return EventFrames(described, events, capped=cap is not None)

    def create(self) -> None:
        """Make the tables that are missing, before anything is built side by side."""
        for contract in (states_contract(self.features), self.profiles):
            self.lakehouse.create(contract)

    def write_days(self, days: list[date], files: int) -> tuple[int, int]:
        """Replace some days of ``user_days``, each in so many files; gives rows read and rows written."""
        contract, lakehouse = user_days_contract(self.features), self.lakehouse
        lakehouse.create(contract)
        events = self.events(days)
        place = F.pmod(F.xxhash64("user_id"), F.lit(files))
        built = user_days(events, self.features).repartition("event_date", place).sortWithinPartitions("user_id")
        build = Build(JOB, [d.isoformat() for d in days], self.inputs, details={"columns": kept_in_days(self.features)})
        lakehouse.replace(built, contract, "event_date", days, build)
        written = lakehouse.read(contract.name).where(F.col("event_date").isin(days))
        folded = written.agg(F.sum("events"), F.count("*")).collect()[0]
        return int(folded[0] or 0), int(folded[1])

    def days(self, snapshot: Snapshot) -> Days:
        """The days that a snapshot is made of: as stored, or straight from the events."""
        if snapshot.strategy == "direct":
            return EventDays(self.events().where(F.col("event_date") < F.lit(snapshot.way.as_of)))
        return StoredDays(self.lakehouse.read("user_days"))

    def write_state(self, snapshot: Snapshot) -> None:
        """Replace the state of one date."""
        contract, way = states_contract(self.features), snapshot.way
        base = self.state(way.base.as_of) if way.base else None
        state = build_state(self.days(snapshot), self.features, way, self.zone, base)
        details = {
            "slots": same_slots(Slots(self.features)),
            "sequence": sequence_hash(self.features),
        }
        build = Build(JOB, [way.as_of.isoformat()], self.inputs, details=details)
        state = state.withColumn("as_of", F.lit(way.as_of)).sortWithinPartitions("user_id")
        self.lakehouse.replace(state, contract, "as_of", [way.as_of], build)

    def write_profiles(self, as_of: date) -> int:
        """Replace the profiles of one date by those of its state; gives their number."""
        profiles = profiles_of(self.state(as_of), self.users(as_of), self.features, as_of, self.zone)
        details = {"features": feature_hashes(self.features)}
        build = Build(JOB, [as_of.isoformat()], self.inputs, definition_hash(self.features), details)
        self.lakehouse.replace(profiles.sortWithinPartitions("user_id"), self.profiles, "as_of", [as_of], build)
        return self.lakehouse.read(self.profiles.name).where(F.col("as_of") == F.lit(as_of)).count()

    def state(self, as_of: date) -> DataFrame:
        """The stored state of a date, at the table's version of now: what is dropped meanwhile is still read.

        Raises:
            ContractError: it was dropped, by another run that keeps newer ones.
        """
        version = self.lakehouse.version("profile_states")
        if as_of not in _by_day(self.lakehouse, "profile_states"):
            raise ContractError(
                f"profile_states of {as_of} was dropped while it was needed, by another build_profiles that keeps the "
                "newest profiles.keep_states: run this one again."
            )
        return self.lakehouse.read("profile_states", version).where(F.col("as_of") == F.lit(as_of))

    def prune_states(self, keep: int) -> int:
        """Keep the states of the newest dates only; gives how many were dropped."""
        old = sorted(_by_day(self.lakehouse, "profile_states"))[:-keep]
        if old:
            self.lakehouse.drop("profile_states", "as_of", old)
        return len(old)

    def unknown_users(self, as_of: date) -> int:
        """How many profiles are of users who are not in ``users`` at the date: they have the declared defaults."""
        profiles = self.lakehouse.read(self.profiles.name).where(F.col("as_of") == F.lit(as_of))
        users = self.users(as_of)
        return profiles.count() if users is None else profiles.join(users, on="user_id", how="left_anti").count()

    def unknown_items(self, days: list[date]) -> int:
        """How many events of some days name an item that was not in ``items`` on its day."""
        events = self.lakehouse.read("events", self.inputs["events"]).where(F.col("event_date").isin(days))
        return without_known_item(events, held_within(self.items(), days)).count()

    def items(self) -> DataFrame:
        """The items that were there on some day; none of a shop that has told of none."""
        if self.inputs["items"] == NOT_THERE:
            return no_items(self.lakehouse.spark)
        return present(self.lakehouse.read("items", self.inputs["items"]))

    def users(self, as_of: date) -> DataFrame | None:
        """The users' attributes as they were at a date; None where the shop has none."""
        return self.lakehouse.as_known_at("users", as_of, self.inputs["users"]) if "users" in self.inputs else None


def holdings(
    lakehouse: Lakehouse, features: FeaturesConfig, touched: dict[date, int], unbuilt: Iterable[date]
) -> Holdings:
    """What planning asks of the tables."""
    states = _by_day(lakehouse, "profile_states")
    builds = {
        day: b for day, b in lakehouse.newest_builds("profile_states").items() if date.fromisoformat(day) in states
    }
    bases, spoilt = judge_states(builds, features, touched, item_changes(lakehouse, features))
    days, events = _by_day(lakehouse, "user_days"), event_sizes(lakehouse)
    return Holdings(touched, days, events, frozenset(unbuilt), states, bases, spoilt)


def event_sizes(lakehouse: Lakehouse) -> dict[date, Size]:
    """``events`` by day: rows by the ledger, bytes by the table's log."""
    stored = _by_day(lakehouse, "events")
    return {day: Size(rows, stored.get(day, Size()).bytes) for day, rows in event_rows(lakehouse).items()}


def item_changes(lakehouse: Lakehouse, features: FeaturesConfig) -> dict[int, date]:
    """By version of ``items`` the first day that it changed; nothing where no declaration reads them."""
    return lakehouse.changed_days("items") if items_read(features) and lakehouse.exists("items") else {}


def items_version(lakehouse: Lakehouse, features: FeaturesConfig) -> dict[str, int]:
    """The version of ``items`` to read, where a declaration reads them; a shop without items is told what it lacks."""
    if not (read := items_read(features)):
        return {}
    if lakehouse.exists("items"):
        return {"items": lakehouse.version("items")}
    LOGGER.warning(
        "step=build_profiles.items warehouse has no items: features that read %s take every item for an unknown one; "
        "after ingest_items the days are built again", ", ".join(sorted(read)),
    )  # fmt: skip
    return {"items": NOT_THERE}


def _by_day(lakehouse: Lakehouse, table: str) -> dict[date, Size]:
    return {date.fromisoformat(day): Size(*size) for day, size in lakehouse.partition_sizes(table).items()}
