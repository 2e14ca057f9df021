"""``build_profiles``: events to user_days, user_days to profiles, for the dates that lack them."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from typing import Any, ClassVar

from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.log import LOGGER, step
from intent_spark.lakehouse.job import (
    THERE,
    Job,
    JobContext,
    Plan,
    PlanItem,
    day_range,
    iso_day,
    positive,
)
from intent_spark.lakehouse.job_runs import Cost, Outcome, last_costs
from intent_spark.lakehouse.lakehouse import Build, Lakehouse
from intent_spark.lakehouse.quality import check_gates
from intent_spark.lakehouse.reads import Made, counting_reads
from intent_spark.lakehouse.session import one_pass_folds
from intent_spark.lakehouse.shop import data_range, touched_days
from intent_spark.profiles.contract import definition_hash, feature_hashes
from intent_spark.profiles.declarations import check_declarations
from intent_spark.profiles.items import items_read
from intent_spark.profiles.late import moved
from intent_spark.profiles.planner import (
    DAYS,
    Size,
    Snapshot,
    plan_snapshots,
    seconds_per_row,
)
from intent_spark.profiles.snapshot_statistics import write_statistics
from intent_spark.profiles.staleness import LATE, PROFILES, day_items, snapshot_items, statistics_items
from intent_spark.profiles.tables import JOB, ProfileTables, event_sizes, holdings, items_version

DAYS_PER_COMMIT = 92
STAGING = "profiles_staging"


class BuildProfiles(Job):
    """Daily partials of the events, and from these the users' profiles at one or more dates."""

    name: ClassVar[str] = JOB
    description: ClassVar[str] = "Aggregate events into user_days and these into the profiles of every user at a date."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--as-of", type=iso_day, action="append", help="snapshot date; may be given repeatedly")
        parser.add_argument("--start-date", type=iso_day, help="first snapshot date of a half-open range (backfill)")
        parser.add_argument("--end-date", type=iso_day, help="day after the last snapshot date")
        parser.add_argument(
            "--stale", action="store_true", help="every snapshot that the table holds and that is not up to date"
        )
        parser.add_argument("--step-days", type=positive, help="days between the range's snapshots (default: 1)")
        parser.add_argument(
            "--strategy", choices=("auto", "roll", "merge", "direct"), default="auto",
            help="how snapshots are made: rolled on from an earlier one, merged from user_days, directly from events; "
            "all give equal rows (default: auto, what the last runs say is quickest, else what folds least)",
        )  # fmt: skip
        parser.add_argument(
            "--parallelism", type=positive, default=1, help="snapshots built at the same time (default: 1)"
        )
        parser.add_argument(
            "--staged", action="store_true",
            help=f"build into {STAGING}, check, and only then replace the profiles, in one commit",
        )  # fmt: skip

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """The days of user_days and the snapshots that are missing or stale, and how each would be made."""
        features, lakehouse = context.settings.features, context.lakehouse
        check_declarations(context.spark, features)
        wanted = _wanted_dates(lakehouse, options)
        _check_dates(context, wanted)
        check_gates(lakehouse, max(wanted))
        # Told before what is stale is judged: what is ingested meanwhile makes stale what is built here.
        dimensions = _dimensions(context)
        touched = touched_days(lakehouse)
        days = day_items(context, touched, max(wanted))
        snapshots = snapshot_items(context, touched, wanted)
        unbuilt = [day for day, item in days.items() if item.state != THERE]
        todo_dates = [day for day, item in snapshots.items() if item.state != THERE]
        rates = _rates(context)
        runs = _ways(context, touched, unbuilt, todo_dates, options, rates)
        needed = sorted({day for run in runs for way in run for day in way.builds})
        for way in (way for run in runs for way in run):
            item = snapshots[way.way.as_of]
            why = "; ".join(filter(None, [item.why, way.describe()]))
            snapshots[way.way.as_of] = PlanItem(item.what, item.state, why)
        late = [day for day in todo_dates if snapshots[day].why.startswith(LATE)]
        there = [day for day, item in snapshots.items() if item.state == THERE]
        measures = statistics_items(context, there) if context.settings.profiles.statistics else {}
        inputs = {
            "days": needed, "day_rate": rates.get(DAYS), "runs": runs, "events": max(touched.values()), "late": late,
            "dimensions": dimensions, "unmeasured": [day for day, item in measures.items() if item.state != THERE],
        }  # fmt: skip
        return Plan([*_told(days, needed), *snapshots.values(), *measures.values()], inputs)

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Build what the plan lacks, oldest first, each part a commit of its own."""
        inputs = _input_versions(context, plan)
        tables = ProfileTables(context.lakehouse, context.settings.features, inputs, PROFILES)
        before = context.lakehouse.version(PROFILES) if plan.inputs["late"] else 0
        target = tables
        if options.staged:
            target = ProfileTables(context.lakehouse, context.settings.features, inputs, STAGING)
        kept = context.settings.profiles
        dates = [way.way.as_of for run in plan.inputs["runs"] for way in run]
        with one_pass_folds(context.spark):
            rows_in, costs = _build_days(tables, plan.inputs["days"], kept.rows_per_file, plan.inputs["day_rate"])
            rows_out, of_snapshots = _build_snapshots(target, plan.inputs["runs"])
        if options.staged and dates:
            _swap(tables, target, dates)
        if dates and (dropped := tables.prune_states(kept.keep_states)):
            LOGGER.info("step=build_profiles.prune_states dropped=%d kept=%d", dropped, kept.keep_states)
        measured = dates if kept.statistics else []
        # Oldest first: each is compared with the one before it.
        for as_of in sorted({*measured, *plan.inputs["unmeasured"]}):
            with step("build_profiles.statistics", as_of=as_of) as counts:
                counts.update(write_statistics(tables, as_of))
        for as_of in plan.inputs["late"]:
            _tell_moved(tables, as_of, before)
        message = f"{len(plan.inputs['days'])} days and {len(dates)} snapshots built: {rows_out} profiles"
        return Outcome(message, rows_in, rows_out, inputs, costs=[*costs, *of_snapshots])


def _wanted_dates(lakehouse: Lakehouse, options: Namespace) -> list[date]:
    if sum([bool(options.as_of), bool(options.start_date or options.end_date), options.stale]) > 1:
        raise UsageError(
            "--as-of names single dates, --start-date and --end-date a range, --stale all that are there; use one."
        )
    if options.step_days and not options.start_date:
        raise UsageError("--step-days is of a range: say --start-date and --end-date, or leave it out.")
    if options.stale:
        lakehouse.require(PROFILES, "build_profiles --as-of DAY")
        if not (there := sorted(lakehouse.partition_sizes(PROFILES))):
            raise UsageError(f"warehouse {lakehouse.root} has no profiles yet; run build_profiles --as-of DAY first.")
        return [date.fromisoformat(day) for day in there]
    if options.as_of:
        return sorted(set(options.as_of))
    if not (options.start_date and options.end_date):
        raise UsageError("say which snapshots: --as-of DAY, or --start-date DAY --end-date DAY, or --stale.")
    return day_range(options.start_date, options.end_date, options.step_days or 1)


def _check_dates(context: JobContext, wanted: list[date]) -> None:
    first, end = data_range(context.lakehouse)
    for as_of in wanted:
        if not first < as_of <= end:
            raise UsageError(
                f"--as-of {as_of} is outside the data: events cover [{first}, {end}), so {first} < as_of <= {end}."
            )


def _dimensions(context: JobContext) -> dict[str, int]:
    """The versions of users and items to read."""
    lakehouse = context.lakehouse
    users = {"users": lakehouse.version("users")} if lakehouse.exists("users") else {}
    return users | items_version(lakehouse, context.settings.features)


def _input_versions(context: JobContext, plan: Plan) -> dict[str, int]:
    """What the run reads. Of events only what the ledger confirms: a batch half ingested makes it all stale later."""
    events = context.lakehouse.newest_equal("events", plan.inputs["events"])
    return {"events": events, **plan.inputs["dimensions"]}


def _told(days: dict[date, PlanItem], needed: list[date]) -> list[PlanItem]:
    """The days that are there or are to be built; those that no snapshot asks for in one line."""
    chosen = set(needed)
    told = [item for day, item in days.items() if item.state == THERE or day in chosen]
    left = len(days) - len(told)
    return [*told, *([PlanItem(f"user_days of {left} more days", THERE, "not asked for, not built")] if left else [])]


def _rates(context: JobContext) -> dict[str, float]:
    """Seconds that the last runs took for a row, by strategy."""
    return seconds_per_row(last_costs(context.lakehouse, JOB))


def _ways(
    context: JobContext, touched: dict[date, int], unbuilt: list[date], dates: list[date], options: Namespace,
    rates: dict[str, float],
) -> list[list[Snapshot]]:  # fmt: skip
    """How each date is made: a list for each of the runs that may go on side by side."""
    if not dates:
        return []
    features = context.settings.features
    held = holdings(context.lakehouse, features, touched, unbuilt)
    size = -(-len(dates) // options.parallelism)
    parts = [dates[start : start + size] for start in range(0, len(dates), size)]
    return [plan_snapshots(part, features, held, options.strategy, rates) for part in parts]


def _build_days(
    tables: ProfileTables, days: list[date], rows_per_file: int, rate: float | None
) -> tuple[int, list[Cost]]:
    """Build days in committed chunks; gives the events read and what that cost."""
    if not days:
        return 0, []
    total, started = 0, time.monotonic()
    sizes = event_sizes(tables.lakehouse)
    for start in range(0, len(days), DAYS_PER_COMMIT):
        chunk = days[start : start + DAYS_PER_COMMIT]
        reads = [sizes.get(day, Size()) for day in chunk]
        whole = sum(reads, Size())
        fields = {"first": chunk[0], "last": chunk[-1], "days": len(chunk)}
        fields |= _predicted(whole, None if rate is None else rate * whole.rows)
        with step("build_profiles.user_days", **fields) as counts:
            files = -(-max(size.rows for size in reads) // rows_per_file)
            write = partial(tables.write_days, chunk, max(files, 1))
            counts["events"], counts["rows"] = _counted(tables, write, counts)
            if items_read(tables.features):
                counts["unknown_items"] = tables.unknown_items(chunk)
            total += counts["events"]
    return total, [Cost(DAYS, total, time.monotonic() - started)]


def _predicted(reads: Size, seconds: float | None) -> dict[str, object]:
    fields: dict[str, object] = {"predicted_rows": reads.rows, "predicted_bytes": reads.bytes}
    return fields if seconds is None else fields | {"predicted_seconds": round(seconds, 1)}


def _counted(tables: ProfileTables, write: Callable[[], Made], counts: dict[str, Any]) -> Made:
    """Write, and count what was read for it beside what was predicted."""
    made, reads = counting_reads(tables.lakehouse.spark, write)
    counts.update(read_rows=reads.rows, read_bytes=reads.bytes)
    return made


def _build_snapshots(tables: ProfileTables, runs: list[list[Snapshot]]) -> tuple[int, list[Cost]]:
    """Build the runs side by side, the dates of each one after the other: they roll from one to the next.

    Gives the profiles written and what each date cost, the newest first.
    """

    def build(run: list[Snapshot]) -> list[tuple[int, Cost]]:
        return [_build_snapshot(tables, snapshot) for snapshot in run]

    tables.create()
    with ThreadPoolExecutor(max(len(runs), 1)) as pool:
        built = [snapshot for run in pool.map(build, runs) for snapshot in run]
    return sum(rows for rows, _ in built), [cost for _, cost in reversed(built)]


def _build_snapshot(tables: ProfileTables, snapshot: Snapshot) -> tuple[int, Cost]:
    as_of, reads = snapshot.way.as_of, snapshot.reads
    fields = {"as_of": as_of, "strategy": snapshot.strategy, **({"why": snapshot.why} if snapshot.why else {})}
    fields |= _predicted(reads, snapshot.seconds)
    with step("build_profiles.profiles", **fields) as counts:
        started = time.monotonic()
        if not snapshot.way.is_there:
            _counted(tables, partial(tables.write_state, snapshot), counts)
        counts["rows"] = tables.write_profiles(as_of)
        if tables.features.user:
            counts["unknown_users"] = tables.unknown_users(as_of)
    return int(counts["rows"]), Cost(snapshot.strategy, reads.rows, time.monotonic() - started)


def _swap(tables: ProfileTables, staged: ProfileTables, dates: list[date]) -> None:
    """Check the staged profiles and put them in place of the old ones, all dates in one commit.

    Raises:
        ContractError: a user is missing or there twice; the profiles are as they were.
    """
    lakehouse = tables.lakehouse
    built = lakehouse.read(STAGING).where(F.col("as_of").isin(dates))
    with step("build_profiles.swap", dates=len(dates)) as counts:
        users = built.groupBy("as_of").agg(F.count("*").alias("rows"), F.countDistinct("user_id").alias("users"))
        found = {row["as_of"]: (row["rows"], row["users"]) for row in users.collect()}
        for as_of in dates:
            wanted = tables.state(as_of).count()
            if found.get(as_of) != (wanted, wanted):
                raise ContractError(
                    f"{STAGING} {as_of}: {found.get(as_of)} rows and users where the state has {wanted}; "
                    "the profiles were left as they are."
                )
        details = {"features": feature_hashes(tables.features)}
        build = Build(JOB, [d.isoformat() for d in dates], tables.inputs, definition_hash(tables.features), details)
        tables.create()
        lakehouse.replace(built, tables.profiles, "as_of", dates, build)
        lakehouse.drop(STAGING, "as_of", dates)
        counts["rows"] = sum(rows for rows, _ in found.values())


def _tell_moved(tables: ProfileTables, as_of: date, version: int) -> None:
    with step("build_profiles.moved", as_of=as_of) as counts:
        at = F.col("as_of") == F.lit(as_of)
        before = tables.lakehouse.read(PROFILES, version).where(at)
        counts.update(moved(before, tables.lakehouse.read(PROFILES).where(at), tables.features).counts())
