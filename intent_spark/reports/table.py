"""Rows of plain values as text: one way to write a number, for the terminal and for the report page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

Row = Mapping[str, Any]
LABELS = {"auc": "AUC", "pr_auc": "PR-AUC", "brier": "Brier score"}
DECIMALS = {"seconds": 1, "first seconds": 1, "lift": 2, "top_decile_lift": 2}
NOTHING = "–"
_FIGURE = re.compile(r"[-+]?[\d.,]+(?:e-\d+)?[%×]?")


@dataclass(frozen=True)
class Table:
    """Formatted cells under their headers; ``right`` tells for each column whether it holds figures only."""

    headers: tuple[str, ...]
    right: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]


def format_cell(value: Any, decimals: int | None = None) -> str:
    """A value for people: thousands separated, floats with ``decimals`` or as many as their size asks for."""
    if value is None or value != value:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    return _format_float(float(value), decimals) if isinstance(value, Real) else str(value)


def table(rows: Sequence[Row], columns: Sequence[str] | None = None) -> Table:
    """Format rows; ``columns`` picks and orders them, by default all keys in order of first appearance."""
    names = list(columns) if columns is not None else list(dict.fromkeys(key for row in rows for key in row))
    cells = tuple(tuple(format_cell(row.get(name), DECIMALS.get(name)) for name in names) for row in rows)
    return Table(
        headers=tuple(LABELS.get(name, name.replace("_", " ")) for name in names),
        right=tuple(_holds_figures([line[i] for line in cells]) for i in range(len(names))),
        rows=cells,
    )


def text_table(rows: Sequence[Row], columns: Sequence[str] | None = None) -> str:
    """Lay rows out in aligned columns under a header and a rule; figures to the right.

    Example: ``text_table([{"model": "lstm", "auc": 0.8123}])`` gives three lines: header, rule and row.
    """
    laid = table(rows, columns)
    widths = [max(map(len, column)) for column in zip(laid.headers, *laid.rows, strict=True)]
    rule = tuple("─" * width for width in widths)
    return "\n".join(_line(cells, widths, laid.right) for cells in (laid.headers, rule, *laid.rows))


def _format_float(value: float, decimals: int | None) -> str:
    size = abs(value)
    if decimals is not None:
        return f"{value:,.{decimals}f}"
    if 0 < size < 1e-4:
        return f"{value:.1e}"
    if size >= 100:
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.1f}"
    return f"{value:.2f}" if size >= 10 else f"{value:.4f}"


def _holds_figures(cells: Sequence[str]) -> bool:
    said = [cell for cell in cells if cell != NOTHING]
    return bool(said) and all(_FIGURE.fullmatch(cell) for cell in said)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if to_right else cell.ljust(width)
        for cell, width, to_right in zip(cells, widths, right, strict=True)
    )
    return "  ".join(padded).rstrip()
