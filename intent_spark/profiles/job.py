"""``build_profiles``: events to user_days, user_days to profiles, for the dates that lack them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import date
from typing import ClassVar

from pyspark.sql import functions as F

from intent_spark.config.errors import UsageError
from intent_spark.config.log import step
from intent_spark.lakehouse.job import (
    MISSING,
    STALE,
    THERE,
    Job,
    JobContext,
    Plan,
    PlanItem,
    day_range,
    iso_day,
    positive,
)
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.lakehouse.shop import data_range, recorded_shop, touched_days
from intent_spark.profiles.contract import (
    definition_hash,
    partials_hash,
    profiles_contract,
    user_days_contract,
)
from intent_spark.profiles.declarations import check_declarations
from intent_spark.profiles.merge import build_profile
from intent_spark.profiles.user_days import user_days

DAYS_PER_COMMIT = 92


class BuildProfiles(Job):
    """Daily partials of the events, and from these the users' profiles at one or more dates."""

    name: ClassVar[str] = "build_profiles"
    description: ClassVar[str] = "Aggregate events into user_days and these into the profiles of every user at a date."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--as-of", type=iso_day, action="append", help="snapshot date; may be given repeatedly")
        parser.add_argument("--start-date", type=iso_day, help="first snapshot date of a half-open range")
        parser.add_argument("--end-date", type=iso_day, help="day after the last snapshot date")
        parser.add_argument(
            "--step-days", type=positive, default=1, help="days between the range's snapshots (default: 1)"
        )

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """The days of user_days and the snapshots that are missing or stale."""
        check_declarations(context.spark, context.settings.features)
        wanted = _wanted_dates(options)
        first, end = data_range(context.lakehouse)
        for as_of in wanted:
            if not first < as_of <= end:
                raise UsageError(
                    f"--as-of {as_of} is outside the data: events cover [{first}, {end}), so {first} < as_of <= {end}."
                )
        touched = touched_days(context.lakehouse)
        days = _day_items(context, touched, max(wanted))
        snapshots = _snapshot_items(context, touched, wanted)
        items = [*days.values(), *snapshots.values()]
        todo_days = [day for day, item in days.items() if item.state != THERE]
        todo_dates = [day for day, item in snapshots.items() if item.state != THERE]
        return Plan(items, {"days": todo_days, "dates": todo_dates, "events": max(touched.values())})

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Build what the plan lacks, oldest first, each part a commit of its own."""
        lakehouse = context.lakehouse
        # Only what the ledger confirms: a batch that is still half ingested makes all this stale when it is done.
        inputs = {"events": plan.inputs["events"]}
        inputs |= {"users": lakehouse.version("users")} if lakehouse.exists("users") else {}
        rows_in = _build_days(context, plan.inputs["days"], inputs)
        rows_out = sum(_build_snapshot(context, as_of, inputs) for as_of in plan.inputs["dates"])
        message = (
            f"{len(plan.inputs['days'])} days and {len(plan.inputs['dates'])} snapshots built: {rows_out} profiles"
        )
        return Outcome(message, rows_in, rows_out, inputs)


def _wanted_dates(options: Namespace) -> list[date]:
    if options.as_of and (options.start_date or options.end_date):
        raise UsageError("--as-of names single dates, --start-date and --end-date a range; use one of the two.")
    if options.as_of:
        return sorted(set(options.as_of))
    if not (options.start_date and options.end_date):
        raise UsageError("say which snapshots: --as-of DAY, or --start-date DAY --end-date DAY.")
    return day_range(options.start_date, options.end_date, options.step_days)


def _day_items(context: JobContext, touched: dict[date, int], latest: date) -> dict[date, PlanItem]:
    builds = context.lakehouse.newest_builds("user_days")
    definition = partials_hash(context.settings.features)
    return {
        day: _item(f"user_days {day}", builds.get(day.isoformat()), version, definition)
        for day, version in touched.items()
        if day < latest
    }


def _snapshot_items(context: JobContext, touched: dict[date, int], wanted: list[date]) -> dict[date, PlanItem]:
    builds = context.lakehouse.newest_builds("profiles")
    definition = definition_hash(context.settings.features)
    users = context.lakehouse.version("users") if context.lakehouse.exists("users") else None
    items = {}
    for as_of in wanted:
        version = max(version for day, version in touched.items() if day < as_of)
        build = builds.get(as_of.isoformat())
        item = _item(f"profiles {as_of}", build, version, definition)
        if item.state == THERE and build and build.inputs.get("users") != users:
            item = PlanItem(item.what, STALE, "the users have changed")
        items[as_of] = item
    return items


def _item(what: str, build: Build | None, needed_version: int, definition: str) -> PlanItem:
    if build is None:
        return PlanItem(what, MISSING)
    if build.definition != definition:
        return PlanItem(what, STALE, "built under another definition")
    if build.inputs["events"] < needed_version:
        return PlanItem(what, STALE, "late events touched its days")
    return PlanItem(what, THERE)


def _build_days(context: JobContext, days: list[date], inputs: dict[str, int]) -> int:
    features, lakehouse = context.settings.features, context.lakehouse
    contract = user_days_contract(features)
    lakehouse.create(contract)
    total = 0
    for start in range(0, len(days), DAYS_PER_COMMIT):
        chunk = days[start : start + DAYS_PER_COMMIT]
        with step("build_profiles.user_days", first=chunk[0], last=chunk[-1], days=len(chunk)) as counts:
            events = lakehouse.read("events", inputs["events"]).where(F.col("event_date").isin(chunk))
            built = user_days(events, features).repartition("event_date").sortWithinPartitions("user_id")
            build = Build("build_profiles", [d.isoformat() for d in chunk], inputs, partials_hash(features))
            lakehouse.replace(built, contract, "event_date", chunk, build)
            counts["events"] = events.count()
            counts["rows"] = lakehouse.read(contract.name).where(F.col("event_date").isin(chunk)).count()
            total += counts["events"]
    return total


def _build_snapshot(context: JobContext, as_of: date, inputs: dict[str, int]) -> int:
    features, lakehouse = context.settings.features, context.lakehouse
    contract = profiles_contract(features)
    lakehouse.create(contract)
    with step("build_profiles.profiles", as_of=as_of) as counts:
        users = None
        if "users" in inputs:
            users = lakehouse.as_known_at("users", as_of, inputs["users"])
        days = lakehouse.read("user_days")
        profile = build_profile(days, users, features, as_of, recorded_shop(lakehouse).time_zone)
        build = Build("build_profiles", [as_of.isoformat()], inputs, definition_hash(features))
        lakehouse.replace(profile, contract, "as_of", [as_of], build)
        counts["rows"] = lakehouse.read(contract.name).where(F.col("as_of") == F.lit(as_of)).count()
    return int(counts["rows"])
