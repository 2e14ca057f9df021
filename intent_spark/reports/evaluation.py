"""The evaluation page: one self-contained HTML file that says how good a day's intent scores were."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from intent_spark.models import metrics
from intent_spark.models.metrics import Metrics, ScoreHistogram
from intent_spark.reports import plots
from intent_spark.reports.page import fill, write_page
from intent_spark.reports.quality_plots import GateDay, by_gate, gates_by_day
from intent_spark.reports.table import Table, format_cell, table

FILE_NAME = "index.html"
METRIC_COLUMNS = ("auc", "pr_auc", "log_loss", "brier", "calibration_error", "top_decile_lift")


@dataclass(frozen=True)
class Candidate:
    """One way to score the users. A name that begins with ``ceiling`` marks what no model can pass."""

    name: str
    histogram: ScoreHistogram
    note: str = ""

    @property
    def is_ceiling(self) -> bool:
        """True for the simulated shop's true probabilities."""
        return self.name.startswith(plots.CEILING)


@dataclass(frozen=True)
class EvaluationPage:
    """All that the page shows.

    The first candidate is the one under evaluation: cards, captions and detail tables are about it. The first
    ceiling is the one it is measured against. ``before_calibration`` has the first candidate's scores as they were
    before. Rows of ``lineage``, ``stages``, ``segments``, ``spend`` and
    ``intervals`` are shown as they are; ``training_history`` needs ``epoch`` and any of ``train_loss`` and
    ``validation_loss``.
    """

    title: str
    shop: str
    as_of: date
    horizon_days: int
    users: int
    positives: int
    candidates: tuple[Candidate, ...]
    training_history: list[dict[str, Any]]
    decision: dict[str, Any]
    lineage: list[dict[str, Any]]
    stages: list[dict[str, Any]]
    segments: list[dict[str, Any]] = field(default_factory=list)
    spend: list[dict[str, Any]] = field(default_factory=list)
    intervals: list[dict[str, Any]] = field(default_factory=list)
    study: list[dict[str, Any]] = field(default_factory=list)
    quality: list[GateDay] = field(default_factory=list)
    before_calibration: ScoreHistogram | None = None

    def __post_init__(self) -> None:
        """Refuse a page without candidates or with two of one name."""
        names = [candidate.name for candidate in self.candidates]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"An evaluation needs one or more candidates of different names, got {names}.")


@dataclass(frozen=True)
class Plot:
    """A drawn plot with its heading and the sentences that tell how to read it."""

    title: str
    svg: Markup
    caption: str


def metric_rows(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """One row a candidate, for ``text_table``: name, metrics and (models only) the share of the ceiling."""
    figures = [metrics.summary(candidate.histogram) for candidate in candidates]
    ceiling = _ceiling_auc(candidates, figures)
    rows: list[dict[str, Any]] = []
    for candidate, figure in zip(candidates, figures, strict=True):
        row: dict[str, Any] = {"candidate": candidate.name} | _picked(figure)
        if ceiling is not None:
            share = metrics.share_of_ceiling(figure.auc, ceiling)
            row["share_of_ceiling"] = None if candidate.is_ceiling else share
        rows.append(row)
    return rows


def render(page: EvaluationPage) -> str:
    """The page as HTML; equal pages give equal text. Raises ValueError if a candidate cannot be evaluated."""
    rows = metric_rows(page.candidates)
    last_day = page.as_of + timedelta(days=page.horizon_days - 1)
    return fill(
        "evaluation.html.j2",
        page=page,
        last_day=last_day,
        cards=_cards(page, rows[0]),
        metrics=table(rows),
        notes=[candidate for candidate in page.candidates if candidate.note],
        plots=_plots(page),
        history=table(page.training_history),
        details=_details(page),
    )


def write(page: EvaluationPage, folder: Path | str) -> Path:
    """Write ``index.html`` into ``folder`` (made if missing) in one step and give back its path."""
    return write_page(render(page), Path(folder) / FILE_NAME)


def _picked(figure: Metrics) -> dict[str, float]:
    return {name: value for name, value in figure.to_dict().items() if name in METRIC_COLUMNS}


def _ceiling_auc(candidates: Iterable[Candidate], figures: Iterable[Metrics]) -> float | None:
    pairs = zip(candidates, figures, strict=True)
    ceiling = next((figure.auc for candidate, figure in pairs if candidate.is_ceiling), None)
    return ceiling if ceiling is not None and ceiling > 0.5 else None


def _cards(page: EvaluationPage, first: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Label, figure and one short remark for each card."""
    base_rate = page.positives / page.users
    cards = [
        ("Users scored", format_cell(page.users), "each with a profile at the date"),
        ("Buyers", format_cell(page.positives), f"{base_rate:.2%} of the users"),
        ("AUC", f"{first['auc']:.4f}", "0.5 is chance, 1 is perfect"),
        ("PR-AUC", f"{first['pr_auc']:.4f}", f"chance would give {base_rate:.4f}"),
        ("Log loss", f"{first['log_loss']:.4f}", "lower is better"),
        ("Calibration error", f"{first['calibration_error']:.2%}", "mean gap of promise and outcome"),
    ]
    if first.get("share_of_ceiling") is not None:
        remark = "of (ceiling AUC − 0.5) is kept"
        cards.append(("Share of ceiling", f"{first['share_of_ceiling']:.1%}", remark))
    return cards


def _plots(page: EvaluationPage) -> list[Plot]:
    histograms = {candidate.name: candidate.histogram for candidate in page.candidates}
    first = page.candidates[0]
    drawn = [
        ("calibration", "Calibration", plots.calibration, _calibration_caption(first)),
        ("lift", "Lift by decile", plots.lift_by_decile, _lift_caption(first)),
        ("gains", "Cumulative gains", plots.cumulative_gains, _gains_caption(first)),
        ("roc", "ROC curve", plots.roc, _roc_caption(first)),
        ("precision-recall", "Precision and recall", plots.precision_recall, _precision_caption()),
    ]
    shown = [_plot(name, title, draw(histograms), caption) for name, title, draw, caption in drawn]
    scores = plots.score_distribution(first.histogram)
    shown.append(_plot("scores", "Scores by outcome", scores, _scores_caption(first)))
    if page.training_history:
        curves = plots.training_curves(page.training_history)
        shown.append(_plot("training", "Training", curves, _training_caption(page)))
    if page.study:
        shown.append(_plot("tuning", "Tuning", plots.tuning(page.study), _tuning_caption(page.study)))
    if by_gate(page.quality):
        shown.append(_plot("quality", "Quality gates", gates_by_day(page.quality), _quality_caption(page)))
    return shown


def _plot(identity: str, title: str, figure: Figure, caption: str) -> Plot:
    return Plot(title, Markup(plots.to_svg(figure, identity, f"{title}. {caption}")), caption)


def _calibration_caption(first: Candidate) -> str:
    error = metrics.calibration_error(first.histogram)
    return (
        "Each point is a tenth of the users: to the right what was predicted, upwards what happened. On the "
        f"dotted line a score of 10% means that 10 in 100 buy. “{first.name}” is off by {error * 100:.2f} "
        "percentage points on average; its thin bars are 95% intervals. Below: its users at each score "
        "(log scale; the last bar holds all above)."
    )


def _lift_caption(first: Candidate) -> str:
    top = metrics.lift_by_decile(first.histogram)[0]
    return (
        f"Users in ten equal groups, the highest scores in group 1, which buys {top.lift:.1f} times as "
        "often as the average user (dotted line). Bars should fall from left to right; "
        "a flat chart would mean that scores tell nothing."
    )


def _gains_caption(first: Candidate) -> str:
    rows = metrics.lift_by_decile(first.histogram)
    return (
        "How many of all buyers are reached if only users with the best scores are contacted: "
        f"the best 10% hold {rows[0].cumulative_share:.0%} of the buyers, the best 30% hold "
        f"{rows[2].cumulative_share:.0%}. The dotted line is a random choice."
    )


def _roc_caption(first: Candidate) -> str:
    return (
        f"Given one buyer and one non-buyer, “{first.name}” scores the buyer higher in "
        f"{metrics.auc(first.histogram):.1%} of pairs: that is the AUC, the area under the curve. "
        "Closer to the upper left corner is better."
    )


def _precision_caption() -> str:
    return (
        "If users above some score are flagged: the share of all buyers that are found (to the right) and "
        "the share of the flagged who buy (upwards). Higher is better; the dotted line is a random choice. "
        "The left end rests on few users and is noisy."
    )


def _scores_caption(first: Candidate) -> str:
    return (
        f"Where “{first.name}” places those who bought and those who did not; each group adds up to 100%. "
        "The less the two overlap, the better the scores separate them."
    )


def _training_caption(page: EvaluationPage) -> str:
    best = plots.best_epoch(page.training_history)
    kept = f" The weights of epoch {best['epoch']} had the lowest validation loss." if best else ""
    return (
        "Log loss after each pass over the training examples; lower is better. Validation loss that rises "
        f"while training loss falls is overfitting.{kept}"
    )


def _tuning_caption(study: Sequence[Mapping[str, Any]]) -> str:
    given_up = sum(row.get("loss") is None for row in study)
    return (
        f"{len(study)} trials of settings on validation, of which {given_up} were given up early or failed; lower is "
        "better. The model was trained with the settings of the best."
    )


def _quality_caption(page: EvaluationPage) -> str:
    failed = [d for d in page.quality if d.status == "fail"]
    accepted = sum(d.accepted for d in failed)
    told = f"{len(failed)} failed, {accepted} of them accepted by somebody (ringed)" if failed else "None failed"
    return (
        "What ingestion measured of each day's events, by gate; the dashed lines are the declared limits, and a day "
        f"above the red one is kept out of the profiles until somebody accepts it. {told}."
    )


def _details(page: EvaluationPage) -> list[tuple[str, str, Table]]:
    """Heading, explanation and table of each section that has rows."""
    name, histogram = page.candidates[0].name, page.candidates[0].histogram
    before = _reliability_rows(page.before_calibration) if page.before_calibration else []
    sections: list[tuple[str, str, Sequence[Mapping[str, Any]]]] = [
        ("Lift by decile", f"“{name}”; tied scores are split in proportion.", _lift_rows(histogram)),
        ("Calibration", f"“{name}” in ten equal groups, with 95% intervals.", _reliability_rows(histogram)),
        ("Before calibration", f"“{name}” as it was before, in ten equal groups.", before),
        ("Intervals", "95% intervals: the users were drawn anew 400 times.", page.intervals),
        ("Segments", f"“{name}” within groups of users, with 95% intervals.", page.segments),
        ("Spend", "In minor units; and the part of the tenth expected to spend most, or likeliest to buy.", page.spend),
        ("Trials", "Settings that tuning tried, in its order.", page.study),
        ("Stages", "Rows and seconds of the jobs that led here.", page.stages),
        ("Lineage", "The table versions that this evaluation has read.", page.lineage),
    ]
    return [(title, text, table(rows)) for title, text, rows in sections if rows]


def _lift_rows(histogram: ScoreHistogram) -> list[dict[str, Any]]:
    shown: dict[str, Callable[[float], Any]] = {
        "lowest_score": lambda value: f"{value:.4f}",
        "users": lambda value: f"{value:,.0f}",
        "positives": lambda value: f"{value:,.0f}",
        "rate": lambda value: f"{value:.2%}",
        "lift": lambda value: f"{value:.2f}×",
        "cumulative_share": lambda value: f"{value:.1%}",
    }
    rows = [asdict(row) for row in metrics.lift_by_decile(histogram)]
    return [row | {name: show(row[name]) for name, show in shown.items()} for row in rows]


def _reliability_rows(histogram: ScoreHistogram) -> list[dict[str, Any]]:
    return [
        {
            "scores": _span(f"{row.lowest_score:.4f}", f"{row.highest_score:.4f}"),
            "users": f"{row.users:,.0f}",
            "predicted": f"{row.mean_score:.2%}",
            "bought": f"{row.rate:.2%}",
            "interval": _span(f"{row.rate_low:.2%}", f"{row.rate_high:.2%}"),
        }
        for row in metrics.reliability_table(histogram)
    ]


def _span(low: str, high: str) -> str:
    # Unbreakable spaces: a range stays on one line in a narrow window.
    return f"{low}\u00a0to\u00a0{high}"
