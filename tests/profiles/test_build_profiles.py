"""The job: what it plans, what it writes, what it refuses."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.features import FeaturesConfig, words
from intent_spark.config.loading import load_settings
from intent_spark.config.settings import Settings
from intent_spark.dimensions.contract import ITEMS, USERS
from intent_spark.events.contract import EVENTS as EVENTS_CONTRACT
from intent_spark.lakehouse.job import Job, JobContext, Plan, execute
from intent_spark.lakehouse.job_runs import Outcome, last_costs
from intent_spark.lakehouse.lakehouse import CHANGED_FROM, Build, Lakehouse
from intent_spark.pipeline.options import build_parser
from intent_spark.profiles.contract import feature_columns
from intent_spark.profiles.declarations import EVENT_COLUMNS, check_declarations
from intent_spark.profiles.job import BuildProfiles
from intent_spark.profiles.tables import ProfileTables
from tests.profiles.frames import (
    add_events,
    at,
    column,
    day,
    derived,
    files_by_partition,
    last_events,
    small_features,
    windowed,
)
from tests.profiles.naive_oracle import Event, Shop
from tests.profiles.test_against_oracle import long_histories

# One worker runs them all: they share a warehouse.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("profiles")]

DAYS = ["2026-03-01", "2026-03-02", "2026-03-04"]
BY_DAYS = ("--strategy", "roll")


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
        None,
        age,
        "f",
        1,
        day("2026-01-01"),
        True,
        None,
    )


def age_feature() -> list[dict[str, str]]:
    return [{"name": "age", "expression": "age", "role": "numeric", "unit": "", "description": "", "owner": ""}]


def few_features(**sections: Any) -> FeaturesConfig:
    few = {"windowed": [windowed("n", "count", [7])], "derived": [], "user": age_feature()}
    return small_features(**few | sections)


def quiet_settings(features: FeaturesConfig) -> Settings:
    """Without statistics, which have a test of their own."""
    return load_settings("local", ["profiles.statistics=false"]).model_copy(update={"features": features})


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
    context = JobContext(quiet_settings(features), spark, lakehouse)
    add_events(lakehouse, shop_events(), "b1")
    lakehouse.create(USERS)
    known = spark.createDataFrame(
        [a_user(31, "2026-01-01", "2026-03-04"), a_user(32, "2026-03-04", None)], USERS.schema()
    )
    known.coalesce(1).write.format("delta").mode("append").save(lakehouse.path("users"))
    wanted = ("--as-of", "2026-03-05", "--as-of", "2026-03-03", *BY_DAYS)

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

    _statistics(context, wanted)
    _late_event(context, wanted, before)
    _all_that_is_stale(context)
    _other_definition(context, features, wanted)


def _statistics(context: JobContext, wanted: tuple[str, ...]) -> None:
    """Asked for later, they are missing for the snapshots that are there, and only they are made."""
    noted = replace(context, settings=load_settings().model_copy(update={"features": few_features()}))
    assert [item.what for item in plan(noted, *wanted).todo] == ["profile_stats 2026-03-03", "profile_stats 2026-03-05"]
    lakehouse = context.lakehouse
    version = lakehouse.version("profiles")
    run(BuildProfiles(), noted, *wanted)
    assert lakehouse.version("profiles") == version
    assert plan(noted, *wanted).todo == []
    stats = {(r["as_of"].day, r["feature"]): r for r in lakehouse.read("profile_stats").collect()}
    assert {feature for _, feature in stats} == {c.name for c in feature_columns(few_features())}
    assert (stats[5, "age"]["users"], stats[5, "age"]["null_share"]) == (2, 0.5)
    assert stats[3, "n_7d"]["stability_previous"] is None, "nothing came before it"
    assert stats[5, "n_7d"]["stability_previous"] > 0, "3 events of each user where there were 2"


def _late_event(context: JobContext, wanted: tuple[str, ...], before: dict[str, Any]) -> None:
    """An event of 2026-03-02 arrives: its day and the snapshots after it are stale, and nothing else."""
    lakehouse = context.lakehouse
    add_events(lakehouse, [Event("cid", "late", "view", at("2026-03-02"), "c", "i", 1)], "b2")
    found = states(plan(context, *wanted))
    stale = {what for what, state in found.items() if state == "stale"}
    assert stale == {"user_days 2026-03-02", "profiles 2026-03-03", "profiles 2026-03-05"}
    assert set(found.values()) == {"stale", "there"}
    run(BuildProfiles(), context, "--as-of", "2026-03-03", *BY_DAYS)
    for table, changed in [("user_days", "2026-03-02"), ("profiles", "2026-03-03")]:
        version, files = before[table]
        after = files_by_partition(lakehouse, table)
        assert {p for p in after if after[p] != files[p]} == {changed}
        assert set(after) == set(files)
        assert lakehouse.version(table) == version + 1
    assert ("cid", "2026-03-03") in ages(lakehouse)
    found = states(plan(context, *wanted))
    assert {what for what, state in found.items() if state != "there"} == {"profiles 2026-03-05"}


def _all_that_is_stale(context: JobContext) -> None:
    """Whoever does not know which snapshots an event touched asks for all."""
    assert [item.what for item in plan(context, "--stale").todo] == ["profiles 2026-03-05"]
    run(BuildProfiles(), context, "--stale")
    assert plan(context, "--stale").todo == []
    assert ("cid", "2026-03-05") in ages(context.lakehouse)


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
    assert set(states(plan(changed, "--as-of", "2026-03-05", *BY_DAYS)).values()) == {"stale"}
    assert run(BuildProfiles(), changed, "--as-of", "2026-03-05", *BY_DAYS).status == "succeeded"
    rows = (
        lakehouse.read("profiles")
        .where("as_of = '2026-03-05'")
        .select("user_id", "tripled", "views_lifetime")
        .collect()
    )
    assert {tuple(row) for row in rows} == {("ann", 9.0, 0), ("bob", 9.0, 0), ("cid", 3.0, 1)}
    assert set(states(plan(changed, "--as-of", "2026-03-05")).values()) == {"there"}
    noted = replace(changed, settings=load_settings().model_copy(update={"features": most}))
    todo = [item.what for item in plan(noted, "--as-of", "2026-03-05").todo]
    assert todo == ["profile_stats 2026-03-05"], "what was measured was another definition's"
    roles = {field.name: field.metadata.get("role") for field in lakehouse.read("profiles").schema.fields}
    assert (roles["views_lifetime"], roles["tripled"], roles["user_id"]) == ("numeric", "numeric", None)


def test_states_of_old_dates_and_staged_rows_are_dropped(spark: SparkSession, tmp_path: Path) -> None:
    """The newest state is kept to roll from; an older date is then made from the days again."""
    settings = load_settings("local", ["profiles.statistics=false", "profiles.keep_states=1"])
    settings = settings.model_copy(update={"features": few_features()})
    context = JobContext(settings, spark, Lakehouse(spark, str(tmp_path / "warehouse")))
    add_events(context.lakehouse, shop_events(), "b1")
    run(BuildProfiles(), context, "--as-of", "2026-03-03", "--as-of", "2026-03-04", "--staged", *BY_DAYS)
    assert {row["as_of"] for row in context.lakehouse.read("profile_states").collect()} == {day("2026-03-04")}
    assert context.lakehouse.read("profiles").count() == 4
    assert context.lakehouse.read("profiles_staging").count() == 0
    later = {item.what: item.why for item in plan(context, "--as-of", "2026-03-05", *BY_DAYS).items}
    assert later["profiles 2026-03-05"].startswith("roll from 2026-03-04")
    between = {item.what: item.why for item in plan(context, "--as-of", "2026-03-02", *BY_DAYS).items}
    assert between["profiles 2026-03-02"].startswith("merge (no earlier state)")


def test_a_state_that_another_run_drops_is_missed(context: JobContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made of no state would be profiles of nobody, and pass for done."""
    context = replace(context, settings=context.settings.model_copy(update={"features": few_features()}))
    add_events(context.lakehouse, shop_events(), "b1")
    original = ProfileTables.write_profiles

    def after_a_drop(tables: ProfileTables, as_of: date) -> int:
        tables.lakehouse.drop("profile_states", "as_of", [as_of])
        return original(tables, as_of)

    monkeypatch.setattr(ProfileTables, "write_profiles", after_a_drop)
    with pytest.raises(ContractError, match="profile_states of 2026-03-03 was dropped while it was needed"):
        run(BuildProfiles(), context, "--as-of", "2026-03-03", *BY_DAYS)
    assert context.lakehouse.read("profiles").count() == 0
    with pytest.raises(UsageError, match="has no profiles yet; run build_profiles --as-of DAY first"):
        plan(context, "--stale")


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
        (("--as-of", "2026-03-02", "--end-date", "2026-03-04"), "all that are there; use one"),
        (("--as-of", "2026-03-02", "--stale"), "all that are there; use one"),
        (("--as-of", "2026-03-02", "--step-days", "2"), "--step-days is of a range"),
        (("--stale",), "has no table 'profiles'; run build_profiles --as-of DAY first"),
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
        (lambda: small_features(derived=[derived("y", "n_7d + later")]),
         r"^features.yaml: feature 'y': its expression over the other features .*later"),
        (lambda: small_features(windowed=[windowed("x", "count", [1], by="colour")], derived=[]),
         r"^features.yaml: feature 'x_by_colour': its expression over an event .*colour"),
        (lambda: small_features(user=[{**age_feature()[0], "expression": "height"}]),
         r"^features.yaml: feature 'age': its expression over a user .*height"),
        (lambda: small_features(windowed=[windowed("x", "sum", [1], value="price * 0.9")], derived=[]),
         r"^features.yaml: feature 'x': .* of type decimal.*, but aggregate sum takes whole numbers; cast or round it"),
        (lambda: small_features(windowed=[windowed("x", "max", [1], value="category")], derived=[]),
         r"^features.yaml: feature 'x': .* of type string, but aggregate max takes whole numbers"),
        (lambda: small_features(windowed=[windowed("x", "sum", [1], value="sum(price)")], derived=[]),
         r"^features.yaml: feature 'x': .*a value is made of one row"),
        (lambda: small_features(windowed=[windowed("x", "count", [1], filter="rand() > 0.5")], derived=[]),
         r"^features.yaml: feature 'x': .*another value at another time"),
        (lambda: small_features(derived=[derived("y", "sum(n_7d)")]),
         r"^features.yaml: feature 'y': .*a value is made of one row"),
        (lambda: small_features(derived=[derived("y", "explode(array(n_7d, n_1d))")]),
         r"^features.yaml: feature 'y': .*a value is made of one row"),
        (lambda: small_features(derived=[derived("y", "datediff(current_date(), date'2026-01-01')")]),
         r"^features.yaml: feature 'y': .*another value at another time"),
        (lambda: small_features(derived=[derived("y", "unix_timestamp() - n_7d")]),
         r"^features.yaml: feature 'y': .*another value at another time"),
        (lambda: small_features(derived=[derived("y", "datediff(date 'today', date'2026-01-01')")]),
         r"^features.yaml: feature 'y': .*another value at another time"),
        (lambda: small_features(derived=[derived("y", "n_7d as seven_days")]),
         r"^features.yaml: feature 'y': its expression over the other features does not hold: .*[Ss]yntax"),
        (lambda: small_features(derived=[derived("y", "cast(n_7d as string)")]),
         r"^features.yaml: feature 'y': .* of type string, but derived features are numbers"),
        (lambda: small_features(user=[{**age_feature()[0], "expression": "gender"}]),
         r"^features.yaml: feature 'age': .* of type string, but role numeric takes numbers"),
        (lambda: small_features(sequence=last_events(columns=[column("seq_x", "colour")])),
         r"^features.yaml: feature 'seq_x': its expression over an event .*colour"),
        (lambda: small_features(sequence=last_events(columns=[column("seq_x", "category", "int")])),
         r"^features.yaml: feature 'seq_x': .* of type string, but type int takes whole numbers"),
        (lambda: small_features(sequence=last_events(columns=[column("seq_x", "price * quantity", "int")])),
         r"^features.yaml: feature 'seq_x': .* of type bigint, but type int takes whole numbers of 32 bits"),
        (lambda: small_features(sequence=last_events(filter="price")),
         r"^features.yaml: feature 'sequence': its expression over an event does not hold"),
    ],
)  # fmt: skip
def test_expressions_are_checked_before_work(
    spark: SparkSession, make: Callable[[], FeaturesConfig], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        check_declarations(spark, make())
    assert "\n" not in str(caught.value)


def test_expressions_may_name_every_column_of_an_event() -> None:
    declared = {pair.strip() for pair in EVENT_COLUMNS.split(",")}
    assert declared == {f"{column.name} {column.type}" for column in EVENTS_CONTRACT.columns}


def test_names_are_found_whatever_their_case() -> None:
    assert words("Price * `Quantity` + f('X')") == {"price", "quantity", "f"}


def test_shipped_declarations_hold(spark: SparkSession) -> None:
    check_declarations(spark, load_settings().features)


def profile_rows(lakehouse: Lakehouse) -> list[dict[str, Any]]:
    rows = lakehouse.read("profiles").orderBy("as_of", "user_id").collect()
    return [row.asDict(recursive=True) for row in rows]


@pytest.fixture(scope="module")
def merged(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> JobContext:
    """A warehouse whose snapshots of three dates were each merged from user_days."""
    lakehouse = Lakehouse(spark, str(tmp_path_factory.mktemp("merged") / "warehouse"))
    recent = [e for e in long_histories(3, day("2026-03-20"), Shop("UTC")) if e.time >= at("2026-03-06")]
    add_events(lakehouse, recent, "b1")
    context = JobContext(quiet_settings(small_features()), spark, lakehouse)
    run(BuildProfiles(), context, *RANGE, "--strategy", "merge")
    return context


RANGE = ("--start-date", "2026-03-18", "--end-date", "2026-03-21")


@pytest.mark.parametrize(
    "words",
    [(), (*BY_DAYS, "--parallelism", "2"), ("--strategy", "direct"), (*BY_DAYS, "--staged")],
    ids=["auto", "parallel", "direct", "staged"],
)
def test_every_strategy_writes_the_same_profiles(merged: JobContext, tmp_path: Path, words: tuple[str, ...]) -> None:
    warehouse = tmp_path / "warehouse"
    shutil.copytree(merged.lakehouse.root, warehouse)
    for table in ("profiles", "profile_states", "user_days", "job_runs"):
        shutil.rmtree(warehouse / table)
    context = replace(merged, lakehouse=Lakehouse(merged.spark, str(warehouse)))
    found = plan(context, *RANGE, *words)
    chosen = [item.why.split()[0].rstrip(":") for item in found.items if item.what.startswith("profiles")]
    expected = {"direct": ["direct"] * 3, "--parallelism": ["merge", "roll", "merge"]}
    assert chosen == expected.get(next((w for w in words if w in expected), ""), ["merge", "roll", "roll"])
    run(BuildProfiles(), context, *RANGE, *words)
    assert profile_rows(context.lakehouse) == profile_rows(merged.lakehouse)
    assert context.lakehouse.exists("user_days") is ("direct" not in words)


def test_one_more_day_rolls_and_predicts_what_it_reads(
    merged: JobContext, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = tmp_path / "warehouse"
    shutil.copytree(merged.lakehouse.root, warehouse)
    context = replace(merged, lakehouse=Lakehouse(merged.spark, str(warehouse)))
    item = plan(context, "--as-of", "2026-03-21").items[-1]
    assert item.state == "missing"
    assert item.why.startswith("roll from 2026-03-20, ")
    rows = int(re.search(r"reads ([\d,]+) rows", item.why)[1].replace(",", ""))  # type: ignore[index]
    whole = plan(context, "--as-of", "2026-03-21", "--strategy", "merge").items[-1].why
    assert rows < int(re.search(r"reads ([\d,]+) rows", whole)[1].replace(",", ""))  # type: ignore[index]
    assert re.search(r", about \d", whole), "a strategy that was used before has a predicted time"
    before = {table: files_by_partition(context.lakehouse, table) for table in ("user_days", "profiles")}
    monkeypatch.setattr("intent_spark.config.log.LOGGER.propagate", True)
    with caplog.at_level("INFO", logger="intent_spark"):
        run(BuildProfiles(), context, "--as-of", "2026-03-21")
    told = next(r.getMessage() for r in caplog.records if "step=build_profiles.profiles" in r.getMessage())
    counts = {name: int(value) for name, value in re.findall(r"((?:predicted|read)_(?:rows|bytes))=(\d+)", told)}
    # Predicted once for all families of features that read the same rows, counted for each of them.
    for what in ("rows", "bytes"):
        assert 0.97 * counts[f"predicted_{what}"] <= counts[f"read_{what}"] <= 6 * counts[f"predicted_{what}"]
    for table, added in (("user_days", "2026-03-20"), ("profiles", "2026-03-21")):
        after = files_by_partition(context.lakehouse, table)
        assert after.keys() - before[table].keys() <= {added}
        assert all(after[partition] == files for partition, files in before[table].items())
    newest = last_costs(context.lakehouse, "build_profiles")
    assert [cost.part for cost in newest[:2]] == ["days", "roll"]
    assert newest[1].rows == rows


def test_late_events_say_what_they_moved(
    merged: JobContext, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = tmp_path / "warehouse"
    shutil.copytree(merged.lakehouse.root, warehouse)
    context = replace(merged, lakehouse=Lakehouse(merged.spark, str(warehouse)))
    late = [Event("u0", "late", "purchase", at("2026-03-17"), "z", "i", 5_000_000, 1)]
    add_events(context.lakehouse, late, "b2")
    found = plan(context, "--as-of", "2026-03-19")
    assert [i.what for i in found.todo] == ["user_days 2026-03-17", "profiles 2026-03-19"]
    assert "not from 2026-03-19: late events touched its days" in found.todo[-1].why
    monkeypatch.setattr("intent_spark.config.log.LOGGER.propagate", True)
    with caplog.at_level("INFO", logger="intent_spark"):
        run(BuildProfiles(), context, "--as-of", "2026-03-19")
    told = next(r.getMessage() for r in caplog.records if "step=build_profiles.moved" in r.getMessage())
    assert "as_of=2026-03-19" in told and "users_moved=1 " in told
    assert 'largest_change="spend_' in told
    assert {i.what: i.state for i in plan(context, *RANGE).items}["profiles 2026-03-18"] == "stale"


def test_an_added_feature_extends_the_states(merged: JobContext, tmp_path: Path) -> None:
    """What the states hold is carried over; only the new slots are merged. A removed feature makes no day stale."""
    warehouse = tmp_path / "warehouse"
    shutil.copytree(merged.lakehouse.root, warehouse)
    declared = [w.model_dump() for w in small_features().windowed]
    more = small_features(windowed=[*declared, windowed("looks", "count", [3], event_types=["view"])])
    lakehouse = Lakehouse(merged.spark, str(warehouse))
    wider = replace(merged, lakehouse=lakehouse, settings=merged.settings.model_copy(update={"features": more}))
    item = plan(wider, "--as-of", "2026-03-20").items[-1]
    assert item.why.startswith("built under another definition: looks new; extend from 2026-03-20, 1 slots merged")
    run(BuildProfiles(), wider, "--as-of", "2026-03-20")
    looks = lakehouse.read("profiles").where("as_of = '2026-03-20'").agg({"looks_3d": "sum"}).collect()[0][0]
    counted = "event_type = 'view' and event_date >= '2026-03-17' and event_date < '2026-03-20'"
    assert looks == lakehouse.read("events").where(counted).count() > 0
    fewer = small_features(windowed=declared[:-1])
    narrower = replace(wider, settings=merged.settings.model_copy(update={"features": fewer}))
    assert {i.state for i in plan(narrower, "--as-of", "2026-03-20").items if "user_days" in i.what} == {"there"}


def test_a_removed_feature_leaves_the_others_as_they_were(merged: JobContext, tmp_path: Path) -> None:
    """Two features share a partial, which has the name of the first: without it days and states name it otherwise."""
    warehouse = tmp_path / "warehouse"
    shutil.copytree(merged.lakehouse.root, warehouse)
    kept = [w.model_dump() for w in small_features().windowed if w.name != "spend"]
    fewer, lakehouse = small_features(windowed=kept), Lakehouse(merged.spark, str(warehouse))
    context = replace(merged, lakehouse=lakehouse, settings=merged.settings.model_copy(update={"features": fewer}))
    names = [column.name for column in feature_columns(fewer)]
    before = {(r["as_of"], r["user_id"]): [r[n] for n in names] for r in profile_rows(merged.lakehouse)}
    run(BuildProfiles(), context, *RANGE)
    after = {(r["as_of"], r["user_id"]): [r[n] for n in names] for r in profile_rows(lakehouse)}
    assert after == before
    assert sum(row[names.index("spend_mean_lifetime")] is not None for row in after.values()) > 9


def test_a_shop_that_declares_no_windows(spark: SparkSession, tmp_path: Path) -> None:
    context = JobContext(
        quiet_settings(few_features(windowed=[])), spark, Lakehouse(spark, str(tmp_path / "warehouse"))
    )
    add_events(context.lakehouse, shop_events(), "b1")
    assert run(BuildProfiles(), context, "--as-of", "2026-03-05").rows_out == 2
    assert [row["seq_item"] for row in profile_rows(context.lakehouse)] == [["i"] * 3] * 2


def add_items(
    lakehouse: Lakehouse, brands: dict[str, str], changed_from: str, prices: dict[str, int] | None = None
) -> None:
    """Item i under another brand from each of some days on, as ingest_items leaves it; item j at other prices."""
    lakehouse.create(ITEMS)

    def versions(item: str, since: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        days = [day(text) for text in since] + [None]
        for begin, end, told in zip(days, days[1:], since.values(), strict=False):
            brand, price = (told, 1) if item == "i" else ("", told)
            yield (item, begin, end, [begin], None, "c", brand, price, "t", None)

    rows = [*versions("i", brands), *versions("j", prices or {})]
    build = Build("ingest_items", details={CHANGED_FROM: changed_from})
    writer = lakehouse.spark.createDataFrame(rows, ITEMS.schema()).coalesce(1).write.format("delta").mode("overwrite")
    writer.option("userMetadata", build.to_json()).save(lakehouse.path("items"))


def test_changed_items_make_stale_what_they_touch(spark: SparkSession, tmp_path: Path) -> None:
    """Days and snapshots from the change on, and no others; what is rebuilt is as if built from nothing."""
    features = few_features(windowed=[windowed("seen", "count", [2, 7], by="item_brand")], user=[])
    context = JobContext(quiet_settings(features), spark, Lakehouse(spark, str(tmp_path / "warehouse")))
    lakehouse = context.lakehouse
    add_events(lakehouse, shop_events(), "b1")
    add_items(lakehouse, {"2026-01-01": "old"}, "2026-01-01")
    wanted = ("--as-of", "2026-03-02", "--as-of", "2026-03-05", *BY_DAYS)
    run(BuildProfiles(), context, *wanted)
    add_items(lakehouse, {"2026-01-01": "old", "2026-03-02": "new"}, "2026-03-02")
    found = {item.what: item for item in plan(context, *wanted).items}
    assert {what for what, item in found.items() if item.state == "stale"} == {
        "user_days 2026-03-02", "user_days 2026-03-04", "profiles 2026-03-05",
    }  # fmt: skip
    assert "not from 2026-03-05: the items of its days have changed" in found["profiles 2026-03-05"].why
    run(BuildProfiles(), context, *wanted)
    assert plan(context, *wanted).todo == []
    last = [row["seen_7d_by_item_brand"] for row in profile_rows(lakehouse) if row["as_of"] == day("2026-03-05")]
    assert last == [{"old": 1, "new": 2}] * 2


def test_a_shop_without_items_and_one_that_gets_them(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Unknown items, said once, until there are some; then what was built without them is built again."""
    levels = [windowed("dear", "sum", [7], value="item_price_level"), windowed("seen", "count", [7], by="item_brand")]
    features = few_features(windowed=levels, user=[], unknown_item={"item_price_level": -1})
    context = JobContext(quiet_settings(features), spark, Lakehouse(spark, str(tmp_path / "warehouse")))
    add_events(context.lakehouse, shop_events(), "b1")
    wanted = ("--as-of", "2026-03-05", *BY_DAYS)
    run(BuildProfiles(), context, *wanted)
    assert caplog.text.count("warehouse has no items: features that read item_brand, item_price_level") == 1
    assert [(row["dear_7d"], row["seen_7d_by_item_brand"]) for row in profile_rows(context.lakehouse)] == [(-3, {})] * 2
    assert plan(context, *wanted).todo == []
    add_items(context.lakehouse, {"2026-03-02": "new"}, "2026-03-02", {"2026-03-02": 10})
    found = {item.what: item.state for item in plan(context, *wanted).items}
    assert found.pop("user_days 2026-03-01") == "there" and set(found.values()) == {"stale"}
    run(BuildProfiles(), context, *wanted)
    rows = [(row["dear_7d"], row["seen_7d_by_item_brand"]) for row in profile_rows(context.lakehouse)]
    assert rows == [(-2001, {"new": 2})] * 2  # twice a deviation below the mean, once unknown
    assert plan(context, *wanted).todo == []
    # Another item of the category becomes as cheap; straight from the events, whose items no day is cut from.
    add_items(context.lakehouse, {"2026-03-02": "new"}, "2026-03-04", {"2026-03-02": 10, "2026-03-04": 1})
    found = {item.what: item.state for item in plan(context, *wanted).items}
    assert found.pop("user_days 2026-03-02") == found.pop("user_days 2026-03-01") == "there"
    assert set(found.values()) == {"stale"}
    run(BuildProfiles(), context, "--as-of", "2026-03-05", "--strategy", "direct")
    assert [row["dear_7d"] for row in profile_rows(context.lakehouse)] == [-1001] * 2


def test_items_that_come_while_profiles_are_built_make_them_stale(spark: SparkSession, tmp_path: Path) -> None:
    """What was planned without them is written as without them, though they are there by the time it is."""
    features = few_features(windowed=[windowed("seen", "count", [7], by="item_brand")], user=[])
    context = JobContext(quiet_settings(features), spark, Lakehouse(spark, str(tmp_path / "warehouse")))
    add_events(context.lakehouse, shop_events(), "b1")
    job, words = BuildProfiles(), ("--as-of", "2026-03-05", *BY_DAYS)
    options = build_parser(job).parse_args(list(words))
    planned = job.plan(context, options)
    add_items(context.lakehouse, {"2026-03-02": "new"}, "2026-03-02")
    job.run(context, options, planned)
    assert [row["seen_7d_by_item_brand"] for row in profile_rows(context.lakehouse)] == [{}] * 2
    assert [item.state for item in plan(context, *words).todo] == ["stale"] * 3
