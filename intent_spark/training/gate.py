"""Whether a new model may take the live one's place: both on the last matured window, user by user.

The new model's losses are cross-fitted on validation; the live one had never seen that window. The difference is
bootstrapped over groups of users. A challenger is refused where it is worse beyond chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import logit

from intent_spark.models.encode import Encoded
from intent_spark.models.intervals import Interval, mean_interval
from intent_spark.models.logistic import FloatArray, log_losses
from intent_spark.models.predictor import Predictor
from intent_spark.training.feed import BUCKETS, ExampleTable, SplitRows
from intent_spark.training.fitting import FitData
from intent_spark.training.stream import rank_rows

SEED = 1
# A probability that rounding made 0 or 1 must not cost infinitely much.
SURE = 1e-12


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger is let in, and the sentence that says why."""

    passed: bool
    why: str


def judge(difference: Interval) -> Verdict:
    """The verdict on the challenger's mean log loss minus the champion's."""
    passed = difference.low <= 0
    told = f"{difference.value:+.5f} ({difference.low:+.5f} to {difference.high:+.5f})"
    return Verdict(passed, f"its log loss on the last matured window is {'not ' if passed else ''}worse: {told}")


def against_champion(losses: FloatArray, data: FitData, table: ExampleTable, champion: Path) -> Interval:
    """The challenger's mean log loss minus that of the live model, over all ranks' validation rows.

    Args:
        losses: the challenger's, of this rank's validation rows [n].
        data: what it was fitted on; all ranks get the same.
        table: where the live model reads the same rows, encoded by its own schema.
        champion: the live model's directory.
    """
    live, collective = Predictor(champion, data.config.cores_per_rank), data.collective
    source = SplitRows.of(table, "validation", live.model.schema, collective.rank, collective.size, collective.sum)

    def odds(encoded: Encoded) -> FloatArray:
        scores = live.predict_encoded(encoded).candidates[live.model.champion]
        return np.asarray(logit(np.clip(scores, SURE, 1.0 - SURE)))

    validation = data.validation
    apart = losses - log_losses(rank_rows(source, data.feed, collective).score(odds), validation.labels)
    parts = (validation.weights * apart, validation.weights)
    sums, weights = collective.sum(
        np.stack([np.bincount(validation.buckets, part, minlength=BUCKETS).astype(np.float64) for part in parts])
    )
    return mean_interval(sums[weights > 0], weights[weights > 0], SEED)
