"""``maintain_tables``: fewer and larger files, the declared retention, and a vacuum that training sets survive."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from typing import ClassVar

from intent_spark.config.errors import UsageError
from intent_spark.config.log import step
from intent_spark.lakehouse.files import list_folders
from intent_spark.lakehouse.job import STALE, THERE, Job, JobContext, Plan, PlanItem, positive
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Lakehouse, table_properties
from intent_spark.maintenance.compaction import Crowd, compact, crowds
from intent_spark.maintenance.pins import EXAMPLES, on_table, pins
from intent_spark.maintenance.vacuum import Reach, check_pins, doomed_files, vacuum

COMPACTION, RETENTION, VACUUM = WORK = ("compaction", "retention", "vacuum")


class MaintainTables(Job):
    """The upkeep of every table of a warehouse; safe beside running jobs."""

    name: ClassVar[str] = "maintain_tables"
    description: ClassVar[str] = "Compact small files, set retention, delete files that nothing within it reads."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--table", action="append", help="only this table; may be given repeatedly")
        parser.add_argument("--only", action="append", choices=WORK, help="only this work; may be given repeatedly")
        parser.add_argument(
            "--retain-days", type=positive, metavar="DAYS",
            help="vacuum files that were replaced longer ago (default: retention.deleted_files_days)",
        )  # fmt: skip

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """What each table needs. A vacuum that would break a training set is refused before anything is done."""
        lakehouse, settings = context.lakehouse, context.settings
        tables, work = _tables(lakehouse, options.table), set(options.only or WORK)
        reach = Reach(options.retain_days or settings.retention.deleted_files_days, settings.retention.log_days)
        _check_running_jobs(reach, settings.maintenance.longest_job_hours)
        unset = _unset(context, tables) if RETENTION in work else {}
        # Training reads a set's files in the order in which they were written.
        compacted = [table for table in tables if table != EXAMPLES] if COMPACTION in work else []
        small = {table: crowds(lakehouse, table, settings.maintenance) for table in compacted}
        doomed = _doomed(lakehouse, tables, reach) if VACUUM in work else {}
        items = [_item(RETENTION, table, ", ".join(values.values())) for table, values in unset.items()]
        items += [_item(COMPACTION, table, _told(found)) for table, found in small.items()]
        items += [_item(VACUUM, table, f"{len(f)} files" if f else "") for table, f in doomed.items()]
        return Plan(items, {"unset": unset, "small": small, "doomed": doomed, "reach": reach})

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Retention first, then compaction, whose replaced files the vacuum of another day deletes."""
        lakehouse = context.lakehouse
        for table, values in plan.inputs["unset"].items():
            if values:
                _set(lakehouse, table, values)
        before, after, left = 0, 0, 0
        for table, found in plan.inputs["small"].items():
            if not found:
                continue
            with step("maintain_tables.compaction", table=table, partitions=len(found)) as counts:
                counts |= compact(lakehouse, found, context.settings.maintenance)
            before, after, left = before + counts["files_before"], after + counts["files_after"], left + counts["left"]
        deleted = 0
        for table, names in plan.inputs["doomed"].items():
            if names:
                with step("maintain_tables.vacuum", table=table, days=plan.inputs["reach"].days) as counts:
                    vacuum(lakehouse, table, plan.inputs["reach"])
                    counts["files"] = len(names)
                deleted += len(names)
        waiting = f", {left} partitions left because a job was at work on them" if left else ""
        return Outcome(f"{before} small files became {after}, {deleted} files deleted{waiting}", before, after)


def _tables(lakehouse: Lakehouse, asked: Iterable[str] | None) -> list[str]:
    there = [name for name in list_folders(lakehouse.spark, lakehouse.root) if lakehouse.exists(name)]
    if not there:
        raise UsageError(f"warehouse {lakehouse.root} has no table; run ingest_events first, or check --warehouse.")
    unknown = sorted(set(asked or ()) - set(there))
    if unknown:
        raise UsageError(f"warehouse {lakehouse.root} has no table {', '.join(unknown)}; it has {', '.join(there)}.")
    return sorted(set(asked)) if asked else there


def _check_running_jobs(reach: Reach, hours: int) -> None:
    if reach.days * 24 < hours:
        raise UsageError(
            f"--retain-days {reach.days} would delete what a job of the last {hours} hours may still read or write "
            "(maintenance.longest_job_hours); keep more days, or lower that figure if no job takes so long."
        )


def _unset(context: JobContext, tables: list[str]) -> dict[str, dict[str, str]]:
    """By table the properties that differ from the configuration."""
    wanted = table_properties(context.settings.retention)
    there = {table: context.lakehouse.properties(table) for table in tables}
    return {table: {k: v for k, v in wanted.items() if there[table].get(k) != v} for table in tables}


def _set(lakehouse: Lakehouse, table: str, values: dict[str, str]) -> None:
    told = ", ".join(f"'{key}' = '{value}'" for key, value in values.items())
    lakehouse.spark.sql(f"ALTER TABLE delta.`{lakehouse.path(table)}` SET TBLPROPERTIES ({told})")


def _doomed(lakehouse: Lakehouse, tables: list[str], reach: Reach) -> dict[str, set[str]]:
    pinned = pins(lakehouse)
    found = {}
    for table in tables:
        found[table] = doomed_files(lakehouse, table, reach)
        check_pins(lakehouse, table, on_table(pinned, table), found[table], reach)
    return found


def _told(found: list[Crowd]) -> str:
    if not found:
        return ""
    files, size = sum(crowd.files for crowd in found), sum(crowd.bytes for crowd in found)
    return f"{files} small files of {size / 1e6:.1f} MB in {len(found)} partitions"


def _item(work: str, table: str, needed: str) -> PlanItem:
    return PlanItem(f"{work} {table}", STALE if needed else THERE, needed)
