"""Gradient boosted trees by LightGBM: a bag of small boosters, kept as LightGBM's own text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from intent_spark.config.errors import ContractError
from intent_spark.config.model import ModelConfig
from intent_spark.models.logistic import FloatArray, Labelled

if TYPE_CHECKING:
    import lightgbm

Inputs = npt.NDArray[np.floating[Any]]
# One in so many buckets of users is held back from a booster to stop it.
STOPPING_SHARE = 8
# Random rows for each tree, a little shrinkage of the leaves: what keeps small trees from learning by heart.
_FIXED = {
    "objective": "binary",
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "min_data_in_leaf": 40,
    "lambda_l2": 1.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True, eq=False)
class Gbdt:
    """Boosters whose log odds are averaged; ``threads`` is what a prediction may use."""

    boosters: list[lightgbm.Booster]
    threads: int

    def logits(self, inputs: Inputs) -> FloatArray:
        """Mean log odds float64 [n] of inputs [n, f]."""
        if not len(inputs):
            return np.zeros(0)
        found = [booster.predict(inputs, raw_score=True, num_threads=self.threads) for booster in self.boosters]
        return np.asarray(np.mean(np.array(found, np.float64), axis=0))

    @classmethod
    def from_texts(cls, texts: list[str], threads: int) -> Gbdt:
        """The boosters of their texts.

        Raises:
            ContractError: LightGBM cannot read one.
        """
        import lightgbm

        try:
            return cls([lightgbm.Booster(model_str=text) for text in texts], threads)
        except lightgbm.basic.LightGBMError as error:
            raise ContractError(f"The model's trees cannot be read ({error}): train again.") from error


def grow_boosters(
    rows: Labelled, buckets: npt.NDArray[np.uint8], config: ModelConfig, trees: Sequence[int] = ()
) -> Iterator[str]:
    """Grow ``gbdt_bag`` boosters, each stopped by an eighth of the users; their texts, the same for the same rows.

    Args:
        rows: training rows only.
        buckets: of each row's user [n]: a user's rows are held back together, another eighth for each booster.
        config: sizes, seed and threads.
        trees: of each booster, where that is known: then all rows are grown on and none is held back.
    """
    import lightgbm

    common = _FIXED | {
        "num_leaves": config.gbdt_leaves,
        "learning_rate": config.gbdt_learning_rate,
        "feature_fraction": config.gbdt_tree_inputs,
        "feature_fraction_bynode": config.gbdt_split_inputs,
        "num_threads": config.cores_per_rank,
    }
    # Binned once; the boosters' rows are views of it.
    everything = lightgbm.Dataset(rows.inputs, rows.labels, weight=rows.weights, params=common).construct()
    for member in range(config.gbdt_bag):
        parameters = common | _seeds(config.seed + member)
        if trees:
            yield lightgbm.train(parameters, everything, trees[member]).model_to_string()
            continue
        held = buckets % STOPPING_SHARE == member % STOPPING_SHARE
        if len(np.unique(rows.labels[held])) < 2 or len(np.unique(rows.labels[~held])) < 2:
            # Too few users to hold some back: as many trees as need no judge.
            yield lightgbm.train(parameters, everything, config.gbdt_patience).model_to_string()
            continue
        grown, judge = (everything.subset(np.flatnonzero(part).tolist()) for part in (~held, held))
        stop = lightgbm.early_stopping(config.gbdt_patience, verbose=False)
        booster = lightgbm.train(parameters, grown, config.gbdt_max_trees, valid_sets=[judge], callbacks=[stop])
        yield booster.model_to_string(num_iteration=booster.best_iteration)


def trees_of(files: Mapping[str, bytes]) -> tuple[int, ...]:
    """How many trees each booster has, of their texts in order of their names."""
    return tuple(files[name].count(b"\nTree=") for name in sorted(files))


def _seeds(seed: int) -> dict[str, Any]:
    return {"bagging_seed": seed, "feature_fraction_seed": seed}
