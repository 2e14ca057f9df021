"""The events of a made-up shop, as many as asked for, in Parquet files by day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

AS_OF = date(2026, 4, 2)
PARTITIONS = 64


@dataclass(frozen=True)
class History:
    """How much happened in a made-up shop before ``AS_OF``."""

    events: int
    users: int
    days: int

    def __str__(self) -> str:
        """For the head of a table."""
        return f"{self.events:,} events, {self.users:,} users, {self.days} days"

    def write(self, spark: SparkSession, folder: Path) -> None:
        """Events of equal chance for every user and day, ten kinds of rows in the shares of a shop, a folder a day."""
        kinds = "element_at(array('view','view','view','view','view','view','search','cart','favourite','purchase')"
        first = AS_OF - timedelta(days=self.days)
        rows = spark.range(self.events).selectExpr(
            f"concat('u', pmod(xxhash64(id, 1), {self.users})) as user_id",
            f"{kinds}, cast(pmod(xxhash64(id, 2), 10) as int) + 1) as event_type",
            "cast(100 + pmod(xxhash64(id, 3), 100000) as bigint) as price",
            "cast(1 + pmod(xxhash64(id, 4), 3) as int) as quantity",
            f"date_add(date'{first}', cast(pmod(xxhash64(id, 5), {self.days}) as int)) as event_date",
            "concat('e', id) as event_id",
            "concat('i', pmod(xxhash64(id, 6), 20000)) as item_id",
            "concat('c', pmod(xxhash64(id, 6), 40)) as category",
            "pmod(xxhash64(id, 7), 86400) as second",
        )
        timed = rows.withColumn(
            "event_time", F.expr("cast(event_date as timestamp) + make_interval(0,0,0,0,0,0,second)")
        )
        timed.drop("second").repartition(PARTITIONS // 4, "event_date").write.partitionBy("event_date").parquet(
            str(folder)
        )
