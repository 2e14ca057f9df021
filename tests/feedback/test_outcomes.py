"""Segments and counted scores, on frames of ten rows and some hundred."""

from __future__ import annotations

import random
from datetime import date

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from intent_spark.config.errors import ContractError
from intent_spark.feedback.outcomes import (
    Scored,
    check_both_outcomes,
    common_categories,
    count_scores,
    segment,
    segments,
)
from intent_spark.models.metrics import ScoreHistogram, auc, brier, calibration_error, log_loss, pr_auc

SCORED = "segments array<string>, intent double, label int"
INTENT = {"intent": Scored("intent")}
GROUPS = [["new"], ["new", "activity: 0"], ["regular"]]


def counted(frame: DataFrame) -> dict[str, ScoreHistogram]:
    """The only score's histograms."""
    return count_scores(frame, INTENT)["intent"]


def test_segments(spark: SparkSession) -> None:
    rows = [
        ("new", 30.0, 1.0),
        ("regular", 30.0001, 30.0),
        ("dormant", 400.0, 30.0001),
        ("new", 0.5, 0.5),
        ("regular", None, None),
    ]
    frame = spark.createDataFrame(rows, "wanted string, days_since_first_event double, days_since_event double")
    found = frame.withColumn("found", segment(frame.columns)).where("found != wanted").collect()
    assert found == []
    assert {r[0] for r in frame.select(segment(["user_id"])).collect()} == {"regular"}, "neither feature is declared"
    recency = frame.select("wanted", segment(["days_since_event"]).alias("found")).where("found = 'dormant'").collect()
    assert [r["wanted"] for r in recency] == ["dormant"]


def test_segments_by_activity_and_category(spark: SparkSession) -> None:
    rows = [(0, None), (1, "a"), (9, "b"), (10, "a"), (99, "c"), (100, "c")]
    frame = spark.createDataFrame(rows, "event_count_30d bigint, top_category_90d_1 string")
    assert common_categories(frame) == ["a", "c", "b"], "equally common ones by name"
    found = [row[0] for row in frame.select(segments(frame.columns, ["a", "c"])).collect()]
    assert found == [
        ["regular", "activity: 0"],
        ["regular", "activity: 1 to 9", "category: a"],
        ["regular", "activity: 1 to 9", "category: other"],
        ["regular", "activity: 10 to 99", "category: a"],
        ["regular", "activity: 10 to 99", "category: c"],
        ["regular", "activity: 100 and more", "category: c"],
    ]
    bare = frame.select(F.lit(1).alias("user_id"))
    assert [row[0] for row in bare.select(segments(bare.columns)).distinct().collect()] == [["regular"]]
    assert common_categories(bare) == []


def test_counts_lead_to_the_metrics_of_the_rows(spark: SparkSession) -> None:
    rng = random.Random(3)
    rows = [(rng.choice(GROUPS), round(0.001 + 0.99 * rng.random() ** 3, 4), rng.random()) for _ in range(400)]
    rows = [(parts, score, int(draw < score)) for parts, score, draw in rows]
    found = counted(spark.createDataFrame(rows, SCORED))
    assert list(found) == ["all", "activity: 0", "new", "regular"]
    for part, histogram in found.items():
        mine = [(score, label) for names, score, label in rows if part in ("all", *names)]
        raw = ScoreHistogram.from_scores(*zip(*mine, strict=True))
        np.testing.assert_allclose(histogram.score, raw.score, rtol=0, atol=1e-12)
        np.testing.assert_array_equal(histogram.positives, raw.positives)
        np.testing.assert_array_equal(histogram.negatives, raw.negatives)
        for metric in (auc, pr_auc, log_loss, brier, calibration_error):
            assert metric(histogram) == pytest.approx(metric(raw), rel=1e-9)


def test_rounding_moves_no_metric_that_is_read(spark: SparkSession) -> None:
    """Scores are kept to six decimals; AUC and log loss must not show it."""
    rng = random.Random(4)
    rows = [(["regular"], score := rng.random() ** 4, int(rng.random() < score)) for _ in range(2000)]
    found = counted(spark.createDataFrame(rows, SCORED))["all"]
    raw = ScoreHistogram.from_scores([r[1] for r in rows], [r[2] for r in rows])
    assert auc(found) == pytest.approx(auc(raw), abs=1e-5)
    assert log_loss(found) == pytest.approx(log_loss(raw), rel=1e-4)


def test_a_surprise_costs_what_the_last_kept_decimal_says(spark: SparkSession) -> None:
    """A buyer at 3e-7 must not be counted as one at exactly 0: that would cost 36 nats for nothing."""
    rows = [(["regular"], 3e-7, 1), (["regular"], 1 - 3e-7, 0), (["regular"], 0.5, 1)]
    found = counted(spark.createDataFrame(rows, SCORED))["all"]
    assert found.score.tolist() == pytest.approx([1e-6, 0.5, 1 - 1e-6])


def test_users_without_a_score_are_left_out(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(["new"], 0.5, 1), (["new"], None, 1)], SCORED)
    found = counted(frame)
    assert (found["all"].total, found["all"].total_positives) == (1.0, 1.0)
    assert counted(frame.where(F.col("intent").isNull())) == {}


def test_several_scores_are_counted_each_beside_its_own_label(spark: SparkSession) -> None:
    rows = [(["new"], 0.5, 1, 0.25, 0), (["new"], 0.75, 0, None, 1), (["regular"], None, 0, 0.25, 1)]
    frame = spark.createDataFrame(rows, f"{SCORED}, churn double, left int")
    found = count_scores(frame, INTENT | {"churn": Scored("churn", "left")})
    told = {
        name: {part: (h.score.tolist(), h.positives.tolist(), h.negatives.tolist()) for part, h in parts.items()}
        for name, parts in found.items()
    }
    both = ([0.5, 0.75], [1, 0], [0, 1])
    assert told == {
        "intent": {"all": both, "new": both},
        "churn": {"all": ([0.25], [1], [1]), "new": ([0.25], [0], [1]), "regular": ([0.25], [1], [0])},
    }


@pytest.mark.parametrize(("label", "sentence"), [(0, "of 2 users 0 bought"), (1, "of 2 users 2 bought")])
def test_nobody_or_everybody_bought(spark: SparkSession, label: int, sentence: str) -> None:
    outcomes = spark.createDataFrame([("a", label), ("b", label)], "user_id string, label int")
    with pytest.raises(ContractError, match=sentence):
        check_both_outcomes(outcomes, date(2026, 3, 1), 7)
