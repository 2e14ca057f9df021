"""The quality gates day by day as a matplotlib figure: one row of axes for each gate."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from intent_spark.reports.plots import COLOURS, STYLE

BEYOND = {"warn": COLOURS[5], "fail": COLOURS[1]}
HEIGHT, TICKS = 1.15, 4


@dataclass(frozen=True)
class GateDay:
    """One gate of one day. ``value`` is None where it was not judged; ``accepted`` where somebody let it pass."""

    gate: str
    day: date
    value: float | None
    warn: float | None
    fail: float | None
    status: str
    accepted: bool = False


def by_gate(days: Sequence[GateDay]) -> dict[str, list[GateDay]]:
    """The judged days of each gate in their order; a gate that was never judged is left out."""
    judged = sorted((d for d in days if d.value is not None), key=lambda d: (d.gate, d.day))
    return {gate: [d for d in judged if d.gate == gate] for gate in dict.fromkeys(d.gate for d in judged)}


def gates_by_day(days: Sequence[GateDay]) -> Figure:
    """A line for each gate; its limits dashed, days beyond one marked, accepted ones ringed."""
    series = by_gate(days)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 0.6 + HEIGHT * len(series)), layout="constrained")
        grid = figure.subplots(len(series), 1, squeeze=False, sharex=True)[:, 0]
        for axes, (gate, found) in zip(grid, series.items(), strict=True):
            _draw(axes, gate, found)
        shown = _some({day.day for found in series.values() for day in found})
        grid[-1].set_xticks([day.toordinal() for day in shown], [f"{day:%d %b %y}" for day in shown])
    return figure


def _some(days: Collection[date]) -> list[date]:
    """A few of the days, evenly spread, the first and the last among them."""
    ordered = sorted(days)
    last = len(ordered) - 1
    return [ordered[place] for place in sorted({round(last * n / (TICKS - 1)) for n in range(TICKS)})]


def _draw(axes: Axes, gate: str, found: Sequence[GateDay]) -> None:
    axes.plot(*_points(found), color=COLOURS[0], linewidth=1.2)
    for status, colour in BEYOND.items():
        limit = getattr(found[-1], status)
        if limit is not None:
            axes.axhline(limit, color=colour, linewidth=0.9, linestyle="--")
        axes.plot(*_points([d for d in found if d.status == status]), "o", color=colour, markersize=4)
    accepted = _points([d for d in found if d.accepted])
    axes.plot(*accepted, "o", color="#333333", markersize=8, fillstyle="none")
    axes.set_title(gate, fontsize=9.5, loc="left")
    axes.set_ylim(bottom=0)


def _points(days: Sequence[GateDay]) -> tuple[list[int], list[float]]:
    """The days as numbers, and their figures."""
    return [d.day.toordinal() for d in days], [d.value or 0.0 for d in days]
