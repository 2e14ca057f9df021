"""Plots: what they draw is what the metrics say, and their SVG is stable and fit for one page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.metrics import auc as area_under

from intent_spark.models import metrics
from intent_spark.models.metrics import ScoreHistogram
from intent_spark.reports import plots

Histograms = dict[str, ScoreHistogram]
COMPARISONS = [
    plots.calibration,
    plots.lift_by_decile,
    plots.cumulative_gains,
    plots.roc,
    plots.precision_recall,
]


def _bars(figure: Figure) -> list[float]:
    return [bar.get_height() for bar in figure.axes[0].patches if isinstance(bar, Rectangle)]


def _legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("draw", COMPARISONS)
def test_comparisons_name_each_candidate_in_order(draw: plots.Draw, histograms: Histograms) -> None:
    """The legend lists the candidates as given, whatever is drawn as bars."""
    assert _legend(draw(histograms)) == list(histograms)


def test_lift_bars_are_the_first_candidates_lift(histograms: Histograms) -> None:
    """Bar heights equal the table's figures."""
    expected = [row.lift for row in metrics.lift_by_decile(histograms["intent model"])]
    assert _bars(plots.lift_by_decile(histograms)) == pytest.approx(expected)


def test_curves_hold_the_area_they_stand_for(histograms: Histograms) -> None:
    """The drawn ROC curve's area is the AUC; gains reach all buyers."""
    line = plots.roc(histograms).axes[0].lines[0]
    area = area_under(line.get_xdata(), line.get_ydata())
    assert area == pytest.approx(metrics.auc(histograms["intent model"]), abs=2e-3)
    gains = np.asarray(plots.cumulative_gains(histograms).axes[0].lines[0].get_ydata())
    assert gains[0] == 0.0
    assert gains[-1] == pytest.approx(1.0)
    assert (np.diff(gains) >= 0).all()


def test_ceilings_are_dashed_and_models_are_not(histograms: Histograms) -> None:
    """A reader tells what can be reached from what cannot."""
    lines = {str(line.get_label()): line for line in plots.roc(histograms).axes[0].lines}
    assert lines["ceiling: events so far"].get_linestyle() == "--"
    assert lines["intent model"].get_linestyle() == "-"
    assert lines["intent model"].get_linewidth() > lines["logistic regression"].get_linewidth()


def test_score_distribution_adds_up_to_all_users_of_a_group() -> None:
    """Scores of exactly 0 and 1 have a place on the log-odds scale; one lone score does too."""
    figure = plots.score_distribution(ScoreHistogram.from_counts([0.0, 0.2, 1.0], [1, 1, 2], [8, 1, 1]))
    assert sum(_bars(figure)) == pytest.approx(2.0)
    assert _legend(figure) == ["did not buy", "bought"]
    assert plots.score_distribution(ScoreHistogram.from_counts([0.3], [1], [2])).axes


def test_a_study_shows_what_was_given_up() -> None:
    study = [
        {"trial": 0, "loss": 0.4},
        {"trial": 1, "loss": None},
        {"trial": 2, "loss": 0.3},
        {"trial": 3, "loss": 0.5},
    ]
    figure = plots.tuning(study)
    assert _legend(figure) == ["a trial", "the best until then", "given up"]
    best = figure.axes[0].lines[1]
    assert list(best.get_ydata()) == [0.4, 0.3, 0.3]
    assert list(figure.axes[0].lines[2].get_xdata()) == [1]
    plots.tuning([{"trial": 0, "loss": None}])


def test_training_curves_mark_the_best_epoch() -> None:
    """The first of equal epochs wins; epochs without validation are drawn without it."""
    history = [
        {"epoch": 1, "train_loss": 0.5, "validation_loss": 0.6},
        {"epoch": 2, "train_loss": 0.4, "validation_loss": 0.5},
        {"epoch": 3, "train_loss": 0.3, "validation_loss": 0.5},
    ]
    assert _legend(plots.training_curves(history)) == ["train", "validation", "best: epoch 2"]
    assert _legend(plots.training_curves([{"epoch": 1, "train_loss": 0.5}])) == ["train"]
    assert plots.best_epoch([]) is None


def test_svg_is_stable_named_and_self_contained(histograms: Histograms) -> None:
    """Equal data give equal text; ids are prefixed; the description is escaped; nothing is fetched."""
    first, second = (plots.to_svg(plots.roc(histograms), "roc", 'A < "B"') for _ in range(2))
    assert first == second
    root = ElementTree.fromstring(first)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'A < "B"'
    ids = re.findall(r'\bid="([^"]*)"', first)
    assert ids and all(identity.startswith("roc-") for identity in ids)
    used = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', first)
    assert {a or b for a, b in used} <= set(ids)
    assert "http" not in first.replace("http://www.w3.org/2000/svg", "")
