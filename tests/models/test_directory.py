from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.model import ModelConfig
from intent_spark.models.calibration import Isotonic, PlattScaling
from intent_spark.models.candidates import WEIGHTS, weights_from_npz, weights_to_npz
from intent_spark.models.directory import (
    CALIBRATED,
    Candidate,
    FurtherHead,
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


def model(**changes: Any) -> TrainedModel:
    """Two candidates with files of their own; changes are of the model's fields."""
    logistic = LogisticModel(np.array([0.1]), -1.0, 0.01)
    weights = {"dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "dense/bias": np.zeros(3, np.float32)}
    network = Candidate(
        {WEIGHTS: weights_to_npz(weights)},
        PlattScaling(0.9, 0.1),
        {CALIBRATED: {"auc": 0.8}},
        [{"epoch": 1, "rows_per_second": 100.0}],
    )
    fields: dict[str, Any] = {
        "schema": FeatureSchema((NumericFeature("views", 1.0, 2.0),), (), (), 50),
        "config": ModelConfig.model_validate(yaml.safe_load(CONF.read_text())),
        "candidates": {
            "logistic": Candidate({"logistic.json": logistic.to_json(["views"])}, Isotonic((0.1, 0.9), (0.2, 0.5)), {}),
            "lstm": network,
        },
        "champion": "lstm",
        "manifest": {"ranks": 2},
    }
    return TrainedModel(**(fields | changes))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    saved, found = model(), load_model(save_model(model(), tmp_path))
    assert (found.schema, found.config, found.champion) == (saved.schema, saved.config, saved.champion)
    assert found.manifest == saved.manifest
    assert list(found.candidates) == ["logistic", "lstm"]
    for name, candidate in saved.candidates.items():
        assert vars(found.candidates[name]) == vars(candidate)
    assert found.best.metrics == {CALIBRATED: {"auc": 0.8}}
    weights = weights_from_npz(found.best.files[WEIGHTS])
    np.testing.assert_array_equal(weights["dense/kernel"], np.arange(6).reshape(2, 3))
    assert [path.name for path in tmp_path.iterdir()] == [verify_model(next(tmp_path.iterdir()))]


def test_the_second_head_is_kept_and_its_metrics_name_no_version(tmp_path: Path) -> None:
    head = FurtherHead("lstm", PlattScaling(0.7, 0.1), {"auc": 0.6})
    first = save_model(model(heads={"churn": head}), tmp_path)
    assert load_model(first).heads == {"churn": head}
    assert save_model(model(heads={"churn": replace(head, metrics={"auc": 0.7})}), tmp_path) == first
    assert save_model(model(heads={"churn": replace(head, calibration=PlattScaling(0.8, 0.1))}), tmp_path) != first
    assert load_model(save_model(model(), tmp_path)).heads == {}


def with_network(**changes: Any) -> TrainedModel:
    """The same model, its network changed."""
    candidates = model().candidates
    return model(candidates=candidates | {"lstm": replace(candidates["lstm"], **changes)})


def test_the_version_names_what_scores_and_not_how_long_it_took(tmp_path: Path) -> None:
    first = save_model(model(), tmp_path)
    assert save_model(with_network(history=[{"epoch": 1, "rows_per_second": 1.0}]), tmp_path) == first
    assert load_model(first).best.history == model().best.history
    others = [with_network(calibration=PlattScaling(1.0, 0.1)), with_network(files={WEIGHTS: b""})]
    others += [model(champion="logistic"), model(candidates={"lstm": model().best}), model(manifest={})]
    assert len({save_model(other, tmp_path) for other in others} | {first}) == 6


def files_of_a_model() -> list[str]:
    common = ["schema.json", "model.json", "candidates.json", "manifest.json"]
    told = ["calibration.json", "metrics.json", "history.json"]
    return [
        *common,
        *(f"{c}/{f}" for c, own in (("logistic", "logistic.json"), ("lstm", WEIGHTS)) for f in (own, *told)),
    ]


@pytest.mark.parametrize("name", files_of_a_model())
def test_an_altered_or_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    model_dir = save_model(model(), tmp_path)
    file = model_dir / name
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ContractError, match=f"{name} was altered after training"):
        load_model(model_dir)
    file.unlink()
    with pytest.raises(ContractError, match=f"{name} is missing"):
        load_model(model_dir)


def test_checksums_that_were_altered_with_their_files_are_refused(tmp_path: Path) -> None:
    model_dir = save_model(model(), tmp_path)
    assert {str(p.relative_to(model_dir)) for p in model_dir.rglob("*.*")} == {*files_of_a_model(), "checksums.json"}
    calibration, checksums = model_dir / "lstm" / "calibration.json", model_dir / "checksums.json"
    calibration.write_text('{"slope": 9.0, "intercept": 0.0}')
    listed = json.loads(checksums.read_text())
    listed["sha256"]["lstm/calibration.json"] = hashlib.sha256(calibration.read_bytes()).hexdigest()
    checksums.write_text(json.dumps(listed))
    with pytest.raises(ContractError, match="checksums.json was altered after training"):
        load_model(model_dir)


def test_a_file_that_is_not_listed_is_not_read(tmp_path: Path) -> None:
    model_dir = save_model(model(), tmp_path)
    (model_dir / "lstm" / "more.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert set(load_model(model_dir).best.files) == {WEIGHTS}


def test_a_folder_without_checksums_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="is no model directory"):
        load_model(tmp_path)


def test_content_hash_follows_the_content(tmp_path: Path) -> None:
    first = save_model(model(), tmp_path / "a")
    same = save_model(model(), tmp_path / "b")
    other = save_model(model(manifest={"ranks": 3}), tmp_path / "c")
    assert content_hash(first) == content_hash(same) != content_hash(other)


def test_champion(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no live model: run train_intent first"):
        champion(tmp_path)
    first = save_model(model(), tmp_path)
    second = save_model(with_network(calibration=PlattScaling(1.0, 0.0)), tmp_path)
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
    assert not (tmp_path / "aliases.json").exists()
