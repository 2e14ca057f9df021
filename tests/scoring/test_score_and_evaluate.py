"""Scores of a snapshot by a live model, and what is made of them once their horizon has passed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.loading import load_settings
from intent_spark.feedback.job import EvaluateScores
from intent_spark.lakehouse.job import Job, JobContext, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.models.encode import encode_ragged, table_from_pandas
from intent_spark.pipeline.options import build_parser
from intent_spark.profiles.contract import definition_hash
from intent_spark.profiles.job import BuildProfiles
from intent_spark.scoring.job import ScoreUsers
from tests.profiles.frames import add_events, at, files_by_partition, small_features, top_category, windowed
from tests.profiles.naive_oracle import Event
from tests.scoring.tiny_model import register

pytestmark = pytest.mark.slow

FEATURES = small_features(
    windowed=[
        windowed("n", "count", [7]),
        windowed("days_since_event", "days_since_last", ["lifetime"]),
        top_category(),
    ],
    derived=[],
)


def run(job: Job, context: JobContext, *arguments: str) -> Outcome:
    return execute(job, context, build_parser(job).parse_args(list(arguments)))


def state(job: Job, context: JobContext, *arguments: str) -> list[str]:
    return [item.state for item in job.plan(context, build_parser(job).parse_args(list(arguments))).items]


@pytest.fixture(scope="module")
def shop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> JobContext:
    """Ten users until 2026-03-12; u0 was last seen in January. Snapshots on -07 and -11, horizon 3 days."""
    lakehouse = Lakehouse(spark, str(tmp_path_factory.mktemp("scores") / "warehouse"))
    events = [Event(f"u{n}", f"v{n}", "view", at("2026-03-05"), "c", f"i{n}", 10) for n in range(1, 10)]
    events += [Event("u0", "v0", "view", at("2026-01-05"), "c", "i0", 10)]
    events += [Event(f"u{n}", f"p{n}", "purchase", at("2026-03-08"), "c", f"i{n}", 10) for n in (2, 3, 4)]
    add_events(lakehouse, [*events, Event("u1", "end", "view", at("2026-03-12"))], "b1", horizon=3)
    settings = load_settings().model_copy(update={"features": FEATURES})
    context = JobContext(settings, spark, lakehouse)
    with pytest.raises(UsageError, match="has no table 'profiles'; run build_profiles first"):
        state(ScoreUsers(), context, "--as-of", "2026-03-07")
    run(BuildProfiles(), context, "--as-of", "2026-03-07", "--as-of", "2026-03-11")
    return context


def test_scores_then_outcomes(shop: JobContext, capsys: pytest.CaptureFixture[str]) -> None:
    lakehouse = shop.lakehouse
    models = Path(lakehouse.path("models"))
    _refusals_before_scoring(shop, models)
    model_dir = register(models, definition_hash(FEATURES))
    _every_user_is_scored(shop, model_dir.name)
    _only_the_own_partition_changes(shop, models)
    _evaluation(shop)
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("lstm (champion)", "champion, uncalibrated", "logistic", "blend"))
    _late_purchase(shop)
    _a_model_without_further_heads(shop, models)
    _scores_of_before_there_was_such_a_head(shop)


def _refusals_before_scoring(shop: JobContext, models: Path) -> None:
    with pytest.raises(UsageError, match="table 'profiles' lacks 2026-03-08; run build_profiles --as-of 2026-03-08"):
        state(ScoreUsers(), shop, "--as-of", "2026-03-08")
    with pytest.raises(UsageError, match="has no live model: run train_intent first"):
        state(ScoreUsers(), shop, "--as-of", "2026-03-07")
    with pytest.raises(UsageError, match="has no table 'scores'; run score_users first"):
        state(EvaluateScores(), shop, "--as-of", "2026-03-07")
    register(models, "another definition")
    with pytest.raises(
        ContractError, match="trained on features of definition another definition, the profiles are of"
    ):
        state(ScoreUsers(), shop, "--as-of", "2026-03-07")
    assert not shop.lakehouse.exists("scores")


def _every_user_is_scored(shop: JobContext, version: str) -> None:
    for as_of in ("2026-03-07", "2026-03-11"):
        assert state(ScoreUsers(), shop, "--as-of", as_of) == ["missing"]
        done = run(ScoreUsers(), shop, "--as-of", as_of)
        assert (done.rows_in, done.rows_out) == (10, 10)
    rows = shop.lakehouse.read("scores").collect()
    assert sorted((r["as_of"].day, r["user_id"]) for r in rows) == sorted(
        (d, f"u{n}") for d in (7, 11) for n in range(10)
    )
    for row in rows:
        assert set(row["candidates"]) == {"logistic", "lstm", "blend"}
        assert row["calibrated_intent"] == row["candidates"]["lstm"]
        for score in (row["intent"], row["churn"], *row["candidates"].values()):
            assert 0 <= score <= 1
        odds = {name: np.log(p / (1 - p)) for name, p in row["candidates"].items()}
        assert odds["blend"] == pytest.approx(0.25 * odds["logistic"] + 0.75 * odds["lstm"] + 0.1, abs=1e-9)
        assert odds["lstm"] == pytest.approx(0.9 * np.log(row["intent"] / (1 - row["intent"])) + 0.1, abs=1e-9)
        assert (row["model_version"], row["horizon_days"]) == (version, 3)
    assert len({r["intent"] for r in rows if r["as_of"].day == 7}) == 2, "u0 without events in the window is told apart"
    _each_head_has_its_column(shop, [r for r in rows if r["as_of"].day == 7])
    assert run(ScoreUsers(), shop, "--as-of", "2026-03-07").status == "nothing_to_do"


def _each_head_has_its_column(shop: JobContext, rows: list[Row]) -> None:
    """Purchase, churn and spend are the network's first, second and third output, each by its own calibration."""
    from intent_spark.models.candidates import WEIGHTS, weights_from_npz
    from intent_spark.models.directory import load_model
    from intent_spark.models.intent_net import load_network, traced_heads

    model = load_model(Path(shop.lakehouse.path("models")) / rows[0]["model_version"])
    network = load_network(model.schema, model.config, weights_from_npz(model.candidates["lstm"].files[WEIGHTS]), 1)
    profiles = shop.lakehouse.read("profiles").where("as_of = date'2026-03-07'").toPandas()
    encoded = encode_ragged(table_from_pandas(profiles, model.schema), model.schema)
    outputs = dict(zip(profiles["user_id"], traced_heads(network)(encoded.take(np.arange(10))), strict=True))
    for row in rows:
        bought, left, amount = outputs[row["user_id"]]
        assert row["intent"] == pytest.approx(1 / (1 + np.exp(-bought)), abs=1e-6)
        assert row["churn"] == pytest.approx(1 / (1 + np.exp(-(0.7 * left + 0.2))), abs=1e-6)
        assert row["spend"] == pytest.approx(row["calibrated_intent"] * np.exp(amount + 0.1), rel=1e-5)


def _only_the_own_partition_changes(shop: JobContext, models: Path) -> None:
    """Another model makes scores stale; scored again, one day's files change."""
    before = files_by_partition(shop.lakehouse, "scores")
    register(models, definition_hash(FEATURES), auc=0.9, seed=2)
    assert state(ScoreUsers(), shop, "--as-of", "2026-03-07") == ["stale"]
    run(ScoreUsers(), shop, "--as-of", "2026-03-07")
    after = files_by_partition(shop.lakehouse, "scores")
    assert {p for p in after if after[p] != before[p]} == {"2026-03-07"}
    assert set(after) == set(before)


def _evaluation(shop: JobContext) -> None:
    lakehouse = shop.lakehouse
    with pytest.raises(UsageError, match="table 'scores' lacks 2026-03-08; run score_users"):
        state(EvaluateScores(), shop, "--as-of", "2026-03-08")
    sentence = "scores of 2026-03-11 are not matured: their window closes at 2026-03-14, events end at 2026-03-13"
    with pytest.raises(ContractError, match=sentence):
        run(EvaluateScores(), shop, "--as-of", "2026-03-11")
    assert not lakehouse.exists("outcomes")
    done = run(EvaluateScores(), shop, "--as-of", "2026-03-07")
    assert done.rows_out == 10
    assert "retrain: yes (AUC fell from 0.9000 on validation" in done.message
    outcomes = lakehouse.read("outcomes").collect()
    assert {r["as_of"].isoformat() for r in outcomes} == {"2026-03-07"}
    assert {r["user_id"]: r["label"] for r in outcomes} == {f"u{n}": int(n in (2, 3, 4)) for n in range(10)}
    assert {r["user_id"]: r["segments"] for r in outcomes} == {"u0": ["dormant"]} | {
        f"u{n}": ["regular"] for n in range(1, 10)
    }
    assert {r["user_id"]: r["churned"] for r in outcomes} == {f"u{n}": int(n not in (2, 3, 4)) for n in range(10)}
    [churn] = lakehouse.read("evaluations").where("segment = 'all' and candidate = 'churn'").collect()
    assert (churn["users"], churn["positives"], churn["champion"]) == (10, 7, False)
    assert "; churn AUC " in done.message
    assert {r["user_id"]: r["spent"] for r in outcomes} == {f"u{n}": 10 * (n in (2, 3, 4)) for n in range(10)}
    expected = sum(r["spend"] for r in outcomes)
    assert f"; expected spend {expected / 30:.3f} of what was spent, its top tenth has " in done.message
    [champion] = lakehouse.read("evaluations").where("segment = 'all' and champion").collect()
    assert (champion["expected_spend"], champion["spent"]) == (pytest.approx(expected), 30)
    assert lakehouse.read("evaluations").where("not champion and spent is not null").isEmpty()
    everybody = lakehouse.read("evaluations").where("segment = 'all' and candidate != 'churn'").collect()
    assert {(r["users"], r["positives"], r["retrain"]) for r in everybody} == {(10, 3, True)}
    assert {r["candidate"] for r in everybody} == {"lstm", "champion, uncalibrated", "logistic", "blend"}
    assert [r["candidate"] for r in everybody if r["champion"]] == ["lstm"]
    assert all(r["auc_low"] <= r["auc"] <= r["auc_high"] and r["log_loss_low"] < r["log_loss_high"] for r in everybody)
    page = (Path(lakehouse.path("report")) / "index.html").read_text(encoding="utf-8")
    assert "AUC fell from 0.9000" in page and "<h3>Spend</h3>" in page
    assert run(EvaluateScores(), shop, "--as-of", "2026-03-07").status == "nothing_to_do"


def _late_purchase(shop: JobContext) -> None:
    """A purchase of the window arrives late: the evaluation is stale, the scores are not."""
    add_events(shop.lakehouse, [Event("u9", "late", "purchase", at("2026-03-09"))], "b2")
    assert state(EvaluateScores(), shop, "--as-of", "2026-03-07") == ["stale"]
    assert state(ScoreUsers(), shop, "--as-of", "2026-03-07") == ["there"]
    run(EvaluateScores(), shop, "--as-of", "2026-03-07")
    bought = shop.lakehouse.read("outcomes").where(F.col("label") == 1).select("user_id").collect()
    assert sorted(r["user_id"] for r in bought) == ["u2", "u3", "u4", "u9"]


def _a_model_without_further_heads(shop: JobContext, models: Path) -> None:
    register(models, definition_hash(FEATURES), head_weight=0.0)
    run(ScoreUsers(), shop, "--as-of", "2026-03-11")
    scores = shop.lakehouse.read("scores").where("as_of = '2026-03-11'")
    assert scores.count() == 10 and scores.where("churn is not null or spend is not null").isEmpty()


def _scores_of_before_there_was_such_a_head(shop: JobContext) -> None:
    """A table that lacks the head's column is still evaluated."""
    lakehouse = shop.lakehouse
    build = lakehouse.newest_builds("scores")["2026-03-07"]
    scores = lakehouse.read("scores").where("as_of = date'2026-03-07'").drop("spend").localCheckpoint()
    lakehouse.overwrite(scores, "scores", ("as_of",), build)
    done = run(EvaluateScores(), shop, "--as-of", "2026-03-07")
    assert done.rows_out == 10 and "; churn AUC " in done.message and "spend" not in done.message
    assert lakehouse.read("outcomes").where("spend is not null or spent is null").isEmpty()
    assert lakehouse.read("evaluations").where("expected_spend is not null").isEmpty()
