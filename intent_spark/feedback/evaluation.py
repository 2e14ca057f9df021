"""All candidates of one date, measured on the same users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from pyspark.sql import DataFrame

from intent_spark.config.heads import CHURN, SPEND
from intent_spark.config.settings import EvaluationSettings
from intent_spark.feedback.decision import Decision, decide
from intent_spark.feedback.outcomes import ALL, Scored, count_scores
from intent_spark.feedback.spend import Spend, count_spend
from intent_spark.models.directory import CALIBRATED, TrainedModel
from intent_spark.models.intervals import Interval, histogram_intervals
from intent_spark.models.metrics import Metrics, ScoreHistogram, summary

UNCALIBRATED = "champion, uncalibrated"
LOGISTIC = "logistic"
CEILING, HIDDEN = "ceiling: events so far", "ceiling: hidden state"
SEED = 1


@dataclass(frozen=True)
class Figures:
    """One candidate in one segment: metrics, and of some of them the 95 % interval over users."""

    candidate: str
    segment: str
    metrics: Metrics
    intervals: dict[str, Interval]


@dataclass(frozen=True)
class Evaluation:
    """Histograms by candidate, the champion's first, and segment; and the decision they lead to.

    ``churn`` are those, by segment, of the probability of no event; ``spend`` is what was spent beside what was
    expected. Each is empty where no network tells it.
    """

    histograms: dict[str, dict[str, ScoreHistogram]]
    champion: str
    decision: Decision
    churn: dict[str, ScoreHistogram] = field(default_factory=dict)
    spend: dict[str, Spend] = field(default_factory=dict)

    @cached_property
    def figures(self) -> list[Figures]:
        """Every candidate's, where a segment has both buyers and others."""
        return list(self._figures())

    def _figures(self) -> Iterator[Figures]:
        for name, parts in (*self.histograms.items(), (CHURN.name, self.churn)):
            for part, histogram in parts.items():
                if histogram.total_positives > 0 and histogram.total_negatives > 0:
                    yield Figures(name, part, summary(histogram), histogram_intervals(histogram, SEED))


def evaluate(
    outcomes: DataFrame, truth: DataFrame | None, model: TrainedModel, limits: EvaluationSettings
) -> Evaluation:
    """Count the scores of every candidate and decide.

    Args:
        outcomes: the outcomes of one date.
        truth: true probabilities by user, where the shop is simulated.
        model: the model that scored.
        limits: when to ask for a new one.
    """
    columns = {model.champion: "calibrated_intent", UNCALIBRATED: "intent"}
    columns |= {name: f"candidates.{name}" for name in reversed(model.candidates) if name != model.champion}
    if truth is not None:
        outcomes = outcomes.join(truth, on="user_id", how="left")
        columns |= {CEILING: "p_filter", HIDDEN: "p_state"}
    scores = {name: Scored(column) for name, column in columns.items()}
    if CHURN.name in model.heads:
        scores[CHURN.name] = Scored(CHURN.name, CHURN.label)
    histograms = count_scores(outcomes, scores)
    churn = histograms.pop(CHURN.name, {})
    live = summary(histograms[model.champion][ALL])
    logistic = summary(histograms[LOGISTIC][ALL]) if LOGISTIC in histograms else None
    decision = decide(live, logistic, model.best.metrics[CALIBRATED]["auc"], limits)
    spend = count_spend(outcomes) if SPEND.name in model.heads else {}
    return Evaluation(histograms, model.champion, decision, churn, spend)
