"""The evaluation page: complete, self-contained, stable, written in one step."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from intent_spark.models import metrics
from intent_spark.models.metrics import ScoreHistogram
from intent_spark.reports import evaluation
from intent_spark.reports.evaluation import Candidate, EvaluationPage
from intent_spark.reports.quality_plots import GateDay

VOID = {"meta", "link", "br"}


class _Outline(HTMLParser):
    """Counts elements, collects ids and checks that each element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(histograms: dict[str, ScoreHistogram]) -> EvaluationPage:
    """A page with every section."""
    first = histograms["intent model"]
    return EvaluationPage(
        title="Intent evaluation",
        shop="corner <shop>",
        as_of=date(2024, 2, 28),
        horizon_days=7,
        users=int(first.total),
        positives=int(first.total_positives),
        candidates=tuple(Candidate(name, h, f"note on {name}") for name, h in histograms.items()),
        training_history=[{"epoch": 1, "train_loss": 0.5, "validation_loss": 0.6, "seconds": 7.26}],
        decision={"retrain": True, "reasons": ["Log loss rose by 4%."]},
        lineage=[{"table": "profiles", "version": 12, "rows": 20000, "note": "definition 9f3a"}],
        stages=[{"stage": "ingest_events", "rows": 1234567, "seconds": 38.21}],
        segments=[{"segment": "new users", "users": 400, "auc": 0.71}],
        intervals=[{"candidate": "intent model", "AUC": "0.7100 (0.6900 to 0.7300)"}],
        study=[
            {"trial": 0, "state": "complete", "loss": 0.31, "dropout": 0.1},
            {"trial": 1, "state": "pruned", "loss": None, "dropout": 0.4},
            {"trial": 2, "state": "complete", "loss": 0.3, "dropout": 0.2},
        ],
        quality=[GateDay("low_volume", date(2024, 2, 27), 0.9, 0.4, 0.8, "fail", accepted=True)],
        before_calibration=histograms["logistic regression"],
    )


@pytest.fixture(scope="module")
def html(page: EvaluationPage) -> str:
    """The page, drawn once."""
    return evaluation.render(page)


def test_page_is_well_formed_with_each_plot_and_table(html: str) -> None:
    """Nine plots with a caption each; ids are unique over all of them."""
    outline = _Outline(html)
    assert outline.open == []
    assert outline.tags.count("svg") == outline.tags.count("figcaption") == 9
    assert outline.tags.count("table") == 10
    assert len(outline.ids) == len(set(outline.ids))
    assert html.count('role="img" aria-label=') == 9


def test_page_needs_nothing_from_outside(html: str) -> None:
    """No script, no address but the SVG name space, which is never fetched."""
    assert "<script" not in html
    assert set(re.findall(r"https?://[^\"' <]*", html)) == {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r'(?:src|href)="([^#"][^"]*)"', html)) == {"data:,"}


def test_page_says_what_it_was_given(html: str, page: EvaluationPage) -> None:
    """Figures, names, dates, reasons and lineage are there, and names are escaped."""
    figures = metrics.summary(page.candidates[0].histogram)
    for text in (f"{figures.auc:.4f}", f"{figures.pr_auc:.4f}", f"{figures.log_loss:.4f}", "2,000"):
        assert text in html
    for text in ("Retrain the model", "Log loss rose by 4%.", "definition 9f3a", "1,234,567", "new users"):
        assert text in html
    assert "purchases from 2024-02-28 to 2024-03-05" in html
    assert "corner &lt;shop&gt;" in html
    assert "<shop>" not in html
    assert all(candidate.note in html for candidate in page.candidates)


def test_reliability_is_told_before_and_after_calibration(page: EvaluationPage, html: str) -> None:
    """A table each, of the scores as they are and as they were."""
    after, before = html.split(">Before calibration<")
    assert page.before_calibration is not None
    for text, histogram in ((after, page.candidates[0].histogram), (before, page.before_calibration)):
        for row in metrics.reliability_table(histogram):
            assert f">{row.mean_score:.2%}<" in text and f">{row.rate:.2%}<" in text


def test_share_of_ceiling_is_shown_when_there_is_a_ceiling(page: EvaluationPage, html: str) -> None:
    """The first ceiling is the measure; without one neither card nor column exists."""
    rows = evaluation.metric_rows(page.candidates)
    expected = metrics.share_of_ceiling(rows[0]["auc"], rows[2]["auc"])
    assert rows[0]["share_of_ceiling"] == pytest.approx(expected)
    assert rows[2]["share_of_ceiling"] is None
    assert f"{expected:.1%}" in html
    alone = evaluation.render(replace(page, candidates=page.candidates[:2]))
    assert "share of ceiling" not in alone.lower()


def test_optional_parts_may_be_missing(page: EvaluationPage) -> None:
    """No history, no segments, no lineage, no reasons: shorter, and still a page."""
    bare = replace(
        page,
        candidates=(Candidate("intent model", page.candidates[0].histogram),),
        training_history=[],
        decision={"retrain": False, "reasons": []},
        lineage=[],
        stages=[],
        segments=[],
        intervals=[],
        study=[],
        quality=[],
        before_calibration=None,
        horizon_days=1,
    )
    text = evaluation.render(bare)
    assert _Outline(text).tags.count("svg") == 6
    assert "Keep the model" in text
    assert "purchases on that day" in text
    assert "Lineage" not in text and "Before calibration" not in text


def test_candidates_need_different_names(page: EvaluationPage) -> None:
    """Two of one name could not be told apart in a legend."""
    for candidates in ((), page.candidates[:1] * 2):
        with pytest.raises(ValueError, match="one or more candidates of different names"):
            replace(page, candidates=candidates)


def test_write_is_atomic_and_repeatable(page: EvaluationPage, tmp_path: Path, monkeypatch: Any) -> None:
    """The same page gives the same bytes; a failed write leaves the old page and no rest."""
    path = evaluation.write(page, tmp_path / "report")
    before = path.read_bytes()
    assert path == tmp_path / "report" / "index.html"
    assert evaluation.write(page, tmp_path / "report").read_bytes() == before

    def fail(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        evaluation.write(replace(page, title="Another"), tmp_path / "report")
    assert [(file.name, file.read_bytes()) for file in path.parent.iterdir()] == [("index.html", before)]


def test_page_of_a_day_without_buyers_is_refused_in_a_sentence(page: EvaluationPage) -> None:
    """There is nothing to rank."""
    nobody = Candidate("intent model", ScoreHistogram.from_counts([0.1, 0.2], [0, 0], [5, 5]))
    with pytest.raises(ValueError, match="needs both outcomes"):
        evaluation.render(replace(page, candidates=(nobody,), users=10, positives=0))
