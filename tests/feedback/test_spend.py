"""What was expected to be spent beside what was."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from intent_spark.feedback.spend import Spend, count_spend

COLUMNS = "user_id string, spend double, calibrated_intent double, spent bigint, segments array<string>"


def test_sums_and_the_top_tenth_of_each_segment(spark: SparkSession) -> None:
    rows = [(f"u{n}", 10.0 * n, 0.9 - n / 100, 7 * n, ["few" if n < 10 else "many"]) for n in range(20)]
    rows += [("unknown", None, 0.5, 1_000_000, ["many"]), ("idle", 1.0, 0.1, 0, ["new"])]
    found = count_spend(spark.createDataFrame(rows, COLUMNS))
    assert list(found) == ["all", "few", "many", "new"]
    assert found["all"].users == 21 and found["all"].spent == 7 * 190
    assert found["all"].expected == pytest.approx(1901.0) and found["all"].ratio == pytest.approx(1901 / 1330)
    assert found["all"].top_share == pytest.approx(7 * (17 + 18 + 19) / 1330), "those on the edge are in it"
    assert found["few"].top_by_intent == pytest.approx(7 * (0 + 1) / (7 * 45))
    assert found["new"] == Spend(1, 1.0, 0, None, None) and found["new"].ratio is None
