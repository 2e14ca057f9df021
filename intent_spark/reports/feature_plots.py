"""Plots of a profile's features: their distributions, one user's events, intent against features.

All input is bounded: counts by bin, means by group, one user's events. Figures are made without pyplot, as in
:mod:`intent_spark.reports.plots`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from intent_spark.reports.plots import COLOURS, STYLE

SMALL = STYLE | {"font.size": 8, "axes.titlesize": 8, "legend.fontsize": 8, "figure.dpi": 110}
NULL, ZERO = "#333333", "#c9c9c9"
MAIN, SEEN = COLOURS[0], COLOURS[1]
EVENT_COLOURS = {
    "search": "#8a8a8a",
    "view": COLOURS[4],
    "favourite": COLOURS[3],
    "cart": COLOURS[5],
    "purchase": COLOURS[1],
    "return": "#333333",
}


@dataclass(frozen=True)
class Bins:
    """``count`` bins of equal width over [low, high], in the value or in its logarithm."""

    low: float
    high: float
    count: int
    log: bool

    def span(self) -> tuple[float, float]:
        """Both ends on the scale on which the bins are equally wide."""
        return (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)

    def edges(self) -> list[float]:
        """The ``count + 1`` edges."""
        space = np.geomspace if self.log else np.linspace
        return [float(edge) for edge in space(self.low, self.high, self.count + 1)]


def choose_bins(low: float | None, middle: float | None, high: float | None, whole: bool, most: int = 24) -> Bins:
    """Bins for values in [low, high]: of whole numbers where all are whole, logarithmic where the tail is long.

    Args:
        low: smallest value, None where there is no value at all.
        middle: the median.
        high: largest value to show; what lies above counts into the last bin.
        whole: whether all values are whole numbers.
        most: how many bins at most.
    """
    if low is None or middle is None or high is None:
        return Bins(0.0, 1.0, 1, False)
    log = low >= 1 and high > 5 * middle
    if whole and (high - low < most or not log):
        width = math.ceil((high - low + 1) / most)
        count = math.ceil((high - low + 1) / width)
        return Bins(low - 0.5, low - 0.5 + count * width, count, False)
    if log:
        return _doubling(low, high) if whole and low < most else Bins(low, high, most, True)
    return Bins(low, high if high > low else low + 1.0, most, False)


def _doubling(low: float, high: float) -> Bins:
    # Narrower ones would hold no whole number at the low end and look like holes in the data.
    count = math.ceil(math.log2(high / (0.75 * low)))
    return Bins(0.75 * low, 0.75 * low * 2**count, count, True)


@dataclass(frozen=True)
class Distribution:
    """A feature over all users: the shares that are null and zero, and the shares in bins of the others."""

    name: str
    unit: str
    null_share: float
    zero_share: float
    bins: Bins
    shares: Sequence[float]


def distributions(families: Mapping[str, Sequence[Distribution]], columns: int = 7) -> Figure:
    """A panel for each feature, its family named at the left.

    The strip on top is all users: null, zero, other. The bars below are the others.
    """
    rows = [
        (family if start == 0 else "", colour, panels[start : start + columns])
        for number, (family, panels) in enumerate(families.items())
        for colour in (COLOURS[number % len(COLOURS)],)
        for start in range(0, len(panels), columns)
    ]
    with matplotlib.rc_context(SMALL):
        figure = Figure(figsize=(1.9 * columns, 1.45 * len(rows) + 0.3), layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for line, (family, colour, panels) in zip(grid, rows, strict=True):
            for axes in line[len(panels) :]:
                axes.set_axis_off()
            for axes, panel in zip(line, panels, strict=False):
                _draw_distribution(axes, panel, colour)
            line[0].set_ylabel(family, fontsize=10, fontweight="bold", color=colour)
        _strip_legend(figure)
    return figure


def _draw_distribution(axes: Axes, panel: Distribution, colour: str) -> None:
    edges = panel.bins.edges()
    axes.bar(edges[:-1], panel.shares, np.diff(edges).tolist(), align="edge", color=colour, alpha=0.75)
    if panel.bins.log:
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=panel.bins.high - panel.bins.low > 3))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.3g}%"))
    axes.tick_params(labelsize=6.5, length=2, which="both")
    axes.minorticks_off()
    axes.grid(visible=False, axis="x")
    axes.set_title(panel.name, loc="left", fontsize=7.5, pad=11)
    strip = axes.inset_axes((0.0, 1.05, 1.0, 0.07))
    other = max(0.0, 1.0 - panel.null_share - panel.zero_share)
    parts = np.cumsum([0.0, panel.null_share, panel.zero_share, other])
    strip.barh([0] * 3, np.diff(parts), left=parts[:-1], color=[NULL, ZERO, colour], height=1)
    strip.set(xlim=(0, 1), ylim=(-0.5, 0.5))
    strip.set_axis_off()
    if other == 0.0:
        axes.text(0.5, 0.5, "nothing else", ha="center", va="center", color="#777777", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])


def frequent_values(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Horizontal bars of the most frequent values; null is drawn dark.

    Args:
        panels: by feature a frame of ``value`` and ``share`` of all users, most frequent first.
    """
    with matplotlib.rc_context(SMALL):
        figure = Figure(figsize=(12.6, 2.2), layout="constrained")
        for axes, (name, frame) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
            labels = ["null" if value is None else str(value) for value in frame["value"]]
            axes.barh(labels, frame["share"], color=[NULL if label == "null" else MAIN for label in labels], alpha=0.75)
            axes.invert_yaxis()
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.3g}%"))
            axes.tick_params(labelsize=7, length=2)
            axes.grid(visible=False, axis="y")
            axes.set_title(name, loc="left")
    return figure


def _strip_legend(figure: Figure) -> None:
    patches = [matplotlib.patches.Patch(color=colour) for colour in (NULL, ZERO, MAIN)]
    names = ["null: never happened, or not known", "zero", "any other value, whose shares are the bars below"]
    figure.legend(patches, names, loc="outside upper left", ncols=3)


def timeline(events: pd.DataFrame, windows: Sequence[int], title: str) -> Figure:
    """One user's events before as_of, a lane for each type, with the features' windows marked.

    Args:
        events: ``event_type``, ``day`` (days to as_of, negative) and ``in_sequence`` (whether the encoder sees it).
        windows: lengths in days.
        title: above the plot.
    """
    types = [name for name in EVENT_COLOURS if name in set(events["event_type"])]
    first = float(events["day"].min())
    with matplotlib.rc_context(SMALL):
        figure = Figure(figsize=(11, 0.45 * len(types) + 1.5), layout="constrained")
        axes = figure.subplots()
        for lane, name in enumerate(types):
            _draw_lane(axes, lane, events[events["event_type"] == name], EVENT_COLOURS[name])
        shown = [days for days in sorted(windows) if -days > first]
        for days in shown:
            axes.axvline(-days, color="#777777", linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
            axes.text(-days, len(types) - 0.45, f"{days}d", ha="center", va="bottom", fontsize=7, color="#555555")
        axes.axvline(0, color="#333333", linewidth=1.4)
        axes.set(ylim=(-0.6, len(types) - 0.4), xlim=(first * 1.03 - 0.2, 0.4), xlabel="days before as_of")
        axes.set_yticks(range(len(types)), [f"{n}  ({(events['event_type'] == n).sum()})" for n in types])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
        axes.grid(visible=False, axis="y")
        axes.set_title(title + "\n", loc="left", fontsize=10)
    return figure


def _draw_lane(axes: Axes, lane: int, events: pd.DataFrame, colour: str) -> None:
    axes.axhline(lane, color="#e0e0e0", linewidth=0.8, zorder=0)
    for inside, face in ((False, "none"), (True, colour)):
        kept = (events["in_sequence"] == inside).to_numpy()
        place = events["day"].to_numpy(dtype=float)
        # Events of one visit lie minutes apart: a small step up for each tells them apart.
        height = lane + (np.arange(len(place)) % 5 - 2) * 0.1
        axes.scatter(place[kept], height[kept], s=30, facecolor=face, edgecolor=colour, alpha=0.75, zorder=2)


def intent_by_group(panels: Mapping[str, pd.DataFrame], columns: int = 3) -> Figure:
    """For each panel the mean intent of groups of users, above how many they are.

    Args:
        panels: by title, a frame in the order to draw: ``group``, ``users``, ``intent``, and where known ``bought``,
            the share that did buy, and ``low`` and ``high``, the quartiles of intent.
        columns: how many panels side by side.
    """
    lines = -(-len(panels) // columns)
    with matplotlib.rc_context(SMALL):
        figure = Figure(figsize=(4.1 * columns if columns > 1 else 9.0, 3.1 * lines), layout="constrained")
        grid = figure.subplots(2 * lines, columns, squeeze=False, height_ratios=[3, 1] * lines)
        for axes in grid.ravel()[2 * len(panels) :] if lines * columns > len(panels) else []:
            axes.set_axis_off()
        for number, (title, frame) in enumerate(panels.items()):
            row, column = 2 * (number // columns), number % columns
            _draw_groups(grid[row, column], grid[row + 1, column], frame)
            grid[row, column].set_title(textwrap.fill(title, 58), loc="left", fontsize=8)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    return figure


def _draw_groups(main: Axes, counts: Axes, frame: pd.DataFrame) -> None:
    place = np.arange(len(frame))
    if "low" in frame:
        main.fill_between(place, frame["low"], frame["high"], color=MAIN, alpha=0.15, lw=0, label="its quartiles")
    main.plot(place, frame["intent"], "o-", color=MAIN, markersize=3.5, label="mean calibrated intent")
    if "bought" in frame:
        main.plot(place, frame["bought"], "x", color=SEEN, markersize=5, label="did buy within the horizon")
    shown = [name for name in ("intent", "bought", "high") if name in frame]
    main.set_ylim(0, 1.12 * max(float(frame[shown].max().max()), 1e-3))
    main.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.3g}%"))
    main.set_xticks(place, [""] * len(place))
    counts.bar(place, frame["users"], color=MAIN, alpha=0.5)
    crowded = len(place) > 7 and max(map(len, frame["group"])) > 4
    counts.set_xticks(place, frame["group"].tolist(), rotation=45 if crowded else 0, fontsize=7)
    counts.yaxis.set_major_locator(MaxNLocator(2))
    counts.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    counts.set_ylabel("users")
    for axes in (main, counts):
        axes.set_xlim(-0.6, len(place) - 0.4)
        axes.grid(visible=False, axis="x")


def intent_by_segment(frame: pd.DataFrame) -> Figure:
    """A box for each segment: quartiles, median, and whiskers from the 5th to the 95th percentile.

    Args:
        frame: ``segment``, ``users``, ``intent`` and ``p5`` … ``p95``, and where known ``bought``.
    """
    boxes: list[dict[str, Any]] = [
        {"whislo": row.p5, "q1": row.p25, "med": row.p50, "q3": row.p75, "whishi": row.p95, "mean": row.intent}
        for row in frame.itertuples()
    ]
    look = {"color": MAIN}
    place = list(range(len(frame)))
    with matplotlib.rc_context(SMALL):
        figure = Figure(figsize=(9, 0.55 * len(frame) + 1.2), layout="constrained")
        axes = figure.subplots()
        mean = {"marker": "o", "markerfacecolor": MAIN, "markeredgecolor": MAIN, "markersize": 5}
        axes.bxp(
            boxes, place, orientation="horizontal", showfliers=False, showmeans=True, widths=0.45,
            boxprops=look, whiskerprops=look, capprops=look, medianprops=look, meanprops=mean,
        )  # fmt: skip
        axes.plot([], [], "o", color=MAIN, markersize=5, label="mean calibrated intent")
        if "bought" in frame:
            axes.plot(frame["bought"], place, "x", color=SEEN, markersize=7, label="did buy within the horizon")
        axes.set_yticks(place, [f"{row.segment}  ({row.users:,})" for row in frame.itertuples()])
        axes.set(xlim=(0, None), ylim=(len(frame) - 0.4, -0.6), xlabel="calibrated intent")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:.3g}%"))
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def span(low: float, high: float) -> str:
    """The values of a group: ``0.5–2.1``, or one number where both ends are the same."""
    first, last = short(low), short(high)
    return first if first == last else f"{first}–{last}"


def short(value: float) -> str:
    """A number in at most about four characters: ``1.2k``, ``34``, ``0.05``."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{round(value, 2):.2g}" if abs(value) < 10 else f"{value:.0f}"
