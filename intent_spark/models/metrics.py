"""Metrics of binary scores, exact for given counts: how well they rank users, how true the probabilities are.

All metrics read a :class:`ScoreHistogram`: for each distinct score the weight of the users who bought and of
those who did not. Histograms of several partitions or ranks are added before anything is computed
(``from_counts``); an average of per-partition AUCs would be wrong.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

CURVE_POINTS = 500
_Z_95 = 1.959963984540054


@dataclass(frozen=True, eq=False)
class ScoreHistogram:
    """Weight of both outcomes at each distinct score (ascending, unique); all three are float64[n]."""

    score: FloatArray
    positives: FloatArray
    negatives: FloatArray

    def __post_init__(self) -> None:
        """Refuse vectors of unequal length, unsorted scores and negative or infinite counts."""
        if not self.score.shape == self.positives.shape == self.negatives.shape == (self.score.size,):
            raise ValueError("Scores, positives and negatives must be vectors of one length.")
        if not np.isfinite(self.score).all() or (np.diff(self.score) <= 0).any():
            raise ValueError("Scores must be finite, ascending and unique: use from_counts to sort them.")
        counts = np.concatenate([self.positives, self.negatives])
        if not np.isfinite(counts).all() or (counts < 0).any():
            raise ValueError("Positives and negatives must be finite and not negative.")

    @classmethod
    def from_scores(
        cls, scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None
    ) -> ScoreHistogram:
        """Count raw scores [n] with labels [n] (0 or 1) and weights [n] (not negative, default 1)."""
        label = np.asarray(labels, dtype=np.float64)
        if not np.isin(label, (0.0, 1.0)).all():
            raise ValueError("Labels must be 0 or 1.")
        weight = np.ones(label.shape) if weights is None else np.asarray(weights, dtype=np.float64)
        if weight.shape != label.shape:
            raise ValueError(f"Labels have shape {label.shape} but weights have shape {weight.shape}.")
        return cls.from_counts(scores, weight * label, weight * (1.0 - label))

    @classmethod
    def from_counts(cls, scores: npt.ArrayLike, positives: npt.ArrayLike, negatives: npt.ArrayLike) -> ScoreHistogram:
        """Add up counts in any order; a score may repeat (a row a partition), empty scores are dropped."""
        score, positive, negative = (np.asarray(a, dtype=np.float64) for a in (scores, positives, negatives))
        if not score.shape == positive.shape == negative.shape == (score.size,):
            raise ValueError("Scores, positives and negatives must be vectors of one length.")
        unique, where = np.unique(score, return_inverse=True)
        positive = np.bincount(where, positive, minlength=unique.size).astype(np.float64)
        negative = np.bincount(where, negative, minlength=unique.size).astype(np.float64)
        kept = positive + negative != 0
        return cls(unique[kept], positive[kept], negative[kept])

    @property
    def users(self) -> FloatArray:
        """Weight of all users at each score [n]."""
        return self.positives + self.negatives

    @property
    def total(self) -> float:
        """Weight of all users."""
        return float(self.users.sum())

    @property
    def total_positives(self) -> float:
        """Weight of the users who bought."""
        return float(self.positives.sum())

    @property
    def total_negatives(self) -> float:
        """Weight of the users who did not."""
        return float(self.negatives.sum())


@dataclass(frozen=True)
class Metrics:
    """The figures of one histogram that reports, registries and gates read."""

    users: float
    positives: float
    base_rate: float
    mean_score: float
    auc: float
    pr_auc: float
    log_loss: float
    brier: float
    calibration_error: float
    top_decile_lift: float

    def to_dict(self) -> dict[str, float]:
        """Name → plain float, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class LiftRow:
    """A tenth of the users; decile 1 holds the highest scores."""

    decile: int
    lowest_score: float
    users: float
    positives: float
    rate: float
    lift: float
    cumulative_share: float


@dataclass(frozen=True)
class ReliabilityRow:
    """Users of neighbouring scores: ``mean_score`` was promised, ``rate`` happened (95 % interval)."""

    bin: int
    lowest_score: float
    highest_score: float
    users: float
    positives: float
    mean_score: float
    rate: float
    rate_low: float
    rate_high: float


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Points [m] from (0, 0) to (1, 1); ``threshold`` is the lowest score called positive (first: inf)."""

    false_positive_rate: FloatArray
    true_positive_rate: FloatArray
    threshold: FloatArray


@dataclass(frozen=True, eq=False)
class PrCurve:
    """Points [m] with ascending recall, from (0, 1) by convention to (1, base rate)."""

    recall: FloatArray
    precision: FloatArray
    threshold: FloatArray


def auc(histogram: ScoreHistogram) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties count one half.

    The Mann-Whitney U statistic divided by positives x negatives (Hanley and McNeil, Radiology 143, 1982).
    """
    _require_both_outcomes(histogram, "AUC")
    below = np.cumsum(histogram.negatives) - histogram.negatives
    won = histogram.positives @ (below + histogram.negatives / 2.0)
    return float(won / (histogram.total_positives * histogram.total_negatives))


def pr_auc(histogram: ScoreHistogram) -> float:
    """Average precision, sum of (R_k - R_{k-1}) P_k over descending thresholds, as in sklearn.

    No interpolation between points: the trapezoid rule is too optimistic (Davis and Goadrich, ICML 2006).
    """
    _require_both_outcomes(histogram, "PR-AUC")
    found = histogram.positives[::-1]
    precision = np.cumsum(found) / np.cumsum(histogram.users[::-1])
    return float(found @ precision / histogram.total_positives)


def log_loss(histogram: ScoreHistogram) -> float:
    """Mean negative log likelihood in nats; scores are clipped to [eps, 1 - eps], as in sklearn."""
    _require_probabilities(histogram, "Log loss")
    eps = np.finfo(np.float64).eps
    score = np.clip(histogram.score, eps, 1.0 - eps)
    loss = histogram.positives @ np.log(score) + histogram.negatives @ np.log1p(-score)
    return float(-loss / histogram.total)


def brier(histogram: ScoreHistogram) -> float:
    """Mean squared difference of score and outcome (Brier, Monthly Weather Review 78, 1950; binary form)."""
    _require_probabilities(histogram, "The Brier score")
    loss = histogram.positives @ (1.0 - histogram.score) ** 2 + histogram.negatives @ histogram.score**2
    return float(loss / histogram.total)


def calibration_error(histogram: ScoreHistogram, bins: int = 10) -> float:
    """Expected calibration error: sum of |mean score - rate| over bins of equal mass, weighted by mass.

    ECE after Naeini et al. (AAAI 2015), with the equal-mass bins of Nguyen and O'Connor (EMNLP 2015), because
    intent scores crowd at the low end. A tied score across an edge is split in proportion.
    """
    _require_probabilities(histogram, "Calibration error")
    parts = _equal_mass(histogram, bins)
    return float(np.abs(parts.score_sum - parts.positives).sum() / histogram.total)


def lift_by_decile(histogram: ScoreHistogram) -> list[LiftRow]:
    """Ten equal groups by descending score; lift is the group's rate over the rate of all.

    Ties across an edge are split in proportion, so the rows depend on no order of users and their ``users``
    may be fractional.
    """
    _require_both_outcomes(histogram, "Lift")
    parts = _equal_mass(histogram, 10)
    users, positives = parts.users[::-1], parts.positives[::-1]
    rate = positives / users
    lift = rate / (histogram.total_positives / histogram.total)
    share = np.cumsum(positives) / histogram.total_positives
    columns = zip(parts.lowest[::-1], users, positives, rate, lift, share, strict=True)
    return [LiftRow(decile, *(float(value) for value in row)) for decile, row in enumerate(columns, start=1)]


def reliability_table(histogram: ScoreHistogram, bins: int = 10) -> list[ReliabilityRow]:
    """Promised and seen rate in bins of equal mass, with the 95 % interval of Wilson (JASA 22, 1927)."""
    _require_probabilities(histogram, "A reliability table")
    parts = _equal_mass(histogram, bins)
    mean_score, rate = parts.score_sum / parts.users, parts.positives / parts.users
    low, high = _wilson(rate, parts.users)
    mass = (parts.lowest, parts.highest, parts.users, parts.positives)
    columns = zip(*mass, mean_score, rate, low, high, strict=True)
    return [ReliabilityRow(i, *(float(value) for value in row)) for i, row in enumerate(columns, start=1)]


def roc_curve(histogram: ScoreHistogram, points: int = CURVE_POINTS) -> RocCurve:
    """True against false positive rate at each distinct score, thinned along the curve to ``points``."""
    _require_both_outcomes(histogram, "A ROC curve")
    false_rate = _cumulative(histogram.negatives[::-1]) / histogram.total_negatives
    true_rate = _cumulative(histogram.positives[::-1]) / histogram.total_positives
    kept = _thin(false_rate, true_rate, points)
    return RocCurve(false_rate[kept], true_rate[kept], _thresholds(histogram)[kept])


def pr_curve(histogram: ScoreHistogram, points: int = CURVE_POINTS) -> PrCurve:
    """Precision against recall at each distinct score, thinned along the curve to ``points``."""
    _require_both_outcomes(histogram, "A precision-recall curve")
    found = np.cumsum(histogram.positives[::-1])
    recall = np.append(0.0, found / histogram.total_positives)
    precision = np.append(1.0, found / np.cumsum(histogram.users[::-1]))
    kept = _thin(recall, precision, points)
    return PrCurve(recall[kept], precision[kept], _thresholds(histogram)[kept])


def share_of_ceiling(model_auc: float, ceiling_auc: float) -> float:
    """(model AUC - 0.5) / (ceiling AUC - 0.5): the part of what can be known that the model knows."""
    if ceiling_auc <= 0.5:
        raise ValueError(f"A ceiling with AUC {ceiling_auc:.4f} knows nothing: no share of it can be kept.")
    return (model_auc - 0.5) / (ceiling_auc - 0.5)


def summary(histogram: ScoreHistogram) -> Metrics:
    """All figures. Raises ValueError if an outcome is missing or a score is not a probability."""
    return Metrics(
        users=histogram.total,
        positives=histogram.total_positives,
        auc=auc(histogram),
        pr_auc=pr_auc(histogram),
        log_loss=log_loss(histogram),
        brier=brier(histogram),
        calibration_error=calibration_error(histogram),
        base_rate=histogram.total_positives / histogram.total,
        mean_score=float(histogram.score @ histogram.users) / histogram.total,
        top_decile_lift=lift_by_decile(histogram)[0].lift,
    )


@dataclass(frozen=True, eq=False)
class _Parts:
    users: FloatArray
    positives: FloatArray
    score_sum: FloatArray
    lowest: FloatArray
    highest: FloatArray


def _equal_mass(histogram: ScoreHistogram, parts: int) -> _Parts:
    """Cut the users, by ascending score, into parts of equal weight."""
    if parts < 1:
        raise ValueError(f"The number of bins must be at least 1, got {parts}.")
    reach = _cumulative(histogram.users)
    edges = reach[-1] * np.arange(parts + 1) / parts

    def cut(amount: FloatArray) -> FloatArray:
        # Linear interpolation of a cumulative sum is the proportional split of the score at the edge.
        return np.maximum(np.diff(np.interp(edges, reach, _cumulative(amount))), 0.0)

    users = cut(histogram.users)
    # Weights sum with rounding: an edge that should fall between two scores must not fall just beside.
    slack = reach[-1] * 1e-12
    last = histogram.score.size - 1
    lowest = np.minimum(np.searchsorted(reach, edges[:-1] + slack, side="right") - 1, last)
    highest = np.maximum(np.searchsorted(reach, edges[1:] - slack, side="left") - 1, 0)
    return _Parts(
        users=users,
        positives=np.minimum(cut(histogram.positives), users),
        score_sum=cut(histogram.users * histogram.score),
        lowest=histogram.score[lowest],
        highest=histogram.score[highest],
    )


def _cumulative(amount: FloatArray) -> FloatArray:
    return np.append(0.0, np.cumsum(amount))


def _thresholds(histogram: ScoreHistogram) -> FloatArray:
    return np.append(np.inf, histogram.score[::-1])


def _thin(x: FloatArray, y: FloatArray, points: int) -> npt.NDArray[np.intp]:
    """Indices of at most ``points`` vertices, evenly spaced along the curve, both ends included."""
    if points < 2:
        raise ValueError(f"A curve needs at least 2 points, got {points}.")
    if x.size <= points:
        return np.arange(x.size)
    length = _cumulative(np.abs(np.diff(x)) + np.abs(np.diff(y)))
    nearest = np.searchsorted(length, np.linspace(0.0, length[-1], points)[:-1])
    return np.unique(np.append(nearest, x.size - 1).astype(np.intp))


def _wilson(rate: FloatArray, users: FloatArray) -> tuple[FloatArray, FloatArray]:
    centre = rate + _Z_95**2 / (2.0 * users)
    spread = _Z_95 * np.sqrt(rate * (1.0 - rate) / users + _Z_95**2 / (4.0 * users**2))
    scale = 1.0 + _Z_95**2 / users
    return np.maximum((centre - spread) / scale, 0.0), np.minimum((centre + spread) / scale, 1.0)


def _require_users(histogram: ScoreHistogram, metric: str) -> None:
    if histogram.total <= 0:
        raise ValueError(f"{metric} needs at least one user, but the histogram is empty.")


def _require_both_outcomes(histogram: ScoreHistogram, metric: str) -> None:
    _require_users(histogram, metric)
    positives, negatives = histogram.total_positives, histogram.total_negatives
    if positives <= 0 or negatives <= 0:
        raise ValueError(
            f"{metric} needs both outcomes, but the histogram holds {positives:g} positives and "
            f"{negatives:g} negatives: evaluate more users or another date."
        )


def _require_probabilities(histogram: ScoreHistogram, metric: str) -> None:
    _require_users(histogram, metric)
    low, high = histogram.score[0], histogram.score[-1]
    if low < 0.0 or high > 1.0:
        raise ValueError(f"{metric} needs probabilities in [0, 1], but scores go from {low:g} to {high:g}.")
