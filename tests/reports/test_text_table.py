"""Tables for the terminal: alignment, and one way to write each kind of value."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from intent_spark.reports.table import Row, format_cell, table, text_table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (1234567, "1,234,567"),
        (np.int64(1234), "1,234"),
        (0.81234, "0.8123"),
        (np.float64(12.3456), "12.35"),
        (-12.3456, "-12.35"),
        (101.26, "101.3"),
        (20000.0, "20,000"),
        (0.00001, "1.0e-05"),
        (0.0, "0.0000"),
        ("lstm", "lstm"),
        (date(2024, 3, 1), "2024-03-01"),
    ],
)
def test_format_cell(value: Any, text: str) -> None:
    """Each kind of value has one form."""
    assert format_cell(value) == text


def test_text_table_aligns_figures_right_and_words_left() -> None:
    """The whole text, character for character."""
    rows: list[Row] = [
        {"model": "lstm", "auc": 0.8123, "rows": 20_000},
        {"model": "logistic regression", "auc": None, "rows": 7},
    ]
    assert text_table(rows) == (
        "model                   AUC    rows\n"
        "───────────────────  ──────  ──────\n"
        "lstm                 0.8123  20,000\n"
        "logistic regression       –       7"
    )


def test_columns_are_picked_ordered_and_may_be_missing_from_a_row() -> None:
    """All keys count by default; ``columns`` overrules; a missing key is a dash."""
    rows: list[Row] = [{"stage": "score_users"}, {"stage": "build", "seconds": 7.25}]
    assert table(rows).headers == ("stage", "seconds")
    assert table(rows).rows == (("score_users", "–"), ("build", "7.2"))
    assert table(rows, ["seconds"]).rows == (("–",), ("7.2",))


def test_percentages_are_figures_and_dates_are_not() -> None:
    """Cells that were formatted before are aligned by what they look like."""
    assert table([{"rate": "8.2%", "lift": "3.55×", "day": date(2024, 3, 1), "note": ""}]).right == (
        True,
        True,
        False,
        False,
    )


def test_no_rows_give_the_header_alone() -> None:
    """An empty table is no error."""
    assert text_table([], ["stage", "rows"]) == "stage  rows\n─────  ────"
    assert text_table([]) == "\n"
