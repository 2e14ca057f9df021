"""Who goes live after a training: the job's decision and what it says, without training anything."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from intent_spark.config.errors import UsageError
from intent_spark.config.loading import load_settings
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.models.directory import CALIBRATED, CROSS_FITTED, TrainedModel, save_model
from intent_spark.models.intervals import Interval
from intent_spark.models.registry import Aliases, promote, read_aliases
from intent_spark.pipeline.options import build_parser
from intent_spark.training import job
from intent_spark.training.job import TrainIntent
from intent_spark.training.train import TrainingRequest, TrainingResult
from tests.models.test_directory import model

OPTIONS = build_parser(TrainIntent()).parse_args(["--ranks", "1"])


def build(validation: str, definition: str = "d") -> Build:
    details = {
        "splits": {"2026-01-01": "train", validation: "validation"},
        "horizon_days": 7,
        "label_event_types": ["purchase"],
    }
    return Build("build_examples", ["2026-01-01", validation], {"events": 1, "profiles": 1}, definition, details)


class Lakehouse:
    """A warehouse whose newest training set is said."""

    def __init__(self, root: Path) -> None:
        self.root, self.newest = root, (0, build("2026-01-08"))

    def path(self, name: str) -> str:
        return str(self.root / name)

    def require(self, name: str, by: str) -> None:
        assert (name, by) == ("examples", "build_examples")

    def builds(self, name: str) -> list[tuple[int, Build]]:
        return [self.newest]


class Trainer:
    """Registers a model with a cross-fitted loss and a comparison that are said before."""

    def __init__(self) -> None:
        self.loss, self.against_live = 0.5, None
        self.asked: list[TrainingRequest] = []

    def __call__(self, spark: Any, request: TrainingRequest) -> TrainingResult:
        self.asked.append(request)
        trained: TrainedModel = model(
            config=request.config,
            manifest={"lineage": request.lineage, "examples": {"version": request.version}, "run": len(self.asked)},
        )
        measured = {CALIBRATED: {"auc": 0.8, "log_loss": self.loss}, CROSS_FITTED: {"log_loss": self.loss}}
        candidates = {name: replace(one, metrics=measured) for name, one in trained.candidates.items()}
        trained = replace(trained, candidates=candidates)
        folder = save_model(trained, request.models_dir)
        return TrainingResult(folder.name, folder, trained, {}, self.against_live)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    trainer = Trainer()
    monkeypatch.setattr(job, "train", trainer)
    settings = load_settings(overrides=["registry.record=false"])
    return SimpleNamespace(settings=settings, spark=None, lakehouse=Lakehouse(tmp_path), trainer=trainer)


def run(shop: SimpleNamespace, options: Namespace = OPTIONS) -> tuple[str, Aliases]:
    plan = TrainIntent().plan(shop, options)
    if not plan.todo:
        return f"there {plan.items[0].why}", aliases(shop)
    return TrainIntent().run(shop, options, plan).message, aliases(shop)


def aliases(shop: SimpleNamespace) -> Aliases:
    return read_aliases(shop.lakehouse.root / "models")


def test_the_first_goes_live(shop: SimpleNamespace) -> None:
    told, now = run(shop)
    assert f"model {now.champion} is live (it is the first)" in told
    assert shop.trainer.asked[0].live_model is None
    assert run(shop)[0] == "there "


@pytest.mark.parametrize(
    ("interval", "goes_live"),
    [((-0.02, -0.03, -0.01), True), ((0.001, -0.01, 0.02), True), ((0.02, 0.01, 0.03), False)],
)
def test_a_later_training_set_is_compared_user_by_user(
    shop: SimpleNamespace, interval: tuple[float, float, float], goes_live: bool
) -> None:
    _, before = run(shop)
    # The live model knows outcomes until 2026-01-15.
    shop.lakehouse.newest = (1, build("2026-01-15"))
    shop.trainer.against_live = Interval(*interval)
    told, now = run(shop)
    assert shop.trainer.asked[1].live_model == shop.lakehouse.root / "models" / str(before.champion)
    if goes_live:
        assert "is live (its log loss on the last matured window is not worse" in told
        assert now.former == [before.champion]
    else:
        assert "waits as the challenger (its log loss on the last matured window is worse: +0.02000" in told
        assert now == Aliases(before.champion, now.challenger)
        assert run(shop)[0] == "there it waits as the challenger"


@pytest.mark.parametrize(("loss", "goes_live"), [(0.4, True), (0.5, True), (0.6, False)])
def test_other_settings_on_the_same_examples_are_compared_by_their_own_loss(
    shop: SimpleNamespace, loss: float, goes_live: bool
) -> None:
    _, before = run(shop)
    shop.settings = load_settings(overrides=["registry.record=false", "model.dropout=0.3"])
    shop.trainer.loss = loss
    told, now = run(shop)
    assert shop.trainer.asked[1].live_model is None, "it has seen that validation"
    assert f"cross-fitted log loss on the same validation is {loss:.5f}, the live one's 0.50000" in told
    assert (now.champion != before.champion) == goes_live


def test_one_that_cannot_score_these_profiles_gives_way(shop: SimpleNamespace) -> None:
    _, before = run(shop)
    shop.lakehouse.newest = (1, build("2026-01-15", definition="other"))
    told, now = run(shop)
    assert f"the live model {before.champion} reads other features, or its label means something else" in told
    assert now.former == [before.champion]


def test_one_that_cannot_be_read_gives_way_and_that_is_said(shop: SimpleNamespace) -> None:
    _, before = run(shop)
    (shop.lakehouse.root / "models" / str(before.champion) / "schema.json").unlink()
    shop.lakehouse.newest = (1, build("2026-01-15"))
    told, now = run(shop)
    assert "(the live model cannot be read, so that nothing can be compared with it: " in told
    assert "schema.json is missing" in told
    assert now.former == [before.champion]


def test_a_challenger_that_cannot_be_read_is_none(shop: SimpleNamespace) -> None:
    run(shop)
    shop.lakehouse.newest = (1, build("2026-01-15"))
    shop.trainer.against_live = Interval(0.02, 0.01, 0.03)
    waiting = run(shop)[1].challenger
    (shop.lakehouse.root / "models" / str(waiting) / "schema.json").unlink()
    shop.lakehouse.newest = (0, build("2026-01-08"))
    assert run(shop)[0] == "there "


def test_who_went_live_during_the_training_stays(shop: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    _, before = run(shop)
    shop.lakehouse.newest = (1, build("2026-01-15"))
    shop.trainer.against_live = Interval(-0.02, -0.03, -0.01)
    models = shop.lakehouse.root / "models"
    plan = TrainIntent().plan(shop, OPTIONS)

    def overtaken(spark: Any, request: TrainingRequest) -> TrainingResult:
        promote(models, save_model(model(manifest={"ranks": 9}), models).name)
        found: TrainingResult = shop.trainer(spark, request)
        return found

    monkeypatch.setattr(job, "train", overtaken)
    told = TrainIntent().run(shop, OPTIONS, plan).message
    now = aliases(shop)
    assert f"waits as the challenger (model {now.challenger} was judged beside {before.champion}, but" in told
    assert now.former == [before.champion]


@pytest.mark.parametrize(
    "words", [["--tune", "3"], ["--ranks", "1"], ["--candidates", "gbdt"], ["--launcher", "spark"]]
)
def test_a_verification_takes_nothing_beside(shop: SimpleNamespace, words: list[str]) -> None:
    options = build_parser(TrainIntent()).parse_args(["--verify", "manifest.json", *words])
    with pytest.raises(UsageError, match="--verify trains as the manifest says: it takes none of"):
        TrainIntent().plan(shop, options)


def test_one_that_knows_the_window_of_other_examples_stays(shop: SimpleNamespace) -> None:
    _, before = run(shop)
    shop.lakehouse.newest = (1, build("2026-01-09"))
    told, now = run(shop)
    assert "knows outcomes of its validation: compare on a later date" in told
    assert now.champion == before.champion
