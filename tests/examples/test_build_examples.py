"""Labels, and the job that writes a training set."""

from __future__ import annotations

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.loading import load_settings
from intent_spark.examples.job import BuildExamples
from intent_spark.lakehouse.job import JobContext, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.labels import label
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.pipeline.options import build_parser
from intent_spark.profiles.contract import definition_hash
from intent_spark.profiles.job import BuildProfiles
from tests.profiles.frames import add_events, at, day, events_frame, small_features, top_category, windowed
from tests.profiles.naive_oracle import Event

# One worker runs them all: they share a warehouse.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("examples")]

HORIZON = 3


def few_features():  # type: ignore[no-untyped-def]  # the configuration's own type
    return small_features(windowed=[windowed("n", "count", [7]), top_category()], derived=[])


def run(context: JobContext, *arguments: str, job: type = BuildExamples) -> Outcome:
    made = job()
    return execute(made, context, build_parser(made).parse_args(list(arguments)))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai"])
def test_label_window_is_half_open(spark: SparkSession, zone: str) -> None:
    shift = {"UTC": "00:00:00", "Asia/Shanghai": "16:00:00"}[zone]
    first, after = ("2026-03-10", "2026-03-13") if zone == "UTC" else ("2026-03-09", "2026-03-12")
    before = "15:59:59.999999" if zone != "UTC" else "23:59:59.999999"
    events = [
        Event("on_as_of", "1", "purchase", at(first, shift), price=350, quantity=2),
        Event("before_as_of", "2", "purchase", at(first if zone != "UTC" else "2026-03-09", before)),
        Event("last_instant", "3", "purchase", at(after if zone != "UTC" else "2026-03-12", before), price=300),
        Event("last_instant", "4", "purchase", at("2026-03-11")),
        Event("at_end", "5", "purchase", at(after, shift)),
        Event("only_looks", "6", "view", at("2026-03-11"), price=500),
        Event("unknown", "7", "purchase", at("2026-03-11")),
    ]
    users = ["on_as_of", "before_as_of", "last_instant", "at_end", "only_looks", "quiet"]
    profiles = spark.createDataFrame([(user, n) for n, user in enumerate(users)], "user_id string, n_7d bigint")
    found = label(profiles, events_frame(spark, events, zone), day("2026-03-10"), HORIZON, ["purchase"])
    bought, churned, spent = [1, 0, 1, 0, 0, 0], [0, 1, 0, 1, 0, 1], [700, 0, 300, 0, 0, 0]
    rows = [(user, n, bought[n], churned[n], spent[n]) for n, user in enumerate(users)]
    wanted = spark.createDataFrame(rows, "user_id string, n_7d bigint, label int, churned int, spent bigint")
    assert_df_equality(found, wanted, ignore_row_order=True, ignore_nullable=True)


@pytest.fixture(scope="module")
def shop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> JobContext:
    """Events of 2026-03-01 to -12, horizon 3 days, snapshots on -04, -07 and -10."""
    lakehouse = Lakehouse(spark, str(tmp_path_factory.mktemp("examples") / "warehouse"))
    looks = [Event(u, f"{u}{d}", "view", at(f"2026-03-{d:02}")) for u in ("ann", "bob", "cid") for d in (1, 12)]
    buys = [Event("ann", "p1", "purchase", at("2026-03-04")), Event("bob", "p2", "purchase", at("2026-03-09"))]
    add_events(lakehouse, looks + buys, "b1", horizon=HORIZON)
    settings = load_settings(overrides=["examples.train_dates=3", "examples.step_days=3"]).model_copy(
        update={"features": few_features()}
    )
    context = JobContext(settings, spark, lakehouse)
    run(context, "--as-of", "2026-03-04", "--as-of", "2026-03-07", "--as-of", "2026-03-10", job=BuildProfiles)
    return context


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (["--train-as-of", "2026-03-04", "--validation-as-of", "2026-03-11"], ContractError,
         "validation date 2026-03-11 is not matured: its window closes at 2026-03-14, events end at 2026-03-13"),
        (["--train-as-of", "2026-03-03", "--validation-as-of", "2026-03-07"], UsageError,
         "table 'profiles' lacks 2026-03-03; run build_profiles --as-of for each"),
        (["--train-as-of", "2026-03-04", "--validation-as-of", "2026-03-06"], UsageError, "less than the horizon"),
        (["--train-as-of", "2026-03-04"], UsageError, "--validation-as-of DAY is missing"),
        ([], UsageError, "say --as-of DAY, or --train-as-of DAY"),
        (["--as-of", "2026-03-10", "--train-as-of", "2026-03-04"], UsageError, "say --as-of DAY, or --train-as-of DAY"),
        (["--as-of", "2026-03-02"], UsageError, "leaves no training date after 2026-03-01"),
        (["--as-of", "2026-03-10", "--horizon-days", "-1"], UsageError, "'-1' is not a whole number of at least 1"),
    ],
)  # fmt: skip
def test_refusals_write_nothing(shop: JobContext, arguments: list[str], error: type[Exception], sentence: str) -> None:
    before = shop.lakehouse.exists("examples") and shop.lakehouse.version("examples")
    job = BuildExamples()
    with pytest.raises(error, match=sentence):
        job.plan(shop, build_parser(job).parse_args(arguments))
    assert (shop.lakehouse.exists("examples") and shop.lakehouse.version("examples")) == before


def test_training_set_and_manifest(shop: JobContext) -> None:
    """Rows, labels, splits, roles, the manifest in the commit; the second run finds nothing to do."""
    lakehouse = shop.lakehouse
    dates = ["--train-as-of", "2026-03-04", "--validation-as-of", "2026-03-07", "--test-as-of", "2026-03-10"]
    first = run(shop, *dates)
    assert (first.status, first.rows_out) == ("succeeded", 9)
    assert "train 3 rows, base rate 0.3333" in first.message
    table = lakehouse.read("examples")
    rows = {(r["as_of"].day, r["user_id"]): (r["split"], r["label"], r["weight"]) for r in table.collect()}
    assert rows == {
        (4, "ann"): ("train", 1, 1.0), (4, "bob"): ("train", 0, 1.0), (4, "cid"): ("train", 0, 1.0),
        (7, "ann"): ("validation", 0, 1.0), (7, "bob"): ("validation", 1, 1.0), (7, "cid"): ("validation", 0, 1.0),
        (10, "ann"): ("test", 0, 1.0), (10, "bob"): ("test", 0, 1.0), (10, "cid"): ("test", 0, 1.0),
    }  # fmt: skip
    roles = {field.name: field.metadata.get("role") for field in table.schema.fields}
    assert (roles["n_7d"], roles["top_category_5d_1"], roles["seq_item"]) == ("numeric", "categorical", "sequence")
    assert [roles[name] for name in ("user_id", "as_of", "label", "split", "weight")] == [None] * 5

    version, build = lakehouse.builds("examples")[0]
    assert build.inputs == {name: lakehouse.version(name) for name in ("events", "profiles")}
    assert build.partitions == ["2026-03-04", "2026-03-07", "2026-03-10"]
    assert build.definition == definition_hash(few_features())
    assert build.details["splits"] == {"2026-03-04": "train", "2026-03-07": "validation", "2026-03-10": "test"}
    assert sum(split["users"] for split in build.details["counts"].values()) == shop.lakehouse.read("examples").count()
    assert 0 < build.details["counts"]["train"]["base_rate"] < 1
    assert (build.details["horizon_days"], build.details["label_event_types"]) == (3, ["purchase"])
    again = run(shop, *dates)
    assert (again.status, lakehouse.version("examples")) == ("nothing_to_do", version)

    other = run(shop, "--as-of", "2026-03-10")
    assert other.status == "succeeded", "another request is another training set"
    assert {r["split"] for r in lakehouse.read("examples").select("split").distinct().collect()} == {
        "train",
        "validation",
    }
    assert lakehouse.read("examples", version).count() == 9, "the earlier one stays readable"

    add_events(lakehouse, [Event("cid", "late", "purchase", at("2026-03-09"))], "b2", horizon=HORIZON)
    job = BuildExamples()
    plan = job.plan(shop, build_parser(job).parse_args(["--as-of", "2026-03-10"]))
    assert {item.state for item in plan.items} == {"stale"}, "a late purchase turns a label over"
