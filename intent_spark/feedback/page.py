"""What the report shows, gathered from the tables."""

from __future__ import annotations

from datetime import date
from typing import Any

from pyspark.sql import Window
from pyspark.sql import functions as F

from intent_spark.feedback.evaluation import CEILING, HIDDEN, UNCALIBRATED, Evaluation, Figures
from intent_spark.feedback.outcomes import ALL
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.quality import gate_history
from intent_spark.lakehouse.shop import recorded_shop
from intent_spark.models.directory import TrainedModel
from intent_spark.models.metrics import ScoreHistogram
from intent_spark.reports.evaluation import Candidate, EvaluationPage
from intent_spark.reports.quality_plots import GateDay

SPLITS = ("train", "refit", "validation")
NOTES = {
    UNCALIBRATED: "the champion before calibration",
    "blend": "weighted sum of the other candidates' calibrated log odds",
    "gbdt": "boosted trees on the profile",
    "logistic": "logistic regression on the profile",
    "bgnbd": "BG/NBD on number and dates of purchases alone",
    "naive_bayes": "naive Bayes on the profile",
    "recency": "days since the last event or purchase alone",
    CEILING: "the simulated shop's true probability given the events so far: no model can pass it",
    HIDDEN: "the true probability given the hidden state, which no model can see",
}


def page(
    lakehouse: Lakehouse,
    result: Evaluation,
    model: TrainedModel,
    as_of: date,
    horizon: int,
    inputs: dict[str, int],
) -> EvaluationPage:
    """The page of one evaluation."""
    shop = recorded_shop(lakehouse)
    histograms = {name: segments[ALL] for name, segments in result.histograms.items()}
    live = histograms[result.champion]
    return EvaluationPage(
        title="Purchase intent",
        shop=f"{shop.time_zone}, {shop.currency}",
        as_of=as_of,
        horizon_days=horizon,
        users=int(live.total),
        positives=int(live.total_positives),
        candidates=tuple(_candidate(name, histogram, result.champion) for name, histogram in histograms.items()),
        training_history=_history(model),
        decision={"retrain": result.decision.retrain, "reasons": result.decision.reasons},
        lineage=_lineage(inputs, model),
        stages=stage_rows(lakehouse),
        intervals=_intervals(result),
        study=model.study,
        segments=_segments(result),
        spend=_spend(result),
        quality=quality(lakehouse),
        before_calibration=histograms.get(UNCALIBRATED),
    )


def quality(lakehouse: Lakehouse) -> list[GateDay]:
    """Every gate of every day as it stands; the source is named where there are several."""
    rows = gate_history(lakehouse)
    several = len({row["source"] for row in rows}) > 1
    return [
        GateDay(f"{row['gate']} ({row['source']})" if several else row["gate"], row["event_date"], row["value"],
                row["warn"], row["fail"], row["status"], row["accepted"])
        for row in rows
    ]  # fmt: skip


def _candidate(name: str, histogram: ScoreHistogram, champion: str) -> Candidate:
    """The champion is marked as such; what is no baseline, blend or ceiling is a network."""
    note = NOTES.get(name, "network on profile and sequence")
    shown, chosen = (
        (f"{name} (champion)", "; chosen on validation, by cross-fitted log loss") if name == champion else (name, "")
    )
    return Candidate(shown, histogram, note + chosen)


def _history(model: TrainedModel) -> list[dict[str, Any]]:
    """The champion's epochs; where it has none, those of the first network."""
    histories = [model.best.history, *(candidate.history for candidate in model.candidates.values())]
    return next((history for history in histories if history), [])


def _segments(result: Evaluation) -> list[dict[str, Any]]:
    return [
        {"segment": told.segment, "users": int(told.metrics.users), "buyers": int(told.metrics.positives),
         **_with_interval(told), "calibration error": told.metrics.calibration_error}
        for told in result.figures
        if told.candidate == result.champion
    ]  # fmt: skip


def _spend(result: Evaluation) -> list[dict[str, Any]]:
    return [
        {"segment": name, "users": one.users, "expected": round(one.expected), "spent": one.spent,
         "expected / spent": one.ratio and f"{one.ratio:.2f}",
         "top tenth's part": _percent(one.top_share), "by intent": _percent(one.top_by_intent)}
        for name, one in result.spend.items()
    ]  # fmt: skip


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"


def _intervals(result: Evaluation) -> list[dict[str, Any]]:
    return [{"candidate": told.candidate, **_with_interval(told)} for told in result.figures if told.segment == ALL]


def _with_interval(told: Figures) -> dict[str, Any]:
    """Each figure with its interval, unbreakable so that it stays on one line of a narrow window."""
    labels = {"auc": "AUC", "pr_auc": "PR-AUC", "log_loss": "log loss"}
    return {
        labels[name]: f"{one.value:.4f}\u00a0({one.low:.4f}\u00a0to\u00a0{one.high:.4f})"
        for name, one in told.intervals.items()
    }


def _lineage(inputs: dict[str, int], model: TrainedModel) -> list[dict[str, Any]]:
    lineage, examples = model.manifest["lineage"], model.manifest["examples"]
    rows = [{"table": name, "version": version, "note": "read by this evaluation"} for name, version in inputs.items()]
    by_split = {split: [day for day, of in lineage["splits"].items() if of == split] for split in SPLITS}
    dates = [f"{split} {', '.join(days)}" for split, days in by_split.items() if days]
    rows.append({"table": "examples", "version": examples["version"], "note": f"training set: {'; '.join(dates)}"})
    trained = [
        {"table": n, "version": v, "note": "read by the training set"} for n, v in lineage["table_versions"].items()
    ]
    code = {
        "table": "code",
        "version": lineage["code_version"],
        "note": f"features {lineage['definition_hash']}",
    }
    return [*rows, *trained, code]


def stage_rows(lakehouse: Lakehouse) -> list[dict[str, Any]]:
    """The last run of each job that did something: rows and seconds."""
    if not lakehouse.exists("job_runs"):
        return []
    newest = Window.partitionBy("job").orderBy(F.desc("started_at"))
    runs = lakehouse.read("job_runs").where("status = 'succeeded' and job != 'run_pipeline'")
    last = runs.withColumn("nth", F.row_number().over(newest)).where("nth = 1").orderBy("started_at")
    rows = last.select("job", "rows_in", "rows_out", "seconds").collect()
    return [
        {"stage": r["job"], "rows in": r["rows_in"], "rows": r["rows_out"], "seconds": round(r["seconds"], 1)}
        for r in rows
    ]
