"""Statistics of a snapshot from one sketch of each feature: quantiles, shares, and how far the population has moved.

The sketch is DDSketch (Masson, Rim and Lee, DDSketch: a fast and fully-mergeable quantile sketch, VLDB 2019): counts in
bins whose bounds grow by a constant ratio, so that every quantile is right to one per cent. Sketches add up, so two
populations can be compared later from what was stored of each.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.lakehouse.contract import Column
from intent_spark.lakehouse.texts import selected
from intent_spark.reports.feature_plots import choose_bins, span

RELATIVE_ERROR = 0.01
LOG_GAMMA = math.log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
# Logarithms of doubles lie within ±36,000 bins: shifted by this they are positive, and the sign can tell the value's.
SHIFT = 1 << 20
NULL = "null"
# Values of a categorical feature beyond those that are kept.
OTHERS = "others"
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
# Values of a categorical feature that one task keeps, the most frequent ones.
MOST_VALUES = 10_000
TOP = 10
GROUPS = 10
SMALLEST_SHARE = 1e-4
Sketch = Mapping[str, int]


@dataclass(frozen=True)
class Statistics:
    """One feature over the users of one snapshot. Quantiles are of the values that are not null."""

    users: int
    null_share: float
    zero_share: float
    distinct: int
    quantiles: list[float]
    top: list[tuple[str, int]]


def bins(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The bin of each finite value [n]: 0 is its own bin, negative values have negative bins."""
    size = np.abs(values)
    safe = np.where(size > 0, size, 1.0)
    level = np.ceil(np.log(safe) / LOG_GAMMA).astype(np.int64) + SHIFT
    return np.where(size > 0, np.sign(values).astype(np.int64) * level, 0)


def middle(index: int) -> float:
    """The value that stands for a bin: within ``RELATIVE_ERROR`` of every value in it."""
    if index == 0:
        return 0.0
    ratio = math.exp(LOG_GAMMA)
    return math.copysign(2 * ratio ** (abs(index) - SHIFT) / (ratio + 1), index)


def _label(index: int) -> str:
    """A bin's value for a person: the whole number in it, if it holds just one."""
    upper = math.exp(LOG_GAMMA * (abs(index) - SHIFT)) if index else 0.0
    whole = math.floor(upper * (1 + 1e-9))
    if index and upper / math.exp(LOG_GAMMA) < whole and whole - 1 < upper / math.exp(LOG_GAMMA):
        return str(int(math.copysign(whole, index)))
    return f"{middle(index):.4g}"


def sketches(profiles: DataFrame, columns: Collection[Column]) -> dict[str, dict[str, int]]:
    """For each feature the counts of its bins or values; of arrays and maps their size is counted.

    One pass; each task sends one row a feature and bin, and the driver holds no more than that.
    """
    told = {"numeric": "cast(`{}` as double)", "categorical": "cast(`{}` as string)"}
    chosen = {c.name: told.get(c.role or "", "cast(size(`{}`) as double)").format(c.name) for c in columns}
    words = frozenset(c.name for c in columns if c.role == "categorical")
    counted = selected(profiles, (), chosen).mapInArrow(_Counting(words), "feature string, bin string, n bigint")
    rows = counted.groupBy("feature", "bin").agg(F.sum("n").alias("n")).collect()
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row["feature"], {})[row["bin"]] = int(row["n"])
    return found


@dataclass(frozen=True)
class _Counting:
    """Counts the bins of a task's rows; ``words`` are the features whose values count as they are."""

    words: frozenset[str]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        counts: dict[str, Counter[str]] = {}
        for batch in batches:
            for name, array in zip(batch.schema.names, batch.columns, strict=True):
                counts.setdefault(name, Counter()).update(_count(array, name in self.words))
        kept = [(name, *pair) for name, counter in counts.items() for pair in _frequent(counter).items()]
        if kept:
            columns = [list(column) for column in zip(*kept, strict=True)]
            yield pa.RecordBatch.from_arrays([pa.array(c) for c in columns], names=["feature", "bin", "n"])


def _frequent(counter: Counter[str]) -> dict[str, int]:
    """The most frequent bins, and all the others as one: nobody is lost."""
    kept = dict(counter.most_common(MOST_VALUES))
    kept |= {NULL: counter[NULL]} if NULL in counter else {}
    rest = counter.total() - sum(kept.values())
    return kept | ({OTHERS: rest} if rest else {})


def _count(array: pa.Array, as_they_are: bool) -> dict[str, int]:
    known = array.drop_null()
    if as_they_are:
        counts = {f"={row['values'].as_py()}": row["counts"].as_py() for row in known.value_counts()}
    else:
        numbers = known.to_numpy(zero_copy_only=False)
        # NaN and infinity have no place among quantiles: they are no values, as null is none.
        found = np.unique(bins(numbers[np.isfinite(numbers)]), return_counts=True)
        counts = {str(index): int(n) for index, n in zip(*found, strict=True)}
    nulls = len(array) - sum(counts.values())
    return counts | ({NULL: nulls} if nulls else {})


def statistics(sketch: Sketch) -> Statistics:
    """What a sketch says of a feature; values closer than a bin count as one."""
    users = sum(sketch.values())
    named = {key: n for key, n in sketch.items() if key not in (NULL, OTHERS)}
    numbers = _numbers(sketch)
    words = sorted(((n, key[1:]) for key, n in named.items() if key.startswith("=")), reverse=True)
    top = [(word, n) for n, word in words[:TOP]]
    top = top or [(_label(i), n) for n, i in sorted(((n, i) for i, n in numbers), reverse=True)[:TOP]]
    share = (lambda n: n / users) if users else (lambda n: 0.0)
    return Statistics(
        users, share(sketch.get(NULL, 0)), share(sketch.get("0", 0)), len(named), _quantiles(numbers), top
    )


def _numbers(sketch: Sketch) -> list[tuple[int, int]]:
    """The bins of numbers with their counts, in order."""
    return sorted((int(key), n) for key, n in sketch.items() if key not in (NULL, OTHERS) and key[0] != "=")


def _quantiles(numbers: list[tuple[int, int]]) -> list[float]:
    if not numbers:
        return []
    ends = np.cumsum([n for _, n in numbers])
    ranks = [q * (ends[-1] - 1) for q in QUANTILES]
    return [middle(numbers[int(np.searchsorted(ends, rank, side="right"))][0]) for rank in ranks]


def histogram(sketch: Sketch) -> list[tuple[str, float]]:
    """Bars for a person: of words the most frequent, of numbers equal bins; each with its share of all that is known.

    What lies above the 99th of a hundred counts into the last bar, so that a long tail does not flatten the rest.
    """
    known = sum(n for key, n in sketch.items() if key != NULL)
    numbers = _numbers(sketch)
    if not numbers:
        return [(word, n / known) for word, n in statistics(sketch).top]
    quantiles = _quantiles(numbers)
    values = np.array([middle(index) for index, _ in numbers])
    whole = bool(np.isclose(values, np.round(values), rtol=RELATIVE_ERROR).all())
    low, median, high = (quantiles[place] for place in (0, 4, 7))
    if whole:
        low, median, high = (round(value) for value in (low, median, high))
    chosen = choose_bins(low, median, high, whole)
    edges = np.array(chosen.edges())
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=[n for _, n in numbers])
    # A bar of whole numbers reaches from one half before its first to one half behind its last.
    half = 0.5 if whole and not chosen.log else 0.0
    ends = zip(edges[:-1] + half, edges[1:] - half, strict=True)
    return [(span(*end), float(n) / known) for end, n in zip(ends, counts, strict=True)]


def added(parts: Iterable[Sketch]) -> dict[str, int]:
    """Several populations as one."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(total)


def population_stability(now: Sketch, before: Sketch) -> float:
    """The population stability index: sum over groups of (p - q) * ln(p / q); above 0.25 the population has moved.

    Siddiqi, Credit Risk Scorecards, 2006. The groups are null, zero and tenths of the other values of ``before``.
    """
    groups = _groups(before)
    p, q = _shares(now, groups), _shares(before, groups)
    return float(np.sum((p - q) * np.log(p / q)))


def _groups(sketch: Sketch) -> dict[str, int] | list[int]:
    """Of words the most frequent, each a group; of numbers the upper bins of tenths."""
    words = sorted(((n, key) for key, n in sketch.items() if key.startswith("=")), reverse=True)
    if words:
        return {key: place for place, (_, key) in enumerate(words[: 2 * GROUPS])}
    numbers = [(index, n) for index, n in _numbers(sketch) if index]
    if not numbers:
        return []
    ends = np.cumsum([n for _, n in numbers])
    cuts = np.searchsorted(ends, ends[-1] * np.arange(1, GROUPS) / GROUPS)
    return sorted({numbers[int(cut)][0] for cut in cuts})


def _shares(sketch: Sketch, groups: dict[str, int] | list[int]) -> npt.NDArray[np.float64]:
    counts = np.zeros(len(groups) + 3)
    for key, n in sketch.items():
        counts[_place(key, groups)] += n
    shares = np.maximum(counts / max(counts.sum(), 1), SMALLEST_SHARE)
    return np.asarray(shares / shares.sum(), np.float64)


def _place(key: str, groups: dict[str, int] | list[int]) -> int:
    """Null, zero, then the groups; words that are none of them come last."""
    if key in (NULL, "0"):
        return 0 if key == NULL else 1
    if isinstance(groups, dict):
        return 2 + groups.get(key, len(groups))
    return 2 + (len(groups) if key == OTHERS else int(np.searchsorted(groups, int(key))))
