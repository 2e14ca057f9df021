"""24 plain aggregates by user: our direct way and our roll beside one pass of Spark SQL and beside DuckDB.

All read the same Parquet files, write one snapshot as Parquet and give equal rows, which is checked. The ways take
turns; ratios are of the middle of three rounds, and one more day is the sum of those of its two parts.
"""

from __future__ import annotations

import os
import tempfile
from argparse import Namespace
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.history import AS_OF, PARTITIONS, History
from benchmarks.measure import Row, in_turns, session, with_ratios, write
from intent_spark.config.features import FeaturesConfig
from intent_spark.profiles.direct import EventDays
from intent_spark.profiles.fold import StoredDays
from intent_spark.profiles.items import EventFrames
from intent_spark.profiles.profile import profiles_of
from intent_spark.profiles.slots import Slots
from intent_spark.profiles.state import Base, build_state, find_way, same_slots
from intent_spark.profiles.user_days import user_days
from intent_spark.reports.table import text_table

WINDOWS = (7, 30, 90)
TYPES = ("view", "search", "cart", "favourite", "purchase")
SUMS = {
    "spend": ("purchase", "price * quantity"), "cart_value": ("cart", "price * quantity"),
    "quantity": ("purchase", "quantity"),
}  # fmt: skip
SPARK_SQL, DIRECT, DUCKDB = "Spark SQL, one pass", "intent_spark, direct", "DuckDB, one pass"
TILE, ROLL = "intent_spark, tile of one day", "intent_spark, roll of one day"


def main(options: Namespace) -> None:
    """Print a row for each way to the snapshot."""
    history = History(options.events, options.events // options.events_a_user, options.days)
    with tempfile.TemporaryDirectory() as folder:
        spark = session(folder, PARTITIONS)
        rows = _Bench(spark, Path(folder), history).run()
        spark.stop()
    print(f"{history}, {len(WINDOWS) * 8} aggregates")  # noqa: T201
    print(text_table(rows))  # noqa: T201


def plain_features() -> FeaturesConfig:
    """The 24 aggregates as declarations, without sequences."""
    rest = {"unit": "", "description": "", "owner": ""}
    counts = [{"name": f"{t}_count", "aggregate": "count", "event_types": [t]} for t in TYPES]
    sums = [
        {"name": f"{name}_sum", "aggregate": "sum", "event_types": [kind], "value": value}
        for name, (kind, value) in SUMS.items()
    ]
    windowed = [{**declared, "windows": list(WINDOWS), **rest} for declared in counts + sums]
    return FeaturesConfig.model_validate({"windowed": windowed, "derived": [], "user": []})


def hand_written() -> str:
    """One pass of SQL, as one would write it."""
    columns = []
    for window in WINDOWS:
        near = f"event_date >= date'{AS_OF - timedelta(days=window)}'"
        columns += [
            f"sum(case when event_type = '{kind}' and {near} then 1 else 0 end) as {kind}_count_{window}d"
            for kind in TYPES
        ]
        columns += [
            f"sum(case when event_type = '{kind}' and {near} then {value} else 0 end) as {name}_sum_{window}d"
            for name, (kind, value) in SUMS.items()
        ]
    return f"select user_id, {', '.join(columns)} from events group by user_id"


def _sum(*seconds: object) -> float:
    return round(sum(float(str(each)) for each in seconds), 2)


class _Bench:
    """The files, and the ways timed over them."""

    def __init__(self, spark: SparkSession, folder: Path, history: History) -> None:
        self.spark, self.folder, self.history = spark, folder, history
        self.features = plain_features()
        self.slots = Slots(self.features)

    def run(self) -> list[Row]:
        """Make the files, time the ways in turns, compare what they wrote."""
        self.history.write(self.spark, self.folder / "events")
        self.spark.read.parquet(str(self.folder / "events")).createOrReplaceTempView("events")
        self._before_rolling()
        ways = {
            SPARK_SQL: self._spark_sql,
            DIRECT: self._direct,
            DUCKDB: self._duckdb,
            TILE: self._tile,
            ROLL: self._roll,
        }
        rows = in_turns(self.spark, ways)
        self._compare()
        others = {"Spark SQL": rows[SPARK_SQL], "direct": rows[DIRECT], "DuckDB": rows[DUCKDB]}
        both: Row = {"way": "intent_spark, one more day", "peak GB": "", "shuffled MB": ""}
        both |= {key: _sum(rows[TILE][key], rows[ROLL][key]) for key in ("seconds", "first seconds")}
        return with_ratios([*rows.values(), both], others)

    def _result(self, way: str) -> Path:
        return self.folder / "results" / way

    def _spark_sql(self) -> None:
        write(self.spark.sql(hand_written()), self._result(SPARK_SQL))

    def _profiles(self, state: DataFrame) -> DataFrame:
        return profiles_of(state, None, self.features, AS_OF, "UTC").drop("as_of", "definition_hash")

    def _direct(self) -> None:
        days = EventDays(EventFrames.of(self.spark.table("events")))
        state = build_state(days, self.features, find_way(self.slots, AS_OF, None), "UTC")
        write(self._profiles(state), self._result(DIRECT))

    def _duckdb(self) -> None:
        import duckdb

        out = self._result(DUCKDB)
        out.mkdir(parents=True, exist_ok=True)
        connection = duckdb.connect()
        connection.execute(f"set threads = {os.cpu_count()}")
        files = f"read_parquet('{self.folder}/events/*/*.parquet', hive_partitioning = true)"
        query = hand_written().replace("from events", f"from {files}")
        connection.execute(f"copy ({query}) to '{out}/all.parquet' (format parquet)")

    def _before_rolling(self) -> None:
        """Yesterday's state, and the tiles of the days that leave: what daily runs before this one have left."""
        yesterday = AS_OF - timedelta(days=1)
        days = EventDays(EventFrames.of(self.spark.table("events").where(F.col("event_date") < F.lit(yesterday))))
        state = build_state(days, self.features, find_way(self.slots, yesterday, None), "UTC")
        write(state, self.folder / "state")
        for window in WINDOWS:
            self._write_tile(yesterday - timedelta(days=window))

    def _write_tile(self, day: date) -> None:
        events = self.spark.table("events").where(F.col("event_date") == F.lit(day))
        write(
            user_days(EventFrames.of(events), self.features).drop("event_date"),
            self.folder / "days" / f"event_date={day}",
        )

    def _tile(self) -> None:
        self._write_tile(AS_OF - timedelta(days=1))

    def _roll(self) -> None:
        """The new state, and the profiles of it: both are written, as the job does."""
        yesterday = AS_OF - timedelta(days=1)
        way = find_way(self.slots, AS_OF, Base(yesterday, same_slots(list(self.slots))))
        days = StoredDays(self.spark.read.parquet(str(self.folder / "days")))
        before = self.spark.read.parquet(str(self.folder / "state"))
        write(build_state(days, self.features, way, "UTC", before), self.folder / "rolled")
        write(self._profiles(self.spark.read.parquet(str(self.folder / "rolled"))), self._result(ROLL))

    def _compare(self) -> None:
        """All ways wrote equal rows: as many, and of every column the same sum over users, weighted by their hash."""
        told = {}
        for way in (SPARK_SQL, DIRECT, DUCKDB, ROLL):
            frame = self.spark.read.parquet(str(self._result(way)))
            names = sorted(c for c in frame.columns if c != "user_id")
            sums = [F.expr(f"sum(cast(`{n}` as bigint) * pmod(xxhash64(user_id), 1009))").alias(n) for n in names]
            told[way] = frame.agg(F.count("*").alias("rows"), *sums).collect()[0].asDict()
        first = next(iter(told.values()))
        for way, row in told.items():
            assert row == first, (
                f"{way} differs: {[(n, row[n], first[n]) for n in first if row.get(n) != first[n]][:3]}"
            )
