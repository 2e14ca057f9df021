"""``maintain_tables`` on a warehouse of a few tables: what it does, what it leaves alone, what it refuses."""

from __future__ import annotations

import json
import os
import time
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.loading import load_settings
from intent_spark.config.settings import Settings
from intent_spark.lakehouse import versions
from intent_spark.lakehouse.contract import Column, TableContract
from intent_spark.lakehouse.job import JobContext, Plan, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Build, Lakehouse
from intent_spark.lakehouse.shop import touched_days
from intent_spark.maintenance.job import MaintainTables
from intent_spark.maintenance.pins import Pin, pins
from intent_spark.pipeline.options import build_parser
from intent_spark.profiles.job import BuildProfiles
from tests.profiles.frames import add_events
from tests.profiles.naive_oracle import Event
from tests.profiles.test_build_profiles import at, few_features, quiet_settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("maintenance")]


@pytest.fixture(scope="module")
def warehouse(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> JobContext:
    """Five batches of one day's events, and the profiles made of them."""
    settings = quiet_settings(few_features())
    lakehouse = Lakehouse(spark, str(tmp_path_factory.mktemp("maintained") / "warehouse"))
    for number in range(5):
        add_events(lakehouse, [Event(f"u{number}", f"e{number}", "view", at("2026-03-01"))], f"b{number}")
    context = JobContext(settings, spark, lakehouse)
    build(context)
    return context


def build(context: JobContext) -> Outcome:
    job = BuildProfiles()
    return execute(job, context, build_parser(job).parse_args(["--as-of", "2026-03-02"]))


def maintain(context: JobContext, *words: str) -> Outcome:
    job = MaintainTables()
    return execute(job, context, build_parser(job).parse_args(list(words)))


def planned(context: JobContext, *words: str) -> Plan:
    job = MaintainTables()
    return job.plan(context, build_parser(job).parse_args(list(words)))


def with_settings(context: JobContext, *overrides: str) -> JobContext:
    changed = load_settings("local", ["profiles.statistics=false", *overrides])
    settings: Settings = changed.model_copy(update={"features": context.settings.features})
    lakehouse = Lakehouse(context.spark, context.lakehouse.root, settings.retention)
    return JobContext(settings, context.spark, lakehouse)


def test_upkeep_from_the_first_to_the_last(warehouse: JobContext) -> None:
    """Compaction changes no row and makes nothing stale; the second run finds nothing to do."""
    lakehouse = warehouse.lakehouse
    before = lakehouse.read("events").orderBy("event_id").collect()
    files = len(lakehouse.read("events").inputFiles())
    touched, version = touched_days(lakehouse), lakehouse.version("events")
    told = [line for line in planned(warehouse, "--only", "compaction").lines() if "compaction events" in line]
    assert len(told) == 1 and "5 small files" in told[0] and "in 1 partitions" in told[0]
    assert lakehouse.version("events") == version, "planning changes nothing"

    done = maintain(warehouse, "--only", "compaction", "--table", "events", "--table", "ingest_ledger")
    assert (files, len(lakehouse.read("events").inputFiles())) == (5, 1)
    assert (done.rows_in, done.rows_out) == (10, 2)
    assert lakehouse.read("events").orderBy("event_id").collect() == before
    assert touched_days(lakehouse) == touched
    assert lakehouse.rows_version("events") == version < lakehouse.version("events")
    assert lakehouse.newest_equal("events", version) == lakehouse.version("events")
    assert lakehouse.newest_equal("events", version - 1) == version - 1
    log = Path(lakehouse.path("events")) / "_delta_log" / f"{lakehouse.version('events'):020d}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    changed = [a[k]["dataChange"] for a in actions for k in ("add", "remove") if k in a]
    assert len(changed) == 6 and not any(changed)
    assert build(warehouse).status == "nothing_to_do"
    assert maintain(warehouse, "--only", "compaction", "--table", "events").status == "nothing_to_do"


def test_users_that_were_only_compacted_make_no_profile_stale(warehouse: JobContext) -> None:
    from intent_spark.dimensions.contract import USERS

    lakehouse = warehouse.lakehouse
    row = ("u1", date(2026, 1, 1), None, [date(2026, 1, 1)], None, 30, "f", 1, date(2026, 1, 1), True, None)
    lakehouse.create(USERS)
    for _ in range(4):
        frame = lakehouse.spark.createDataFrame([row], USERS.schema()).coalesce(1)
        frame.write.format("delta").mode("append").save(lakehouse.path("users"))
        row = (f"{row[0]}x", *row[1:])  # type: ignore[assignment]
    assert build(warehouse).status == "succeeded", "the users are new"
    maintain(warehouse, "--only", "compaction", "--table", "users")
    assert len(lakehouse.read("users").inputFiles()) == 1
    assert build(warehouse).status == "nothing_to_do"


def test_retention_is_set_where_it_differs(warehouse: JobContext) -> None:
    shorter = with_settings(warehouse, "retention.deleted_files_days=30", "retention.log_days=60")
    lakehouse = warehouse.lakehouse
    assert planned(warehouse, "--only", "retention").todo == []
    maintain(shorter, "--only", "retention", "--table", "events")
    properties = lakehouse.properties("events")
    assert properties["delta.deletedFileRetentionDuration"] == "interval 30 days"
    assert properties["delta.logRetentionDuration"] == "interval 60 days"
    assert properties["intent_spark.shop.currency"] == "EUR"
    assert maintain(shorter, "--only", "retention", "--table", "events").status == "nothing_to_do"
    assert build(warehouse).status == "nothing_to_do"
    maintain(warehouse, "--only", "retention")


def aged(lakehouse: Lakehouse, table: str, days: int) -> None:
    """The table as it would be if it had been written that many days and an hour ago and nothing since."""
    # The versions follow by a second each: without the hour the newest would be younger than the days for some seconds.
    root, seconds = Path(lakehouse.path(table)), time.time() - days * 86_400 - 3600
    for log in (root / "_delta_log").glob("*.json"):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        for action in lines:
            for key, field in (
                ("commitInfo", "timestamp"),
                ("remove", "deletionTimestamp"),
                ("add", "modificationTime"),
            ):
                if key in action:
                    action[key][field] = int(seconds * 1000) + int(log.stem)
        log.write_text("\n".join(json.dumps(action) for action in lines) + "\n")
    for crc in (root / "_delta_log").glob(".*.crc"):
        crc.unlink()
    for file in root.rglob("*"):
        if file.is_file():
            moved = seconds + (int(file.stem) if file.suffix == ".json" else 0)
            os.utime(file, (moved, moved))
    lakehouse.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr,operator]


SALES = TableContract(
    "sales", "one sale", "test", (Column("day", "date", "the day"), Column("amount", "bigint", "money")), ("day",), ("day",)
)  # fmt: skip


@pytest.fixture
def replaced(context: JobContext) -> JobContext:
    """A table of two versions with rows, the second in the place of the first, 50 days ago."""
    lakehouse, day = context.lakehouse, date(2026, 3, 2)
    lakehouse.create(SALES)
    for amount in (1, 2):
        frame = context.spark.createDataFrame([(day, amount)], "day date, amount bigint").coalesce(1)
        lakehouse.replace(frame, SALES, "day", [day], Build("test", [day.isoformat()]))
    aged(lakehouse, "sales", 50)
    return context


def amounts(lakehouse: Lakehouse, version: int | None = None) -> list[int]:
    return [row["amount"] for row in lakehouse.read("sales", version).collect()]


def pinned_by_a_model(lakehouse: Lakehouse, version: int) -> Path:
    folder = Path(lakehouse.path("models")) / "0123456789ab"
    folder.mkdir(parents=True)
    manifest = {"examples": {"version": 4}, "lineage": {"table_versions": {"sales": version}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_vacuum_never_cuts_below_a_training_set(replaced: JobContext) -> None:
    lakehouse = replaced.lakehouse
    folder = pinned_by_a_model(lakehouse, 1)
    assert pins(lakehouse) == [Pin("examples", 4, "model 0123456789ab"), Pin("sales", 1, "model 0123456789ab")]
    wanted = (
        r"table sales: version 1 is read by model 0123456789ab, which keeping replaced files for 30 days would make "
        r"unreadable; keep 51 days \(--retain-days\), or delete the folder of a model that nobody needs\. Nothing was"
    )
    with pytest.raises(ContractError, match=wanted) as caught:
        maintain(replaced, "--retain-days", "30")
    assert caught.value.exit_code == 3
    assert amounts(lakehouse, 1) == [1]
    assert maintain(replaced, "--retain-days", "51", "--only", "vacuum").status == "nothing_to_do"

    (folder / "manifest.json").unlink()
    folder.rmdir()
    assert [i.what for i in planned(replaced, "--retain-days", "30", "--only", "vacuum").todo] == ["vacuum sales"]
    assert maintain(replaced, "--retain-days", "30").message.endswith("1 files deleted")
    assert amounts(lakehouse) == [2]
    with pytest.raises(Exception, match="(?i)FILE_NOT_EXIST|does not exist|not found"):
        amounts(lakehouse, 1)


def test_a_log_too_short_for_a_training_set_is_refused(replaced: JobContext) -> None:
    pinned_by_a_model(replaced.lakehouse, 1)
    short = with_settings(replaced, "retention.deleted_files_days=40", "retention.log_days=40")
    with pytest.raises(ContractError, match=r"keep 51 days"):
        maintain(short)
    with pytest.raises(ContractError, match=r"the log for 40 days .* keep 51 days \(retention.log_days\)"):
        maintain(short, "--retain-days", "60")


def test_what_running_jobs_may_read_is_not_vacuumed(replaced: JobContext) -> None:
    with pytest.raises(UsageError, match="--retain-days 1 would delete what a job of the last 48 hours"):
        maintain(with_settings(replaced, "maintenance.longest_job_hours=48"), "--retain-days", "1")


def test_unknown_tables_and_no_tables(context: JobContext, replaced: JobContext, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no table nowhere; it has .*sales"):
        maintain(context, "--table", "nowhere")
    empty = JobContext(context.settings, context.spark, Lakehouse(context.spark, str(tmp_path / "none")))
    with pytest.raises(UsageError, match="has no table; run ingest_events first"):
        maintain(empty)


def test_a_job_goes_on_where_compaction_came_in_between(replaced: JobContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replaced day whose files were compacted after it was read is replaced again; other rows are an error."""
    from delta.exceptions import ConcurrentDeleteReadException

    lakehouse, calls = replaced.lakehouse, []
    table = lakehouse.path("sales")

    def write() -> None:
        calls.append(1)
        if len(calls) == 1:
            lakehouse.spark.sql(f"ALTER TABLE delta.`{table}` SET TBLPROPERTIES ('test' = '1')")
            raise ConcurrentDeleteReadException("compacted")

    versions.undisturbed(lakehouse.spark, table, write)
    assert len(calls) == 2

    def disturbed() -> None:
        day = date(2026, 3, 2)
        frame = lakehouse.spark.createDataFrame([(day, 3)], "day date, amount bigint")
        frame.write.format("delta").mode("append").save(table)
        raise ConcurrentDeleteReadException("others wrote")

    with pytest.raises(ConcurrentDeleteReadException):
        versions.undisturbed(lakehouse.spark, table, disturbed)
