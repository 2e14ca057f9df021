"""The digest of a training set: of its rows and columns, in whatever order."""

from __future__ import annotations

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from intent_spark.lakehouse.labels import content_digest

ROWS = [("a", 1, {"x": 1, "y": 2}, [1, 2]), ("b", None, {}, []), ("b", None, {}, [])]
SCHEMA = "user_id string, n bigint, views map<string, bigint>, seq array<int>"


def test_order_does_not_matter_and_everything_else_does(spark: SparkSession) -> None:
    frame = spark.createDataFrame(ROWS, SCHEMA)
    digest = content_digest(frame)
    turned = spark.createDataFrame([("b", None, {}, []), ("a", 1, {"y": 2, "x": 1}, [1, 2]), ROWS[1]], SCHEMA)
    assert content_digest(turned.select("seq", "user_id", "views", "n").repartition(3)) == digest
    others = [
        frame.dropDuplicates(["user_id"]),
        frame.withColumn("n", F.coalesce("n", F.lit(0))),
        frame.withColumn("views", F.map_concat("views", F.create_map(F.lit("z"), F.lit(1).cast("bigint")))),
        frame.withColumn("seq", F.reverse("seq")),
        frame.withColumn("n", F.col("n").cast("int")),
        frame.withColumnRenamed("n", "m"),
    ]
    assert len({digest, *(content_digest(other) for other in others)}) == len(others) + 1
