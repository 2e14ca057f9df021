"""How sure a figure is: percentile intervals of the bootstrap over users (Efron and Tibshirani, 1993, chapter 13).

Users who share score and outcome are alike, so drawing N of N users anew is one multinomial draw over the cells of
a histogram. Two candidates are compared on the same draws: what both find hard falls out of the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from intent_spark.models.metrics import ScoreHistogram, auc, log_loss, pr_auc

FloatArray = npt.NDArray[np.float64]
DRAWS, LEVEL = 400, 0.95
# So many groups of neighbouring scores are told apart in a draw: a figure moves by less than its last shown decimal.
GROUPS = 1000
_METRICS = {"auc": auc, "pr_auc": pr_auc, "log_loss": log_loss}


@dataclass(frozen=True)
class Interval:
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def histogram_intervals(histogram: ScoreHistogram, seed: int, draws: int = DRAWS) -> dict[str, Interval]:
    """Intervals of AUC, PR-AUC and log loss, over draws of the histogram's users that hold both outcomes.

    Raises:
        ValueError: the histogram lacks an outcome, or a count is no whole number of users.
    """
    if (histogram.users != np.round(histogram.users)).any():
        raise ValueError("A bootstrap over users needs whole numbers of users.")
    grouped = _grouped(histogram)
    cells = np.concatenate([grouped.positives, grouped.negatives])
    rng, size = np.random.default_rng(seed), grouped.score.size
    found: dict[str, list[float]] = {name: [] for name in _METRICS}
    for _ in range(draws):
        drawn = rng.multinomial(int(cells.sum()), cells / cells.sum()).astype(np.float64)
        if not (drawn[:size].any() and drawn[size:].any()):
            continue
        kept = drawn[:size] + drawn[size:] > 0
        sample = ScoreHistogram(grouped.score[kept], drawn[:size][kept], drawn[size:][kept])
        for name, metric in _METRICS.items():
            found[name].append(metric(sample))
    exact = {name: metric(histogram) for name, metric in _METRICS.items()}
    moved = {name: exact[name] - metric(grouped) for name, metric in _METRICS.items()}
    return {name: _interval(exact[name], [one + moved[name] for one in found[name]]) for name in _METRICS}


@dataclass(frozen=True, eq=False)
class Ranked:
    """Scores [n] and labels [n] made ready for many weighted AUCs."""

    labels: FloatArray
    order: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]

    @classmethod
    def of(cls, scores: FloatArray, labels: FloatArray) -> Ranked:
        """Sort once; tied scores are one group."""
        order = np.argsort(scores, kind="stable")
        ranked = scores[order]
        starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
        return cls(labels[order], order, starts)

    def auc(self, weights: FloatArray) -> float:
        """AUC with weights [n] in the scores' own order; NaN where an outcome weighs nothing."""
        weight = weights[self.order]
        positives = np.add.reduceat(weight * self.labels, self.starts)
        negatives = np.add.reduceat(weight * (1.0 - self.labels), self.starts)
        total = positives.sum() * negatives.sum()
        if total <= 0:
            return float("nan")
        return float(positives @ (np.cumsum(negatives) - negatives / 2.0) / total)


def auc_differences(
    scores: Mapping[str, list[FloatArray]], labels: FloatArray, against: str, seed: int, draws: int = DRAWS
) -> dict[str, Interval]:
    """Each candidate's AUC minus that of ``against``, on the same draws of users.

    Args:
        scores: by candidate, the users' scores [n] of one training or of several, whose AUCs are averaged.
        labels: 0 or 1 [n].
        against: the candidate to be compared with.
        seed: of the draws.
        draws: how many.
    """
    ranked = {name: [Ranked.of(values, labels) for values in runs] for name, runs in scores.items()}

    def differences(weights: FloatArray) -> dict[str, float]:
        means = {name: float(np.mean([one.auc(weights) for one in runs])) for name, runs in ranked.items()}
        return {name: mean - means[against] for name, mean in means.items()}

    return _paired(differences(np.ones(len(labels))), (differences(w) for w in resampled(len(labels), seed, draws)))


def mean_interval(sums: FloatArray, weights: FloatArray, seed: int, draws: int = DRAWS) -> Interval:
    """The interval of ``sums.sum() / weights.sum()``, where groups of users [g] are drawn anew.

    A group is a user, or all users whose hash is alike: groups of strangers vary as users do, so sums by group are
    enough, however many users there are. Of differences between two candidates' losses it is a paired comparison.
    """
    drawn = ((float(counts @ sums), float(counts @ weights)) for counts in resampled(len(sums), seed, draws))
    return _interval(float(sums.sum() / weights.sum()), [total / weight for total, weight in drawn if weight > 0])


def resampled(users: int, seed: int, draws: int) -> Iterator[FloatArray]:
    """How often each of the users [n] is drawn, for each draw of as many users."""
    rng = np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(rng.integers(users, size=users), minlength=users).astype(np.float64)


def _grouped(histogram: ScoreHistogram) -> ScoreHistogram:
    """Neighbouring scores together, about as many users in each of at most ``GROUPS`` groups."""
    if histogram.score.size <= GROUPS:
        return histogram
    reach = np.cumsum(histogram.users)
    place = np.ceil(reach * (GROUPS / reach[-1]))
    starts = np.flatnonzero(np.diff(place, prepend=-1.0))
    positives, negatives, score_sum = (
        np.add.reduceat(part, starts)
        for part in (histogram.positives, histogram.negatives, histogram.score * histogram.users)
    )
    return ScoreHistogram.from_counts(score_sum / (positives + negatives), positives, negatives)


def _paired(values: dict[str, float], drawn: Iterator[dict[str, float]]) -> dict[str, Interval]:
    rows = list(drawn)
    return {name: _interval(value, [row[name] for row in rows]) for name, value in values.items()}


def _interval(value: float, drawn: list[float]) -> Interval:
    known = np.array([one for one in drawn if np.isfinite(one)])
    if not len(known):
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))
