from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.model import ModelConfig
from intent_spark.models.calibration import PlattScaling
from intent_spark.models.directory import (
    REPORT_FILES,
    SCORING_FILES,
    TrainedModel,
    content_hash,
    load_model,
    save_model,
    verify_model,
)
from intent_spark.models.logistic import LogisticModel
from intent_spark.models.registry import champion, model_versions, promote
from intent_spark.models.schema import FeatureSchema, NumericFeature

CONF = Path(__file__).resolve().parents[2] / "conf" / "model.yaml"


def model() -> TrainedModel:
    return TrainedModel(
        weights={
            "dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
            "dense/bias": np.zeros(3, np.float32),
        },
        schema=FeatureSchema((NumericFeature("views", 1.0, 2.0),), (), (), 50),
        config=ModelConfig.model_validate(yaml.safe_load(CONF.read_text())),
        logistic=LogisticModel(np.array([0.1]), -1.0, 0.01),
        calibration=PlattScaling(0.9, 0.1),
        metrics={"model": {"auc": 0.8}},
        history=[{"epoch": 1, "rows_per_second": 100.0}],
        manifest={"ranks": 2},
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved, found = model(), load_model(save_model(model(), tmp_path))
    assert found.schema == saved.schema
    assert found.config == saved.config
    assert found.calibration == saved.calibration
    assert (found.metrics, found.history, found.manifest) == (saved.metrics, saved.history, saved.manifest)
    np.testing.assert_array_equal(found.weights["dense/kernel"], saved.weights["dense/kernel"])
    np.testing.assert_array_equal(found.logistic.coefficients, saved.logistic.coefficients)
    assert [path.name for path in tmp_path.iterdir()] == [verify_model(next(tmp_path.iterdir()))]


def test_the_version_names_what_scores_and_not_how_long_it_took(tmp_path: Path) -> None:
    first = save_model(model(), tmp_path)
    slower = replace(model(), history=[{"epoch": 1, "rows_per_second": 1.0}])
    assert save_model(slower, tmp_path) == first
    assert load_model(first).history == model().history
    assert save_model(replace(model(), calibration=PlattScaling(1.0, 0.1)), tmp_path) != first


@pytest.mark.parametrize("name", [*SCORING_FILES, *REPORT_FILES])
def test_an_altered_or_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    model_dir = save_model(model(), tmp_path)
    file = model_dir / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ContractError, match=f"{name} was altered after training"):
        load_model(model_dir)
    file.unlink()
    with pytest.raises(ContractError, match=f"{name} is missing"):
        load_model(model_dir)


def test_a_folder_without_checksums_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="is no model directory"):
        load_model(tmp_path)


def test_content_hash_follows_the_content(tmp_path: Path) -> None:
    first = save_model(model(), tmp_path / "a")
    same = save_model(model(), tmp_path / "b")
    other = save_model(replace(model(), manifest={"ranks": 3}), tmp_path / "c")
    assert content_hash(first) == content_hash(same) != content_hash(other)


def test_champion(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no live model: run train_intent first"):
        champion(tmp_path)
    first = save_model(model(), tmp_path)
    second = save_model(replace(model(), calibration=PlattScaling(1.0, 0.0)), tmp_path)
    assert promote(tmp_path, first.name) == first == champion(tmp_path)
    promote(tmp_path, second.name)
    assert champion(tmp_path) == second
    assert model_versions(tmp_path) == sorted([first.name, second.name])
    with pytest.raises(UsageError, match=f"has no model nonsense; it has {model_versions(tmp_path)[0]}"):
        promote(tmp_path, "nonsense")


def test_an_altered_model_is_not_promoted(tmp_path: Path) -> None:
    model_dir = save_model(model(), tmp_path)
    (model_dir / "schema.json").write_text("{}")
    with pytest.raises(ContractError):
        promote(tmp_path, model_dir.name)
    assert not (tmp_path / "champion.json").exists()
