"""The job: what it plans, what it writes, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from intent_spark.config.errors import UsageError
from intent_spark.config.features import FeaturesConfig
from intent_spark.config.loading import load_settings
from intent_spark.dimensions.contract import USERS
from intent_spark.lakehouse.job import Job, JobContext, Plan, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.pipeline.options import build_parser
from intent_spark.profiles.declarations import check_declarations
from intent_spark.profiles.job import BuildProfiles
from tests.profiles.frames import add_events, at, day, derived, files_by_partition, small_features, windowed
from tests.profiles.naive_oracle import Event

pytestmark = pytest.mark.slow

DAYS = ["2026-03-01", "2026-03-02", "2026-03-04"]


def shop_events() -> list[Event]:
    """Two users on three days; nothing happens on 2026-03-03."""
    return [
        Event(user, f"{user}-{text}", "purchase", at(text), "c", "i", 100, n)
        for n, user in enumerate(["ann", "bob"], start=1)
        for text in DAYS
    ]


def a_user(age: int, valid_from: str, valid_to: str | None) -> tuple[Any, ...]:
    return (
        "ann",
        day(valid_from),
        day(valid_to) if valid_to else None,
        [day(valid_from)],
        age,
        "f",
        1,
        day("2026-01-01"),
        True,
    )


def age_feature() -> list[dict[str, str]]:
    return [{"name": "age", "expression": "age", "role": "numeric", "unit": "", "description": "", "owner": ""}]


def few_features(**sections: Any) -> FeaturesConfig:
    few = {"windowed": [windowed("n", "count", [7])], "derived": [], "intervals": [], "user": age_feature()}
    return small_features(**few | sections)


def run(job: Job, context: JobContext, *arguments: str) -> Outcome:
    return execute(job, context, build_parser(job).parse_args(list(arguments)))


def plan(context: JobContext, *arguments: str) -> Plan:
    job = BuildProfiles()
    return job.plan(context, build_parser(job).parse_args(list(arguments)))


def states(found: Plan) -> dict[str, str]:
    return {item.what: item.state for item in found.items}


def ages(lakehouse: Lakehouse) -> dict[tuple[str, str], float | None]:
    rows = lakehouse.read("profiles").select("user_id", "as_of", "age").collect()
    return {(row["user_id"], row["as_of"].isoformat()): row["age"] for row in rows}


def test_life_of_a_warehouse(spark: SparkSession, tmp_path: Path) -> None:
    """Missing, built, nothing to do, a late event, another definition."""
    features = few_features()
    lakehouse = Lakehouse(spark, str(tmp_path / "warehouse"))
    context = JobContext(load_settings().model_copy(update={"features": features}), spark, lakehouse)
    add_events(lakehouse, shop_events(), "b1")
    lakehouse.create(USERS)
    known = spark.createDataFrame(
        [a_user(31, "2026-01-01", "2026-03-04"), a_user(32, "2026-03-04", None)], USERS.schema()
    )
    known.coalesce(1).write.format("delta").mode("append").save(lakehouse.path("users"))
    wanted = ("--as-of", "2026-03-05", "--as-of", "2026-03-03")

    first = plan(context, *wanted)
    items = [*(f"user_days {d}" for d in DAYS), *(f"profiles 2026-03-0{n}" for n in (3, 5))]
    assert states(first) == dict.fromkeys(items, "missing")
    assert not lakehouse.exists("user_days"), "planning changes nothing"
    built = run(BuildProfiles(), context, *wanted)
    assert (built.status, built.rows_in, built.rows_out) == ("succeeded", 6, 4)
    assert ages(lakehouse) == {
        ("ann", "2026-03-03"): 31.0, ("ann", "2026-03-05"): 32.0,
        ("bob", "2026-03-03"): None, ("bob", "2026-03-05"): None,
    }  # fmt: skip

    before = {
        table: (lakehouse.version(table), files_by_partition(lakehouse, table)) for table in ("user_days", "profiles")
    }
    assert set(before["user_days"][1]) == set(DAYS)
    assert run(BuildProfiles(), context, *wanted).status == "nothing_to_do"
    assert lakehouse.version("user_days") == before["user_days"][0]
    assert lakehouse.version("profiles") == before["profiles"][0]

    _late_event(context, wanted, before)
    _other_definition(context, features, wanted)


def _late_event(context: JobContext, wanted: tuple[str, ...], before: dict[str, Any]) -> None:
    """An event of 2026-03-02 arrives: its day and the snapshots after it are stale, and nothing else."""
    lakehouse = context.lakehouse
    add_events(lakehouse, [Event("cid", "late", "view", at("2026-03-02"), "c", "i", 1)], "b2")
    found = states(plan(context, *wanted))
    stale = {what for what, state in found.items() if state == "stale"}
    assert stale == {"user_days 2026-03-02", "profiles 2026-03-03", "profiles 2026-03-05"}
    assert set(found.values()) == {"stale", "there"}
    run(BuildProfiles(), context, "--as-of", "2026-03-03")
    for table, changed in [("user_days", "2026-03-02"), ("profiles", "2026-03-03")]:
        version, files = before[table]
        after = files_by_partition(lakehouse, table)
        assert {p for p in after if after[p] != files[p]} == {changed}
        assert set(after) == set(files)
        assert lakehouse.version(table) == version + 1
    assert ("cid", "2026-03-03") in ages(lakehouse)
    found = states(plan(context, *wanted))
    assert {what for what, state in found.items() if state != "there"} == {"profiles 2026-03-05"}


def _other_definition(context: JobContext, features: FeaturesConfig, wanted: tuple[str, ...]) -> None:
    """A derived feature makes snapshots stale, a windowed one days too; both can be built over what is there."""
    lakehouse = context.lakehouse
    more = few_features(derived=[derived("tripled", "n_7d * 3")])
    changed = replace(context, settings=context.settings.model_copy(update={"features": more}))
    found = states(plan(changed, *wanted))
    assert {what.split()[0] for what, state in found.items() if state == "stale"} == {"profiles"}
    assert {what.split()[0] for what, state in found.items() if state == "there"} == {"user_days"}
    new = windowed("views", "count", [7, "lifetime"], event_types=["view"])
    declared = [w.model_dump() for w in features.windowed]
    most = few_features(windowed=[*declared, new], derived=[derived("tripled", "n_7d * 3")])
    changed = replace(context, settings=context.settings.model_copy(update={"features": most}))
    assert set(states(plan(changed, "--as-of", "2026-03-05")).values()) == {"stale"}
    assert run(BuildProfiles(), changed, "--as-of", "2026-03-05").status == "succeeded"
    rows = (
        lakehouse.read("profiles")
        .where("as_of = '2026-03-05'")
        .select("user_id", "tripled", "views_lifetime")
        .collect()
    )
    assert {tuple(row) for row in rows} == {("ann", 9.0, 0), ("bob", 9.0, 0), ("cid", 3.0, 1)}
    assert set(states(plan(changed, "--as-of", "2026-03-05")).values()) == {"there"}
    roles = {field.name: field.metadata.get("role") for field in lakehouse.read("profiles").schema.fields}
    assert (roles["views_lifetime"], roles["tripled"], roles["user_id"]) == ("numeric", "numeric", None)


@pytest.fixture(scope="module")
def small_context(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> JobContext:
    lakehouse = Lakehouse(spark, str(tmp_path_factory.mktemp("small") / "warehouse"))
    add_events(lakehouse, shop_events(), "b1")
    return JobContext(load_settings().model_copy(update={"features": small_features()}), spark, lakehouse)


@pytest.mark.parametrize("as_of", ["2026-03-01", "2026-03-06", "2025-01-01", "2027-01-01"])
def test_a_date_without_data(small_context: JobContext, as_of: str) -> None:
    sentence = rf"--as-of {as_of} is outside the data: events cover \[2026-03-01, 2026-03-05\)"
    with pytest.raises(UsageError, match=sentence):
        plan(small_context, "--as-of", as_of)
    assert not small_context.lakehouse.exists("user_days")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "say which snapshots: --as-of DAY, or --start-date DAY --end-date DAY"),
        (("--start-date", "2026-03-02"), "say which snapshots"),
        (("--as-of", "2026-03-02", "--end-date", "2026-03-04"), "use one of the two"),
        (("--start-date", "2026-03-04", "--end-date", "2026-03-02"), "is not before --end-date"),
        (
            ("--start-date", "2026-03-02", "--end-date", "2026-03-04", "--step-days", "0"),
            "'0' is not a whole number of at least 1",
        ),
    ],
)
def test_dates_that_make_no_sense(small_context: JobContext, arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(small_context, *arguments)


def test_a_range_has_steps(small_context: JobContext) -> None:
    found = plan(small_context, "--start-date", "2026-03-02", "--end-date", "2026-03-06", "--step-days", "2")
    assert [what for what in states(found) if what.startswith("profiles")] == [
        "profiles 2026-03-02",
        "profiles 2026-03-04",
    ]
    assert "user_days 2026-03-04" not in states(found), "a day at or after the last snapshot is not needed"


def test_no_events(spark: SparkSession, tmp_path: Path) -> None:
    lakehouse = Lakehouse(spark, str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="has no table 'events'; run ingest_events first"):
        run(BuildProfiles(), JobContext(load_settings(), spark, lakehouse), "--as-of", "2026-03-02")
    assert not Path(lakehouse.root).exists(), "a refused run leaves no warehouse behind"


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: small_features(
            windowed=[windowed("x", "mean", [1], value="price"), windowed("x_sum", "count", [1])], derived=[]),
         r"^features.yaml: the columns of user_days for two features would both be named x_sum; rename one"),
        (lambda: small_features(windowed=[windowed("x", "sum", [1], value="prize")], derived=[]),
         r"^features.yaml: feature 'x': its expression over an event .*prize"),
        (lambda: small_features(windowed=[windowed("x", "sum", [1], value="price +* 2")], derived=[]),
         r"^features.yaml: feature 'x': its expression over an event does not hold: .*[Ss]yntax"),
        (lambda: small_features(derived=[derived("y", "n_7d + later"), derived("later", "n_7d")]),
         r"^features.yaml: feature 'y': its expression over the features before it .*later"),
        (lambda: small_features(user=[{**age_feature()[0], "expression": "height"}]),
         r"^features.yaml: feature 'age': its expression over a user .*height"),
    ],
)  # fmt: skip
def test_expressions_are_checked_before_work(
    spark: SparkSession, make: Callable[[], FeaturesConfig], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        check_declarations(spark, make())
    assert "\n" not in str(caught.value)


def test_shipped_declarations_hold(spark: SparkSession) -> None:
    check_declarations(spark, load_settings().features)
