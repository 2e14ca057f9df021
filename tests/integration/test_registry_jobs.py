"""Gate, promotion, way back, MLflow, tuning and verification, on a copy of the undisturbed warehouse."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.settings import Settings
from intent_spark.lakehouse.job import Job, JobContext, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.models.directory import load_model
from intent_spark.models.registry import Aliases, read_aliases
from intent_spark.pipeline.options import build_parser
from intent_spark.training.job import TrainIntent
from intent_spark.training.promotion import PromoteModel
from intent_spark.training.tracking import STORE, VERSION_TAG
from tests.integration.conftest import Run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("integration")]


@pytest.fixture(scope="module")
def context(undisturbed: Run, small_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> JobContext:
    """The warehouse after its pipeline, copied; with MLflow."""
    copy = tmp_path_factory.mktemp("registry") / "warehouse"
    shutil.copytree(undisturbed.lakehouse.root, copy)
    record = small_settings.registry.model_copy(update={"record": True})
    settings = small_settings.model_copy(update={"registry": record})
    return JobContext(settings, undisturbed.lakehouse.spark, Lakehouse(undisturbed.lakehouse.spark, str(copy)))


@pytest.fixture(scope="module")
def models(context: JobContext) -> Path:
    return Path(context.lakehouse.path("models"))


def run(job: Job, context: JobContext, *words: str) -> Outcome:
    options: Namespace = build_parser(job).parse_args(list(words))
    return execute(job, context, options)


def mlflow_aliases(models: Path) -> dict[str, str]:
    """Our model version behind each alias of the registered model."""
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{models / STORE}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    aliases: dict[str, Any] = client.get_registered_model("purchase_intent").aliases
    return {
        alias: client.get_model_version("purchase_intent", str(number)).tags[VERSION_TAG]
        for alias, number in aliases.items()
    }


def test_a_model_that_is_worse_waits_until_it_is_forced(context: JobContext, models: Path) -> None:
    """BG/NBD knows nothing of a shop whose buyers browse first: neither training nor promotion lets it in."""
    live = read_aliases(models).champion
    assert live
    words = ("--candidates", "bgnbd", "--ranks", "1")
    told = run(TrainIntent(), context, *words).message
    worse = read_aliases(models).challenger
    assert worse and f"model {worse} waits as the challenger (its cross-fitted log loss" in told
    assert read_aliases(models) == Aliases(live, worse)
    assert mlflow_aliases(models) == {"champion": live, "challenger": worse}
    assert run(TrainIntent(), context, *words).status == "nothing_to_do", "it waits already"
    with pytest.raises(ContractError, match=f"model {worse} is not promoted: its log loss .* is worse"):
        run(PromoteModel(), context)
    assert read_aliases(models).champion == live
    run(PromoteModel(), context, "--force")
    assert read_aliases(models) == Aliases(worse, None, [live])
    assert mlflow_aliases(models) == {"champion": worse}
    # The other way round the same comparison says yes.
    assert "is not worse" in run(PromoteModel(), context, "--model", live).message
    assert "rolled back" in run(PromoteModel(), context, "--rollback").message
    assert read_aliases(models) == Aliases(worse, live, [live])
    assert "rolled back" in run(PromoteModel(), context, "--rollback").message
    assert read_aliases(models) == Aliases(live, worse, [])
    assert mlflow_aliases(models) == {"champion": live, "challenger": worse}


def test_what_is_run_and_kept_in_mlflow(context: JobContext, models: Path) -> None:
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{models / STORE}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    live = read_aliases(models).champion
    assert live
    version = client.get_model_version_by_alias("purchase_intent", "champion")
    told = client.get_run(version.run_id)
    model = load_model(models / live)
    assert told.data.metrics["auc"] == pytest.approx(model.best.metrics["calibrated"]["auc"])
    assert told.data.params["seed"] == str(model.config.seed)
    kept = {artifact.path for artifact in client.list_artifacts(version.run_id, "model")}
    assert {"model/manifest.json", "model/checksums.json", "model/lstm"} <= kept
    assert client.list_artifacts(version.run_id, "plots")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--model", "nonsense"), "has no model nonsense"),
        (("--rollback", "--force"), "takes neither --model nor --force"),
    ],
)
def test_promotions_that_are_no_promotions(context: JobContext, words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        run(PromoteModel(), context, *words)


def test_tuning_goes_on_where_it_ended_and_beats_what_was_configured(context: JobContext, models: Path) -> None:
    words = ("--candidates", "logistic,gbdt", "--ranks", "1")
    small = context.settings.model.model_copy(update={"gbdt_bag": 1, "gbdt_max_trees": 20, "refit": False})
    tuned = JobContext(context.settings.model_copy(update={"model": small}), context.spark, context.lakehouse)
    before = set(models.glob("*/checksums.json"))
    run(TrainIntent(), tuned, *words, "--tune", "2")
    [first] = set(models.glob("*/checksums.json")) - before
    study = load_model(first.parent).study
    assert [row["trial"] for row in study] == [0, 1]
    assert study[0]["gbdt_leaves"] == small.gbdt_leaves, "what is configured comes first"
    run(TrainIntent(), tuned, *words, "--tune", "4")
    model = load_model(
        models / sorted(set(models.glob("*/checksums.json")) - before, key=lambda f: f.stat().st_mtime)[-1].parent.name
    )
    assert [row["trial"] for row in model.study] == [0, 1, 2, 3]
    assert model.study[:2] == study
    best = min(model.study, key=lambda row: row["loss"])
    assert {key: getattr(model.config, key) for key in small.search} == {key: best[key] for key in small.search}
    assert model.manifest["config"] == model.config.model_dump()


def test_a_manifest_is_enough_to_train_the_model_again(context: JobContext, models: Path, tmp_path: Path) -> None:
    live = read_aliases(models).champion
    assert live
    told = run(TrainIntent(), context, "--verify", str(models / live / "manifest.json")).message
    assert "examples rebuilt to the same digest; metrics of 7 candidates within" in told
    assert read_aliases(models).champion == live
    assert not list(models.glob(".verify-*"))
    altered = tmp_path / "model"
    shutil.copytree(models / live, altered)
    manifest = json.loads((altered / "manifest.json").read_text())
    manifest["lineage"]["splits"].popitem()
    (altered / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ContractError, match="the training set rebuilt from the tables is not the one"):
        run(TrainIntent(), context, "--verify", str(altered))
    with pytest.raises(UsageError, match="no manifest can be read there"):
        run(TrainIntent(), context, "--verify", str(tmp_path))
    damaged = tmp_path / "damaged"
    shutil.copytree(models / live, damaged)
    (damaged / "schema.json").write_text("{}")
    with pytest.raises(ContractError, match="schema.json was altered after training"):
        run(TrainIntent(), context, "--verify", str(damaged))
