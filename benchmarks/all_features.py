"""All declared features and the last events: days, a merged snapshot and the next one rolled, through the tables.

The job's own functions over Delta tables, at one size or at several, whose seconds a million events show the slope.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import SparkSession

from benchmarks.history import AS_OF, PARTITIONS, History
from benchmarks.measure import Row, session, timed
from intent_spark.config.loading import load_settings
from intent_spark.lakehouse.session import one_pass_folds
from intent_spark.profiles.fold import StoredDays
from intent_spark.profiles.items import EventFrames, no_items, with_items
from intent_spark.profiles.profile import profiles_of
from intent_spark.profiles.slots import Slots
from intent_spark.profiles.state import Base, build_state, find_way, same_slots
from intent_spark.profiles.user_days import user_days
from intent_spark.reports.table import text_table

TENTHS = (0.1, 1)


def main(options: Namespace) -> None:
    """Print the rows of a tenth of the events and of all of them."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        spark = session(folder, PARTITIONS)
        for share in TENTHS:
            events = int(options.events * share)
            history = History(events, events // options.events_a_user, options.days)
            with one_pass_folds(spark):
                rows += _Features(spark, Path(folder) / str(events), history).run()
        spark.stop()
    features = load_settings().features
    print(f"{len(features.windowed)} declarations, last {features.sequence and features.sequence.length} events")  # noqa: T201
    print(text_table(rows))  # noqa: T201


class _Features:
    """One size."""

    def __init__(self, spark: SparkSession, folder: Path, history: History) -> None:
        self.spark, self.folder, self.history = spark, folder, history
        self.features = load_settings().features
        self.slots = Slots(self.features)

    def run(self) -> list[Row]:
        """Days of all but the last day, the snapshot before it, then the last day and the snapshot rolled to it."""
        self.history.write(self.spark, self.folder / "events")
        yesterday = AS_OF - timedelta(days=1)
        first, last = f"event_date < date'{yesterday}'", f"event_date = date'{yesterday}'"
        return [
            self._row("user_days, all but a day", lambda: self._days(first)),
            self._row("profiles, merged", lambda: self._snapshot(yesterday, None)),
            self._row("user_days, one more day", lambda: self._days(last)),
            self._row("profiles, rolled by a day", lambda: self._snapshot(AS_OF, yesterday)),
        ]

    def _row(self, way: str, work: Callable[[], object]) -> Row:
        row = timed(self.spark, way, work)
        rate = round(1e6 * float(str(row["seconds"])) / self.history.events, 3)
        return {"events": f"{self.history.events:,}", **row, "s / million events": rate}

    def _days(self, condition: str) -> None:
        events = self.spark.read.parquet(str(self.folder / "events")).where(condition)
        days = [AS_OF - timedelta(days=n) for n in (1, self.history.days)]
        built = user_days(EventFrames(with_items(events, no_items(self.spark), days), events), self.features)
        built.write.mode("append").partitionBy("event_date").parquet(str(self.folder / "days"))

    def _snapshot(self, as_of: date, previous: date | None) -> None:
        days = StoredDays(self.spark.read.parquet(str(self.folder / "days")))
        base = None if previous is None else Base(previous, same_slots(list(self.slots)))
        before = None if previous is None else self.spark.read.parquet(str(self.folder / f"state-{previous}"))
        state = build_state(days, self.features, find_way(self.slots, as_of, base), "UTC", before)
        state.write.parquet(str(self.folder / f"state-{as_of}"))
        stored = self.spark.read.parquet(str(self.folder / f"state-{as_of}"))
        profiles_of(stored, None, self.features, as_of, "UTC").write.parquet(str(self.folder / f"profiles-{as_of}"))
