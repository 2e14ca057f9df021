"""Trees: what they learn, that they are stopped by users held back, and that they are the same again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from intent_spark.config.errors import ContractError
from intent_spark.config.model import ModelConfig
from intent_spark.models.gbdt import Gbdt, grow_boosters
from intent_spark.models.logistic import Labelled

CONF = Path(__file__).resolve().parents[2] / "conf" / "model.yaml"


def config(**changes: object) -> ModelConfig:
    return ModelConfig.model_validate(yaml.safe_load(CONF.read_text()) | {"gbdt_bag": 2} | changes)


def rows(count: int, seed: int = 0) -> tuple[Labelled, np.ndarray]:
    """Labels that follow a product of inputs: nothing for a linear model."""
    random = np.random.default_rng(seed)
    inputs = random.normal(size=(count, 4)).astype(np.float32)
    labels = (random.random(count) < 1 / (1 + np.exp(1 - 3 * inputs[:, 0] * inputs[:, 1]))).astype(np.float64)
    return Labelled(inputs, labels, np.ones(count)), random.integers(0, 256, count).astype(np.uint8)


def test_learns_what_is_not_linear_the_same_each_time() -> None:
    data, buckets = rows(4000)
    texts = list(grow_boosters(data, buckets, config()))
    assert texts == list(grow_boosters(data, buckets, config()))
    assert texts[0] != texts[1]
    assert texts != list(grow_boosters(data, buckets, config(seed=8)))
    model, (fresh, _) = Gbdt.from_texts(texts, 1), rows(2000, 1)
    found = model.logits(fresh.inputs)
    assert roc_auc_score(fresh.labels, found) > 0.8
    by_member = [Gbdt.from_texts([text], 1).logits(fresh.inputs) for text in texts]
    np.testing.assert_allclose(found, np.mean(by_member, axis=0), rtol=1e-12)
    assert model.logits(fresh.inputs[:0]).shape == (0,)


def test_stops_where_held_back_users_gain_nothing() -> None:
    data, buckets = rows(2000)
    noise = Labelled(data.inputs, np.random.default_rng(3).permutation(data.labels), data.weights)
    trees = [text.count("\nTree=") for text in grow_boosters(noise, buckets, config())]
    learnt = [text.count("\nTree=") for text in grow_boosters(data, buckets, config())]
    assert max(trees) < 20 < min(learnt)


def test_trees_and_splits_read_a_share_of_the_inputs() -> None:
    """Of four inputs a quarter for a tree is one for all its splits; a quarter for a split is one for each."""
    data, buckets = rows(2000)
    [of_trees, _] = grow_boosters(data, buckets, config(gbdt_tree_inputs=0.25))
    assert max(map(len, inputs_of_trees(of_trees))) == 1 < len(set().union(*inputs_of_trees(of_trees)))
    narrow = config(gbdt_tree_inputs=1.0, gbdt_split_inputs=0.25)
    [of_splits, _], [of_all, _] = (
        grow_boosters(data, buckets, one) for one in (narrow, config(gbdt_tree_inputs=1.0, gbdt_split_inputs=1.0))
    )
    assert max(map(len, inputs_of_trees(of_splits))) > 2
    # One that may not choose has to split by what tells nothing.
    nothing = {"2", "3"}
    used = [[len(tree & nothing) for tree in inputs_of_trees(text)] for text in (of_splits, of_all)]
    assert used[0][0] == 2 > used[1][0]


def inputs_of_trees(text: str) -> list[set[str]]:
    return [set(line.split("=")[1].split()) for line in text.splitlines() if line.startswith("split_feature=")]


def test_too_few_rows_to_hold_any_back() -> None:
    data, _ = rows(40)
    texts = list(grow_boosters(data, np.full(40, 3, np.uint8), config()))
    assert np.isfinite(Gbdt.from_texts(texts, 1).logits(data.inputs)).all()


def test_threads_are_the_configured_ones() -> None:
    data, buckets = rows(300)
    [text, _] = grow_boosters(data, buckets, config(cores_per_rank=1))
    assert "[num_threads: 1]" in text


def test_what_is_no_booster_is_refused() -> None:
    with pytest.raises(ContractError, match="trees cannot be read"):
        Gbdt.from_texts(["nonsense"], 1)
