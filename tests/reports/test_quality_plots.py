"""The gates' figure: a row for each judged gate, limits dashed, days beyond them marked."""

from __future__ import annotations

from datetime import date, timedelta

from matplotlib.figure import Figure

from intent_spark.reports import plots
from intent_spark.reports.quality_plots import GateDay, by_gate, gates_by_day

DAYS = [date(2026, 4, 1) + timedelta(days=n) for n in range(4)]
FIGURES = [
    *[GateDay("low_volume", day, value, 0.4, 0.8, status, accepted)
      for day, value, status, accepted in zip(
          DAYS, (0.0, 0.5, 0.9, 0.95), ("pass", "warn", "fail", "fail"), (False, False, False, True), strict=True)],
    *[GateDay("duplicates", day, 0.01, 0.1, None, "pass") for day in reversed(DAYS)],
    *[GateDay("time_of_day", day, None, 0.1, None, "open") for day in DAYS],
]  # fmt: skip


def points(figure: Figure, row: int, colour: str) -> list[tuple[date, float]]:
    lines = [line for line in figure.axes[row].lines if line.get_marker() == "o" and line.get_color() == colour]
    pairs = [zip(line.get_xdata(), line.get_ydata(), strict=True) for line in lines]  # type: ignore[arg-type]
    return [(date.fromordinal(int(x)), float(y)) for pair in pairs for x, y in pair]


def test_a_gate_that_was_never_judged_is_left_out() -> None:
    assert list(by_gate(FIGURES)) == ["duplicates", "low_volume"]
    assert [d.day for d in by_gate(FIGURES)["duplicates"]] == DAYS
    assert by_gate(FIGURES[-4:]) == {}


def test_what_is_drawn_is_what_was_found() -> None:
    figure = gates_by_day(FIGURES)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["duplicates", "low_volume"]
    curve = figure.axes[1].lines[0]
    assert list(curve.get_ydata()) == [0.0, 0.5, 0.9, 0.95]
    limits = [line.get_ydata()[0] for line in figure.axes[1].lines if line.get_linestyle() == "--"]  # type: ignore[index]
    assert limits == [0.4, 0.8]
    assert points(figure, 1, plots.COLOURS[1]) == [(DAYS[2], 0.9), (DAYS[3], 0.95)]
    ringed = [line for line in figure.axes[1].lines if line.get_fillstyle() == "none"]
    assert [list(line.get_ydata()) for line in ringed] == [[0.95]]


def test_the_svg_is_stable() -> None:
    one, other = (plots.to_svg(gates_by_day(FIGURES), "quality", "Quality") for _ in range(2))
    assert one == other and "low_volume" in one
