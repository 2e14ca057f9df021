"""Naive Bayes over quantile bins, exact over any number of ranks: only counts are summed.

``log P(y=1|x) / P(y=0|x) = log P(1) / P(0) + sum_i log P(bin_i|1) / P(bin_i|0)``. The posterior is divided by the
sum over both classes, so it is a probability; the product of likelihoods alone, or divided by the product of the
inputs' own frequencies, is none and can exceed 1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from intent_spark.models.encode import CLIP
from intent_spark.models.logistic import FloatArray, Labelled, SumOverRanks, one_rank

# Inputs are standardised and clipped: quantiles are looked for among this many equal cells of their range.
_CELLS = 1 << 11
LAPLACE = 1.0


@dataclass(frozen=True, eq=False)
class NaiveBayes:
    """Log odds of a purchase: prior, and by input [f] and bin [b] what the bin adds.

    ``edges`` float64 [f, b - 1], ascending, infinite where an input has fewer bins: bin ``k`` holds the values of at
    least ``edges[k - 1]`` and below ``edges[k]``.
    """

    prior: float
    edges: FloatArray
    ratios: FloatArray

    def logits(self, inputs: npt.NDArray[np.floating[Any]]) -> FloatArray:
        """Log posterior odds float64 [n] of inputs [n, f]."""
        total = np.full(len(inputs), self.prior)
        for number, (edges, ratios) in enumerate(zip(self.edges, self.ratios, strict=True)):
            total += ratios[_bins(inputs[:, number], edges)]
        return total

    def to_json(self, names: list[str]) -> bytes:
        """JSON text that names each input."""
        inputs = {
            name: {"edges": edges[np.isfinite(edges)].tolist(), "log_ratios": ratios.tolist()}
            for name, edges, ratios in zip(names, self.edges, self.ratios, strict=True)
        }
        return (json.dumps({"prior": self.prior, "inputs": inputs}, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> NaiveBayes:
        """The model that :meth:`to_json` wrote."""
        tree: dict[str, Any] = json.loads(content)
        inputs = list(tree["inputs"].values())
        bins = len(inputs[0]["log_ratios"]) if inputs else 1
        ratios = np.array([item["log_ratios"] for item in inputs]).reshape(len(inputs), bins)
        edges = np.full((len(inputs), bins - 1), np.inf)
        for row, item in zip(edges, inputs, strict=True):
            row[: len(item["edges"])] = item["edges"]
        return cls(tree["prior"], edges, ratios)


def fit_naive_bayes(
    rows: Labelled, bins: int, sum_over_ranks: SumOverRanks = one_rank, smoothing: float = LAPLACE
) -> NaiveBayes:
    """Fit on all ranks' rows; every rank returns the same model, a rank may have no row.

    ``smoothing`` is added to the weight of each class in each bin that an input has.
    """
    edges = _quantile_edges(rows.inputs, bins, sum_over_ranks)
    positives, negatives = sum_over_ranks(_class_weights(rows, edges))
    used = np.concatenate([np.ones((len(edges), 1), bool), np.isfinite(edges)], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = _log_shares(positives, used, smoothing) - _log_shares(negatives, used, smoothing)
    weights = sum_over_ranks(np.array([rows.weights @ rows.labels, rows.weights @ (1.0 - rows.labels)]))
    return NaiveBayes(float(np.log(weights[0] / weights[1])), edges, np.where(used, ratios, 0.0))


def _log_shares(weights: FloatArray, used: npt.NDArray[np.bool_], smoothing: float) -> FloatArray:
    smoothed = np.where(used, weights + smoothing, 0.0)
    return np.asarray(np.log(smoothed) - np.log(smoothed.sum(axis=1, keepdims=True)))


def _quantile_edges(inputs: npt.NDArray[np.floating[Any]], bins: int, sum_over_ranks: SumOverRanks) -> FloatArray:
    """Boundaries between cells that part the rows of all ranks into about ``bins`` like numbers [f, 2 bins - 1]."""
    counts = [_cell_counts(column) for column in inputs.T]
    summed = sum_over_ranks(np.stack(counts) if counts else np.zeros((0, _CELLS)))
    edges = np.full((len(summed), 2 * bins - 1), np.inf)
    for row, count in zip(edges, summed, strict=True):
        found = _cell_edges(count, bins)
        row[: len(found)] = found
    return edges


def _cell_counts(values: npt.NDArray[np.floating[Any]]) -> FloatArray:
    cells = ((values.astype(np.float64) + CLIP) / (2 * CLIP) * _CELLS).astype(np.int64)
    return np.bincount(np.clip(cells, 0, _CELLS - 1), minlength=_CELLS).astype(np.float64)


def _cell_edges(count: FloatArray, bins: int) -> FloatArray:
    """The lower ends of cells at which a new bin begins; each bin between two of them holds a row.

    A quantile's cell begins a bin, and so does what follows a cell that fills a bin alone: else a rare mark, such as
    a category's, would share the bin of its absence.
    """
    reach, filled = np.cumsum(count), np.flatnonzero(count)
    quantiles = np.searchsorted(reach, reach[-1] * np.arange(1, bins) / bins, side="right")
    full = count[filled[:-1]] >= reach[-1] / bins
    starts = np.union1d(quantiles, filled[1:][full])
    return np.asarray(starts[starts > filled[0]] * (2 * CLIP / _CELLS) - CLIP)


def _class_weights(rows: Labelled, edges: FloatArray) -> FloatArray:
    """Weight of buyers and of others by input and bin [2, f, b]."""
    bins = edges.shape[1] + 1
    found = np.zeros((2, len(edges), bins))
    for number, edge in enumerate(edges):
        codes = _bins(rows.inputs[:, number], edge)
        for place, weights in enumerate((rows.weights * rows.labels, rows.weights * (1.0 - rows.labels))):
            found[place, number] = np.bincount(codes, weights, minlength=bins)
    return found


def _bins(values: npt.NDArray[np.floating[Any]], edges: FloatArray) -> npt.NDArray[np.intp]:
    return np.searchsorted(edges, values.astype(np.float64), side="right")
