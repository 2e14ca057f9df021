"""The last fifty events of every user, in the shipped columns: rolled on by a day beside a full sort of the history.

Both read the same Parquet files and write Parquet; that the rows are equal is checked.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from datetime import timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.history import AS_OF, PARTITIONS, History
from benchmarks.measure import in_turns, session, with_ratios, write
from intent_spark.config.features import FeaturesConfig
from intent_spark.config.loading import load_settings
from intent_spark.lakehouse.session import one_pass_folds
from intent_spark.profiles.direct import EventDays
from intent_spark.profiles.fold import StoredDays
from intent_spark.profiles.items import EventFrames
from intent_spark.profiles.slots import Slots
from intent_spark.profiles.state import Base, build_state, find_way
from intent_spark.profiles.user_days import user_days
from intent_spark.reports.table import text_table

SHIPPED = load_settings().features.sequence
assert SHIPPED is not None
SEQUENCE = SHIPPED.model_copy(update={"window_days": 3650})
FEATURES = FeaturesConfig(windowed=[], derived=[], user=[], sequence=SEQUENCE)


def main(options: Namespace) -> None:
    """Print a row for each way."""
    history = History(options.events, options.events // options.events_a_user, options.days)
    with tempfile.TemporaryDirectory() as folder:
        spark, root = session(folder, PARTITIONS), Path(folder)
        history.write(spark, root / "events")
        events = spark.read.parquet(str(root / "events"))
        yesterday = AS_OF - timedelta(days=1)
        before = EventDays(EventFrames.of(events.where(F.col("event_date") < F.lit(yesterday))))
        write(build_state(before, FEATURES, find_way(Slots(FEATURES), yesterday, None), "UTC"), f"{root}/state")
        ways = {
            "full sort": lambda: write(full_sort(events), f"{root}/full"),
            "intent_spark, roll of one day": lambda: _roll(spark, root, events),
        }
        found = in_turns(spark, ways)
        _compare(spark, root)
        rows = with_ratios([*found.values()], {"full sort": found["full sort"]})
        spark.stop()
    print(f"last {SEQUENCE.length} events: {history}")  # noqa: T201
    print(text_table(rows))  # noqa: T201


def full_sort(events: DataFrame) -> DataFrame:
    """The events of each user numbered from the newest, those up to fifty gathered."""
    events.createOrReplaceTempView("sorted_events")
    values = [f"cast({c.value} as {c.type}) as {c.name}" for c in SEQUENCE.columns if c.value]
    fields = ", ".join(["event_time", *values])
    return events.sparkSession.sql(
        f"""with numbered as (
                select user_id, struct({fields}) as event,
                       row_number() over (partition by user_id order by event_time desc, event_id desc) as nth
                from sorted_events)
            select user_id, transform(sort_array(collect_list(struct(nth, event))), e -> e.event) as last_events
            from numbered where nth <= {SEQUENCE.length} group by user_id"""
    )


def _roll(spark: SparkSession, root: Path, events: DataFrame) -> None:
    """The day's tile, then yesterday's last events and the day's as one."""
    yesterday = AS_OF - timedelta(days=1)
    last_day = EventFrames.of(events.where(F.col("event_date") == F.lit(yesterday)))
    way = find_way(Slots(FEATURES), AS_OF, Base(yesterday))
    with one_pass_folds(spark):
        write(user_days(last_day, FEATURES), f"{root}/days")
        days = StoredDays(spark.read.parquet(f"{root}/days"))
        write(build_state(days, FEATURES, way, "UTC", spark.read.parquet(f"{root}/state")), f"{root}/rolled")


def _compare(spark: SparkSession, root: Path) -> None:
    """As many users, and for each the same fifty, value by value."""
    told = []
    names = [column.name for column in SEQUENCE.columns if column.value]
    for table, prefix in (("full", "last_events."), ("rolled", "")):
        frame = spark.read.parquet(f"{root}/{table}")
        listed = F.xxhash64("user_id", *[F.expr(prefix + name) for name in names])
        told.append(frame.agg(F.count("*"), F.sum(F.pmod(listed, F.lit(1_000_003)))).collect()[0])
    assert told[0] == told[1], f"the ways differ: {told}"
