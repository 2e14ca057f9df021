"""Plots of scores and training as matplotlib figures, for the report page and for notebooks.

Each function takes ``histograms``, an ordered mapping of a candidate's name to its :class:`ScoreHistogram`.
The first is the one under evaluation and is drawn boldest; names that begin with ``ceiling`` are dashed.
Figures are made without pyplot: no global state, no display.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from intent_spark.models import metrics
from intent_spark.models.metrics import FloatArray, ScoreHistogram

CEILING = "ceiling"
# Okabe and Ito's palette: told apart by readers with any kind of colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
CEILING_COLOURS = ("#333333", "#8a8a8a")
TICKS = np.array([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9, 0.99])
GUIDE: dict[str, Any] = {"color": "#9a9a9a", "linewidth": 0.9, "linestyle": (0, (1, 2)), "zorder": 1}
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "intent_spark",
    "svg.fonttype": "none",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#777777",
    "axes.labelcolor": "#333333",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e9e9e9",
    "grid.linewidth": 0.8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "legend.fontsize": 9,
}
LOSSES = (("train_loss", "train", COLOURS[4]), ("validation_loss", "validation", COLOURS[0]))
Histograms = Mapping[str, ScoreHistogram]
Draw = Callable[[Histograms], Figure]


def calibration(histograms: Histograms) -> Figure:
    """Seen rate against mean score in ten bins of equal mass, above the number of users at each score."""
    first = next(iter(histograms.values()))
    with _styled(rows=(3.0, 1.0)) as (figure, axes):
        main, counts = axes
        top = max(_draw_reliability(main, name, h, look) for name, h, look in _looks(histograms))
        top = min(1.0, top * 1.08)
        main.plot([0, 1], [0, 1], **GUIDE)
        main.set(xlim=(0, top), ylim=(0, top), ylabel="bought")
        shown = np.minimum(first.score, top)
        counts.hist(shown, np.linspace(0, top, 41).tolist(), weights=first.users, color=COLOURS[0], alpha=0.6)
        counts.set(xlim=(0, top), yscale="log", xlabel="predicted probability", ylabel="users")
        main.tick_params(labelbottom=False)
        counts.set_ylim(bottom=0.8)
        counts.yaxis.set_major_formatter(FuncFormatter(_short_number))
        counts.yaxis.set_minor_formatter(NullFormatter())
        _percent(main.xaxis, main.yaxis, counts.xaxis)
        for axis in (main.xaxis, counts.xaxis):
            axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        _legend(figure, main)
    return figure


def lift_by_decile(histograms: Histograms) -> Figure:
    """Bars for the first candidate, markers for the others; a dotted line at lift 1."""
    first = next(iter(histograms))
    with _styled() as (figure, (axes,)):
        for name, histogram, look in _looks(histograms):
            rows = metrics.lift_by_decile(histogram)
            x, y = [row.decile for row in rows], [row.lift for row in rows]
            if name == first:
                axes.bar(x, y, width=0.72, color=look["color"], alpha=0.75, label=name, zorder=1.5)
            else:
                axes.plot(x, y, marker="o", markersize=3.5, label=name, **look)
        axes.axhline(1.0, **GUIDE)
        axes.set(xticks=range(1, 11), xlabel="decile of users, highest scores first", ylabel="lift")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
        axes.grid(visible=False, axis="x")
        _legend(figure, axes)
    return figure


def cumulative_gains(histograms: Histograms) -> Figure:
    """Share of all buyers reached against the share of users contacted, best scores first."""
    with _styled() as (figure, (axes,)):
        for name, histogram, look in _looks(histograms):
            contacted, reached = _gains(histogram)
            axes.plot(contacted, reached, label=name, **look)
        axes.plot([0, 1], [0, 1], **GUIDE)
        axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="users contacted", ylabel="buyers reached")
        _percent(axes.xaxis, axes.yaxis)
        _legend(figure, axes)
    return figure


def roc(histograms: Histograms) -> Figure:
    """True against false positive rate."""
    with _styled() as (figure, (axes,)):
        for name, histogram, look in _looks(histograms):
            curve = metrics.roc_curve(histogram)
            axes.plot(curve.false_positive_rate, curve.true_positive_rate, label=name, **look)
        axes.plot([0, 1], [0, 1], **GUIDE)
        axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="non-buyers flagged", ylabel="buyers flagged")
        _percent(axes.xaxis, axes.yaxis)
        _legend(figure, axes)
    return figure


def precision_recall(histograms: Histograms) -> Figure:
    """Precision against recall; the dotted line is the base rate, what a random choice would give."""
    top = 0.0
    with _styled() as (figure, (axes,)):
        for name, histogram, look in _looks(histograms):
            curve = metrics.pr_curve(histogram)
            # Where under 1 % of the buyers are found a few users decide: they shall not set the scale.
            top = max(top, 1.1 * float(curve.precision[curve.recall >= 0.01].max()))
            axes.step(curve.recall[1:], curve.precision[1:], where="pre", label=name, **look)
        first = next(iter(histograms.values()))
        axes.axhline(first.total_positives / first.total, **GUIDE)
        axes.set(xlim=(0, 1), ylim=(0, min(top, 1.01)), xlabel="buyers found", ylabel="of those flagged, bought")
        _percent(axes.xaxis, axes.yaxis)
        _legend(figure, axes)
    return figure


def score_distribution(histogram: ScoreHistogram, bins: int = 36) -> Figure:
    """Share of buyers and of non-buyers at each score; the log-odds scale keeps low scores apart."""
    with _styled() as (figure, (axes,)):
        place = _log_odds(histogram.score)
        edges = np.linspace(place.min() - 1e-9, place.max() + 1e-9, bins + 1)
        groups = (("did not buy", histogram.negatives), ("bought", histogram.positives))
        for (label, weight), colour in zip(groups, ("#8a8a8a", COLOURS[1]), strict=True):
            share = weight / max(weight.sum(), 1e-300)
            axes.hist(place, bins=edges.tolist(), weights=share, color=colour, alpha=0.5, label=label)
        shown = TICKS[(_log_odds(TICKS) >= edges[0]) & (_log_odds(TICKS) <= edges[-1])]
        axes.set_xticks(_log_odds(shown), [f"{tick * 100:g}%" for tick in shown])
        axes.set(xlabel="predicted probability (log-odds scale)", ylabel="share of the group")
        _percent(axes.yaxis)
        _legend(figure, axes)
    return figure


def training_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Log loss by epoch on training and validation data, the best validation epoch marked."""
    with _styled() as (figure, (axes,)):
        for key, label, colour in LOSSES:
            points = [(row["epoch"], row[key]) for row in history if row.get(key) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=colour, markersize=3.5, label=label)
        best = best_epoch(history)
        if best is not None:
            place = [best["epoch"]], [best["validation_loss"]]
            label = f"best: epoch {best['epoch']}"
            axes.plot(*place, "o", markersize=9, fillstyle="none", color=COLOURS[1], label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="log loss")
        _legend(figure, axes)
    return figure


def tuning(study: Sequence[Mapping[str, Any]]) -> Figure:
    """Each trial's loss and the lowest until then; trials given up or failed are marked where they stand."""
    with _styled() as (figure, (axes,)):
        ended = [(row["trial"], row["loss"]) for row in study if row.get("loss") is not None]
        if ended:
            numbers, losses = zip(*ended, strict=True)
            axes.plot(numbers, losses, "o", color=COLOURS[4], markersize=4, label="a trial")
            best = np.minimum.accumulate(losses)
            axes.step(numbers, best, where="post", color=COLOURS[0], label="the best until then")
        cut = [row["trial"] for row in study if row.get("loss") is None]
        axes.plot(cut, [0.02] * len(cut), "x", color=COLOURS[1], transform=axes.get_xaxis_transform(), label="given up")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="trial", ylabel="cross-fitted log loss of the champion")
        _legend(figure, axes)
    return figure


def best_epoch(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row of the first epoch with the lowest validation loss, None if no epoch was validated."""
    validated = [row for row in history if row.get("validation_loss") is not None]
    return min(validated, key=lambda row: row["validation_loss"], default=None)


def to_svg(figure: Figure, identity: str, description: str) -> str:
    """The figure as an ``<svg>`` element for HTML; figures made from equal data give equal text.

    ``identity`` prefixes every id inside, so that several plots may stand in one page; ``description`` is for
    those who cannot see it.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:xmlns:xlink|version|width|height)="[^"]*"', "", text, count=4)
    text = text.replace("xlink:href=", "href=")
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{identity}-", text)
    label = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


@contextmanager
def _styled(rows: Sequence[float] = (1.0,)) -> Iterator[tuple[Figure, list[Axes]]]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 3.7), layout="constrained")
        grid = figure.subplots(len(rows), 1, squeeze=False, gridspec_kw={"height_ratios": list(rows)})
        yield figure, list(grid[:, 0])


def _looks(histograms: Histograms) -> Iterator[tuple[str, ScoreHistogram, dict[str, Any]]]:
    """Colours by order among models and among ceilings, so that a candidate looks the same in each plot."""
    seen = {True: 0, False: 0}
    for name, histogram in histograms.items():
        ceiling = name.startswith(CEILING)
        palette = CEILING_COLOURS if ceiling else COLOURS
        colour = palette[seen[ceiling] % len(palette)]
        emphasis = {"linewidth": 1.3, "zorder": 2} if any(seen.values()) else {"linewidth": 2.0, "zorder": 3}
        # More models than colours: the palette comes round in another stroke.
        stroke = "--" if ceiling else "-" if seen[ceiling] < len(palette) else "-."
        seen[ceiling] += 1
        yield name, histogram, {"color": colour, "linestyle": stroke, **emphasis}


def _draw_reliability(axes: Axes, name: str, histogram: ScoreHistogram, look: dict[str, Any]) -> float:
    rows = metrics.reliability_table(histogram)
    x, y = [row.mean_score for row in rows], [row.rate for row in rows]
    if look["zorder"] == 3:
        low, high = [row.rate_low for row in rows], [row.rate_high for row in rows]
        axes.vlines(x, low, high, color=look["color"], alpha=0.5)
    axes.plot(x, y, marker="o", markersize=3.5, label=name, **look)
    return max(*x, *y)


def _gains(histogram: ScoreHistogram) -> tuple[FloatArray, FloatArray]:
    contacted = np.append(0.0, np.cumsum(histogram.users[::-1])) / histogram.total
    reached = np.append(0.0, np.cumsum(histogram.positives[::-1])) / histogram.total_positives
    grid = np.linspace(0.0, 1.0, 201)
    return grid, np.interp(grid, contacted, reached)


def _log_odds(score: FloatArray) -> FloatArray:
    inside = np.clip(score, 1e-4, 1.0 - 1e-4)
    return np.log(inside / (1.0 - inside))


def _percent(*axes: Any) -> None:
    for axis in axes:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.3g}%"))


def _short_number(value: float, _: int) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles and axes.containers and len(handles) > len(axes.containers):
        # Matplotlib lists lines before bars, but the bars are the first candidate's.
        handles, labels = [handles[-1], *handles[:-1]], [labels[-1], *labels[:-1]]
    columns = 2 if max(map(len, labels), default=0) < 30 else 1
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=1.8)
