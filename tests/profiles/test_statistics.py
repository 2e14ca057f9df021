"""Statistics of snapshots: the sketch beside numpy, stability beside its formula, the table beside the profiles."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from intent_spark.lakehouse.contract import Column
from intent_spark.profiles.statistics import (
    NULL,
    OTHERS,
    QUANTILES,
    _count,
    _frequent,
    added,
    bins,
    histogram,
    middle,
    population_stability,
    sketches,
    statistics,
)

numbers = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False, allow_subnormal=False)


def sketch_of(values: list[float]) -> dict[str, int]:
    return {str(index): n for index, n in Counter(bins(np.array(values, np.float64)).tolist()).items()}


@settings(max_examples=300)
@given(st.lists(numbers, min_size=1, max_size=60))
def test_every_quantile_is_right_to_one_per_cent(values: list[float]) -> None:
    told = statistics(sketch_of(values))
    exact = np.quantile(values, QUANTILES, method="lower")
    np.testing.assert_allclose(told.quantiles, exact, rtol=0.0101, atol=0)
    assert told.users == len(values)


def test_what_is_not_finite_is_no_value() -> None:
    values = pa.array([1.0, math.nan, math.inf, -math.inf, None, 1.0])
    told = statistics(_count(values, as_they_are=False))
    assert (told.users, told.null_share, told.zero_share, told.distinct) == (6, 4 / 6, 0.0, 1)


@given(numbers)
def test_a_bin_stands_for_its_values(value: float) -> None:
    [index] = bins(np.array([value])).tolist()
    assert middle(index) == pytest.approx(value, rel=0.0101, abs=0)


def test_sketches_of_parts_add_up_to_that_of_the_whole() -> None:
    values = [float(n * n - 50) for n in range(40)]
    assert added([sketch_of(values[:13]), sketch_of(values[13:])]) == sketch_of(values)


def test_rare_values_and_nulls_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is lost where a task meets more values than it keeps."""
    monkeypatch.setattr("intent_spark.profiles.statistics.MOST_VALUES", 2)
    counted = _frequent(Counter({"=a": 5, "=b": 4, "=c": 2, "=d": 1, NULL: 1}))
    assert counted == {"=a": 5, "=b": 4, OTHERS: 3, NULL: 1}
    told = statistics(counted)
    assert (told.users, told.null_share, told.top) == (13, 1 / 13, [("a", 5), ("b", 4)])
    assert population_stability(counted, counted) == 0
    assert dict(histogram(counted)) == {"a": 5 / 12, "b": 4 / 12}


def test_stability_index() -> None:
    """Nobody null before and half of them now: the index counts what left as well as what came."""
    before = added([sketch_of([float(n) for n in range(1, 1001)])] * 2)
    assert population_stability(before, before) == 0
    half = {key: n // 2 for key, n in before.items()} | {NULL: 1000}
    drifted = population_stability(half, before)
    assert drifted == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(0.5 / 1e-4), rel=0.02)
    assert population_stability({"=a": 90, "=b": 10}, {"=a": 10, "=b": 90}) == pytest.approx(
        2 * 0.8 * math.log(9), rel=0.01
    )
    assert population_stability({"=new": 5}, {"=a": 5}) > 5, "a value never met before"


def test_bars_of_whole_numbers_have_a_number_each() -> None:
    """A hundred values from 0 to 3, a fifth of the users without one, and one far away that stretches nothing."""
    values = [0.0] * 40 + [1.0] * 30 + [2.0] * 20 + [3.0] * 9 + [5000.0]
    bars = histogram(sketch_of(values) | {NULL: 25})
    assert [label for label, _ in bars] == ["0", "1", "2", "3"]
    assert [share for _, share in bars] == pytest.approx([0.40, 0.30, 0.20, 0.10])


@given(st.lists(numbers, min_size=1, max_size=60))
def test_every_known_value_is_in_one_bar(values: list[float]) -> None:
    assert sum(share for _, share in histogram(sketch_of(values) | {NULL: 3})) == pytest.approx(1)


def test_bars_of_words_are_the_most_frequent_ones() -> None:
    assert histogram({"=a": 3, "=b": 6, NULL: 90}) == [("b", pytest.approx(2 / 3)), ("a", pytest.approx(1 / 3))]
    assert histogram({NULL: 4}) == []


def test_frequent_numbers_are_told_as_whole_ones() -> None:
    told = statistics(sketch_of([1.0, 1.0, 1.0, 7.0, 7.0, -3.0, -3.0, -3.0, -3.0, 0.5]))
    assert told.top == [("-3", 4), ("1", 3), ("7", 2), ("0.5015", 1)]


@pytest.mark.slow
def test_features_of_every_role(spark: SparkSession) -> None:
    rows = [(1, None, "x", [1, 2], {"a": 1}), (0, 2.5, "x", [], None), (1, 2.5, None, [7], {"a": 1, "b": 2})]
    frame = spark.createDataFrame(rows, "n bigint, r double, w string, seq array<int>, by map<string,bigint>")
    roles = {"n": "numeric", "r": "numeric", "w": "categorical", "seq": "sequence", "by": "breakdown"}
    found = sketches(frame, [Column(name, "", "", role=role) for name, role in roles.items()])
    told = {name: statistics(sketch) for name, sketch in found.items()}
    assert {name: s.users for name, s in told.items()} == dict.fromkeys(roles, 3)
    assert (told["n"].zero_share, told["n"].distinct, told["n"].top) == (1 / 3, 2, [("1", 2), ("0", 1)])
    assert told["r"].null_share == 1 / 3 and told["r"].quantiles[4] == pytest.approx(2.5, rel=0.01)
    assert told["w"].top == [("x", 2)] and told["w"].quantiles == []
    assert found["seq"] == sketch_of([2, 0, 1])
    assert told["by"].null_share == 1 / 3
