"""UCI's Online Shoppers Purchasing Intention (Sakar et al., 2018): one row a session, no user and no time of events.

There is nothing to build profiles of, so the sessions themselves are the examples: they go through the same training
as any other and are scored by the model it registers. The split is random, as published (70 % of the sessions train,
30 % test); a seventh of the former validates. ``PageValues`` is computed from transactions, hence with and without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.quality import Outcome, show, together
from intent_spark.config.loading import load_settings
from intent_spark.lakehouse.session import spark_session
from intent_spark.models.predictor import Predictor
from intent_spark.training.train import TrainingRequest, train

FILE = "online_shoppers/online_shoppers_intention.csv"
CATEGORICAL = ("Month", "OperatingSystems", "Browser", "Region", "TrafficType", "VisitorType", "Weekend")
NUMERIC = (
    "Administrative", "Administrative_Duration", "Informational", "Informational_Duration", "ProductRelated",
    "ProductRelated_Duration", "BounceRates", "ExitRates", "PageValues", "SpecialDay",
)  # fmt: skip
FROM_TRANSACTIONS = "PageValues"
# Few inputs, of which one tells most: every tree may read all. By five-fold cross-validation of training sessions.
# Sessions are nobody's, so nothing is known of who comes back.
OVERRIDES = ("model.gbdt_tree_inputs=1.0", "model.gbdt_split_inputs=0.5", "model.churn_weight=0")
SPLIT_SEED = 7  # of the sessions: one split for all seeds of the models, so that intervals are of its sessions


def measure(data: Path, seeds: list[int], folder: Path, overrides: Sequence[str] = ()) -> None:
    """A table with ``PageValues`` and one without; says so where the file is not there."""
    if not (data / FILE).exists():
        print(f"\nonline_shoppers: left out, {data / FILE} is not there", flush=True)  # noqa: T201
        return
    spark = spark_session(load_settings().environment, "online_shoppers")
    sessions = spark.read.csv(str(data / FILE), header=True, inferSchema=True)
    for title, left_out in (("", ()), (f" without {FROM_TRANSACTIONS}", (FROM_TRANSACTIONS,))):
        numeric = [name for name in NUMERIC if name not in left_out]
        place = folder / f"online_shoppers{len(numeric)}"
        examples = _examples(sessions, numeric).coalesce(1).sortWithinPartitions("user_id")
        examples.write.format("delta").mode("overwrite").save(str(place / "examples"))
        show(
            f"online_shoppers{title}",
            together([_run(spark, place, [*OVERRIDES, *overrides, f"model.seed={seed}"]) for seed in seeds]),
        )
    spark.stop()


def _examples(sessions: DataFrame, numeric: list[str]) -> DataFrame:
    """Each session at random in train (60 %), validation (10 %) or test (30 %), by a hash of its place."""
    numbered = sessions.rdd.zipWithIndex().map(lambda pair: (*pair[0], pair[1])).toDF([*sessions.columns, "place"])
    part = F.pmod(F.xxhash64("place", F.lit(SPLIT_SEED)), F.lit(10))
    split = F.when(part < 6, "train").when(part < 7, "validation").otherwise("test")
    known = [F.col(n).cast("double").alias(n, metadata={"role": "numeric"}) for n in numeric]
    known += [F.col(n).cast("string").alias(n, metadata={"role": "categorical"}) for n in CATEGORICAL]
    outcome = F.col("Revenue").cast("boolean").cast("int").alias("label")
    user = F.col("place").cast("string").alias("user_id")
    return numbered.select(user, outcome, F.lit(1.0).alias("weight"), split.alias("split"), *known)


def _run(spark: SparkSession, place: Path, overrides: Sequence[str]) -> Outcome:
    """One seed's model and what it says of the test sessions."""
    version = DeltaTable(str(place / "examples")).version()
    config = load_settings(overrides=overrides).model
    request = TrainingRequest(
        str(place / "examples"), version, place / f"models-{config.seed}", config, horizon_days=1, ranks=1
    )
    trained = train(spark, request)
    test = DeltaTable(str(place / "examples"), version=version).to_pyarrow_table(filters=[("split", "=", "test")])
    predicted = Predictor(trained.model_dir).predict(test).candidates
    return np.asarray(test["label"].to_numpy(), np.float64), predicted, trained.model.champion
