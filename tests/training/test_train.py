from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import yaml
from pyspark.sql import SparkSession

from intent_spark.config.errors import ContractError
from intent_spark.config.model import ModelConfig
from intent_spark.models.directory import CALIBRATED, UNCALIBRATED, TrainedModel, load_model
from intent_spark.models.gbdt import trees_of
from intent_spark.models.predictor import cached_predictor
from intent_spark.training.fit_schema import SplitCounts, count_splits, fit_schema
from intent_spark.training.launch import raise_rank_error, run_ranks
from intent_spark.training.launchers import InSpark
from intent_spark.training.task import RankTask
from intent_spark.training.train import TrainingRequest, check_splits, train
from tests.training.synthetic import examples_table, with_outcomes, write_examples

CONF = Path(__file__).resolve().parents[2] / "conf" / "model.yaml"
TABLE = examples_table(4000)


def config(**changes: object) -> ModelConfig:
    small = {
        "batch_size": 64,
        "max_epochs": 8,
        "learning_rate": 0.01,
        "hidden_units": 16,
        "dense_units": [16],
    }
    return ModelConfig.model_validate(yaml.safe_load(CONF.read_text()) | small | changes)


@pytest.fixture(scope="module")
def request_for_two(tmp_path_factory: pytest.TempPathFactory) -> TrainingRequest:
    folder = tmp_path_factory.mktemp("training")
    version = write_examples(folder / "examples", TABLE)
    return TrainingRequest(str(folder / "examples"), version, folder / "models", config(), 7, ranks=2)


@pytest.mark.slow
def test_two_horovod_ranks_train_one_model(spark: SparkSession, request_for_two: TrainingRequest) -> None:
    once = replace(request_for_two, config=config(refit=False))
    result = train(spark, replace(once, lineage={"horizon_days": 7}))
    model, found = load_model(result.model_dir), result.model.candidates
    assert list(model.candidates) == ["recency", "naive_bayes", "logistic", "gbdt", "lstm", "blend"]
    assert list(model.manifest["left_out"]) == ["bgnbd"]
    assert found["lstm"].metrics[CALIBRATED]["auc"] > 0.75
    assert found["lstm"].metrics[UNCALIBRATED]["log_loss"] < found["logistic"].metrics[UNCALIBRATED]["log_loss"]
    assert model.champion in ("lstm", "blend")
    assert model.manifest["ranks"] == 2
    assert model.manifest["lineage"] == {"horizon_days": 7}
    assert model.manifest["splits"]["train"]["rows"] == pc.sum(pc.equal(TABLE["split"], "train")).as_py()
    losses = [epoch["validation_loss"] for epoch in model.candidates["lstm"].history]
    assert losses.index(min(losses)) == model.manifest["best_epochs"]["lstm"] - 1
    assert [path.name for path in request_for_two.models_dir.iterdir()] == [result.model_version]
    scores_are_those_measured(result.model_dir, model)


def scores_are_those_measured(model_dir: Path, model: TrainedModel) -> None:
    """What a worker of Spark would compute is what the ranks measured, candidate by candidate."""
    validation = TABLE.filter(pc.equal(TABLE["split"], "validation"))
    labels = validation["label"].to_numpy()
    predictor = cached_predictor(model_dir)
    predicted = predictor.predict(validation)
    measured = {
        name: (scores, model.candidates[name].metrics[CALIBRATED]) for name, scores in predicted.candidates.items()
    }
    measured["champion"] = (predicted.intent, model.best.metrics[UNCALIBRATED])
    assert list(predicted.candidates) == list(model.candidates)
    for scores, metrics in measured.values():
        assert ((scores >= 0) & (scores <= 1)).all()
        loss = -np.mean(np.log(np.where(labels == 1, scores, 1 - scores)))
        assert loss == pytest.approx(metrics["log_loss"], abs=1e-6)
    from_pandas = predictor.predict_frame(validation.to_pandas())
    np.testing.assert_array_equal(from_pandas.intent, predicted.intent)
    assert cached_predictor(model_dir) is predictor is cached_predictor(str(model_dir))


@pytest.mark.slow
def test_two_ranks_train_further_heads(spark: SparkSession, tmp_path: Path) -> None:
    """From the examples' columns to what a worker of Spark would compute, which is what the ranks measured."""
    table = with_outcomes(TABLE)
    version = write_examples(tmp_path / "examples", table)
    wanted = config(candidates=["logistic", "lstm"], churn_weight=0.2, spend_weight=0.05, max_epochs=2, refit=False)
    request = TrainingRequest(str(tmp_path / "examples"), version, tmp_path / "models", wanted, 7, ranks=2)
    done = train(spark, request)
    model, validation = load_model(done.model_dir), table.filter(pc.equal(table["split"], "validation"))
    assert list(model.heads) == ["churn", "spend"] and {head.candidate for head in model.heads.values()} == {"lstm"}
    assert model.heads["spend"].metrics["log_variance_explained"] > 0.5
    predicted = cached_predictor(done.model_dir).predict(validation)
    left, spent = validation["churned"].to_numpy(), validation["spent"].to_numpy()
    loss = -np.mean(np.log(np.where(left == 1, predicted.heads["churn"], 1 - predicted.heads["churn"])))
    assert loss == pytest.approx(model.heads["churn"].metrics["log_loss"], abs=1e-6)
    amounts = predicted.heads["spend"] / predicted.candidates[model.champion]
    assert amounts[spent > 0].sum() == pytest.approx(spent.sum(), rel=1e-4)


@pytest.mark.slow
def test_a_refit_knows_validation_and_keeps_what_was_found(
    spark: SparkSession, request_for_two: TrainingRequest, tmp_path: Path
) -> None:
    """As many trees and epochs, other weights; compared with another model on the rows of validation."""
    wanted = ["logistic", "gbdt", "lstm", "blend"]
    once = replace(request_for_two, config=config(candidates=wanted, refit=False), models_dir=tmp_path / "once")
    first = train(spark, once)
    again = replace(once, config=config(candidates=wanted), models_dir=tmp_path / "again", live_model=first.model_dir)
    second = train(spark, again)
    assert second.model.champion == first.model.champion
    assert second.model.manifest["best_epochs"] == first.model.manifest["best_epochs"]
    for name in ("logistic", "gbdt", "lstm"):
        one, other = first.model.candidates[name], second.model.candidates[name]
        for stage, metrics in one.metrics.items():
            assert other.metrics[stage] == pytest.approx(metrics, abs=1e-3)
        assert [e["epoch"] for e in other.history] == [e["epoch"] for e in one.history]
        assert other.files.keys() == one.files.keys()
        assert other.files != one.files
    assert trees_of(second.model.candidates["gbdt"].files) == trees_of(first.model.candidates["gbdt"].files)
    # The first model saw these rows, so it is flattered; the two are alike for all that.
    assert second.against_live is not None
    assert abs(second.against_live.value) < 0.02
    validation = TABLE.filter(pc.equal(TABLE["split"], "validation"))
    labels = validation["label"].to_numpy()
    scores = cached_predictor(second.model_dir).predict(validation).candidates
    for name in wanted:
        loss = -np.mean(np.log(np.where(labels == 1, scores[name], 1 - scores[name])))
        assert loss < first.model.candidates[name].metrics[CALIBRATED]["log_loss"] + 0.02


@pytest.mark.slow
def test_one_rank_runs_again_to_the_same_version(spark: SparkSession, request_for_two: TrainingRequest) -> None:
    wanted = ["gru", "gbdt", "logistic", "lstm", "blend"]
    alone = replace(request_for_two, ranks=1, config=config(max_epochs=2, candidates=wanted))
    first = train(spark, alone)
    assert list(first.model.candidates) == ["logistic", "gbdt", "lstm", "gru", "blend"]
    assert train(spark, alone).model_version == first.model_version
    validation = TABLE.filter(pc.equal(TABLE["split"], "validation"))
    assert set(cached_predictor(first.model_dir).predict(validation).candidates) == set(wanted)


@pytest.mark.slow
def test_a_failing_rank_ends_the_job_with_its_own_error(
    spark: SparkSession, request_for_two: TrainingRequest, tmp_path: Path
) -> None:
    schema = fit_schema(spark.read.format("delta").load(request_for_two.examples), config())
    task = RankTask(str(tmp_path / "nowhere"), 0, str(tmp_path), schema, config(), ["logistic"], 7, distributed=True)
    with pytest.raises(RuntimeError, match=r"Rank \d failed: TableNotFoundError"):
        run_ranks(InSpark(spark, 2, None), task, 2)
    # From when the first rank told of its error: starting ranks takes as long as the machine is slow.
    failed = min(file.stat().st_mtime for file in tmp_path.glob("error-*.json"))
    assert time.time() - failed < 30


def test_a_setting_that_names_no_column_of_the_sequence_is_told(
    spark: SparkSession, request_for_two: TrainingRequest, caplog: pytest.LogCaptureFixture
) -> None:
    examples = spark.read.format("delta").load(request_for_two.examples)
    fit_schema(examples, config())
    assert "which the examples lack" not in caplog.text
    fit_schema(examples, config(hashed_sequences=["seq_sku"], gap_sequence="seq_pause"))
    assert "model.hashed_sequences names seq_sku, which the examples lack" in caplog.text
    assert "model.gap_sequence names seq_pause" in caplog.text


def test_schema_is_fitted_on_train_only(spark: SparkSession, request_for_two: TrainingRequest) -> None:
    examples = spark.read.format("delta").load(request_for_two.examples)
    schema = fit_schema(examples, config(vocabulary_cap=15))
    train_rows = TABLE.filter(pc.equal(TABLE["split"], "train"))
    views = np.log1p(train_rows["view_count_7d"].to_numpy())
    first = schema.numeric[0]
    assert (first.name, first.nullable) == ("view_count_7d", False)
    assert (first.mean, first.std) == (pytest.approx(views.mean()), pytest.approx(views.std()))
    assert {feature.name: feature.nullable for feature in schema.numeric}["days_since_purchase"]
    assert sorted(schema.categorical[0].vocabulary) == ["1", "2", "3"]
    kinds = {feature.name: feature.kind for feature in schema.sequences}
    assert kinds == {
        "seq_event_type": "vocabulary",
        "seq_category": "vocabulary",
        "seq_item": "hash",
        "seq_price_band": "vocabulary",
        "seq_gap_seconds": "number",
    }
    categories = pc.value_counts(pc.list_flatten(train_rows["seq_category"])).to_pylist()
    ranked = sorted(categories, key=lambda item: (-item["counts"], item["values"]))
    assert list(schema.sequences[1].vocabulary) == [item["values"] for item in ranked[:15]]


def test_counts_by_split(spark: SparkSession, request_for_two: TrainingRequest) -> None:
    counts = count_splits(spark.read.format("delta").load(request_for_two.examples))
    assert sum(split.rows for split in counts.values()) == TABLE.num_rows
    assert counts["test"].positives == pc.sum(TABLE.filter(pc.equal(TABLE["split"], "test"))["label"]).as_py()


def test_columns_without_roles_are_refused(spark: SparkSession) -> None:
    with pytest.raises(ContractError, match="No column of the examples has a role"):
        fit_schema(spark.createDataFrame([("train", 1)], "split string, views int"), config())


@pytest.mark.parametrize(
    ("train_split", "validation_split", "ranks", "message"),
    [
        (SplitCounts(0, 0, 0.0), SplitCounts(9, 3, 9.0), 1, "Split train of the examples is empty"),
        (SplitCounts(9, 3, 9.0), None, 1, "Split validation of the examples is empty"),
        (SplitCounts(9, 0, 9.0), SplitCounts(9, 3, 9.0), 1, "Split train .* no positive label"),
        (SplitCounts(9, 3, 9.0), SplitCounts(9, 9, 9.0), 1, "Split validation .* no negative label"),
        (SplitCounts(9, 3, 0.0), SplitCounts(9, 3, 9.0), 1, "split train of the examples weigh 0.0"),
        (SplitCounts(9, 3, float("nan")), SplitCounts(9, 3, 9.0), 1, "split train of the examples weigh nan"),
        (SplitCounts(3, 1, 3.0), SplitCounts(9, 3, 9.0), 4, "3 training examples are fewer than 4 ranks"),
    ],
)
def test_what_cannot_be_learnt_from(
    train_split: SplitCounts, validation_split: SplitCounts | None, ranks: int, message: str
) -> None:
    splits = {"train": train_split} | ({"validation": validation_split} if validation_split else {})
    with pytest.raises(ContractError, match=message):
        check_splits(splits, ranks)


@pytest.mark.parametrize(
    "echo",
    [
        "UnknownError: Horovod has been shut down",
        "UnknownError: Graph execution error: [gloo/transport/tcp/pair.cc:589] Read error [127.0.0.1]:13232: Connection "
        "reset by peer",
    ],
)
def test_a_refusal_counts_before_an_error_and_an_error_before_its_echo(tmp_path: Path, echo: str) -> None:
    def report(rank: int, error: str, refused: bool = False) -> None:
        text = json.dumps({"rank": rank, "refused": refused, "error": error, "traceback": error})
        (tmp_path / f"error-{rank}.json").write_text(text)

    report(0, echo)
    with pytest.raises(RuntimeError, match="Rank 1, 2 ended without a word .*; rank 0 then failed: UnknownError"):
        raise_rank_error(tmp_path, None, 3)
    report(1, "OSError: disk full")
    with pytest.raises(RuntimeError, match="Rank 1 failed: OSError: disk full"):
        raise_rank_error(tmp_path, None, 3)
    report(2, "Column views holds NaN", refused=True)
    with pytest.raises(ContractError, match="^Column views holds NaN$"):
        raise_rank_error(tmp_path, None, 3)
