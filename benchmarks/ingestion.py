"""``ingest_events`` beside plain Spark: read, cast and write to the same Delta layout, without a check.

Both read the same files, JSON lines and Parquet, of events like the simulated shop's; ratios are to plain Spark of the
same format, times are seconds of the wall clock in one run. Then one more day, as the history grows from 10 to 90 days.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.memory import forget_peak, peak_gigabytes
from intent_spark.config.loading import load_settings, load_source
from intent_spark.events.contract import EVENTS
from intent_spark.events.job import IngestEvents
from intent_spark.lakehouse.job import JobContext, execute
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.session import spark_session
from intent_spark.pipeline.options import build_parser
from intent_spark.reports.table import text_table

FIRST, DAYS, FILES_A_DAY = date(2026, 1, 1), 7, 4
TYPES = "array('view','view','view','view','view','view','search','cart','favourite','purchase')"
SOURCE, FORMATS = "simulated_shop", ("jsonl", "parquet")
DAY_EVENTS, SHORT, LONG, LAST = 20_000, 10, 90, 3
Row = dict[str, object]


def formats(options: Namespace) -> None:
    """Print a row for each way and format."""
    with _bench(options.ingested) as bench:
        print(f"{options.ingested:,} events over {DAYS} days, {os.cpu_count()} cores")  # noqa: T201
        print(text_table(bench.formats()))  # noqa: T201


def one_more_day(options: Namespace) -> None:
    """Print what a day costs when the history is short and when it is long."""
    with _bench(options.ingested) as bench:
        print(f"one more day of {DAY_EVENTS:,} events:")  # noqa: T201
        print(text_table(bench.days()))  # noqa: T201


@contextmanager
def _bench(count: int) -> Iterator[_Bench]:
    with tempfile.TemporaryDirectory() as folder:
        spark = _session(folder)
        yield _Bench(spark, Path(folder), count)
        spark.stop()


def _session(folder: str) -> SparkSession:
    environment = load_settings().environment
    conf = environment.conf | {"spark.local.dir": folder, "spark.ui.showConsoleProgress": "false"}
    return spark_session(environment.model_copy(update={"conf": conf}), "benchmark")


def raw_events(spark: SparkSession, first_id: int, count: int, first: date, days: int) -> DataFrame:
    """Raw rows as ``simulate_events`` writes them: every hundredth is sent twice."""
    sent = f"pmod(id, {max(count - count // 100, 1)})"
    begins = (first - date(1970, 1, 1)).days * 86_400
    moment = f"timestamp_seconds({begins} + pmod(xxhash64(n, 5), {days * 86_400}))"
    rows = spark.range(first_id, first_id + count).withColumn("n", F.expr(f"{sent} + {first_id}"))
    rows = rows.withColumn("moment", F.expr(moment))
    stamp = "date_format(moment{0}, \"yyyy-MM-dd'T'HH:mm:ss'Z'\")"
    return rows.selectExpr(
        "concat('e', hex(xxhash64(n, 9))) as event_id",
        f"concat('u', pmod(xxhash64(n, 1), {max(count // 50, 100)})) as user_id",
        f"element_at({TYPES}, cast(pmod(xxhash64(n, 2), 10) as int) + 1) as event_type",
        "concat('i', pmod(xxhash64(n, 3), 20000)) as item_id",
        "concat('c', pmod(xxhash64(n, 3), 40), '/', pmod(xxhash64(n, 3), 400)) as category",
        "cast(cast(100 + pmod(xxhash64(n, 4), 100000) as decimal(12, 2)) / 100 as decimal(12, 2)) as price",
        "'CNY' as currency",
        "cast(1 + pmod(xxhash64(n, 6), 3) as int) as quantity",
        f"{stamp.format('')} as event_time",
        f"{stamp.format(' + interval 3 minutes')} as received_at",
        "element_at(array('phone', 'web', 'tablet'), cast(pmod(xxhash64(n, 7), 3) as int) + 1) as device",
        "concat('s', hex(xxhash64(n, 8))) as session_id",
    )


class _Bench:
    """The files, and the ways timed over them."""

    def __init__(self, spark: SparkSession, folder: Path, count: int) -> None:
        self.spark, self.folder, self.count = spark, folder, count
        self.settings = load_settings()

    def formats(self) -> list[Row]:
        """Plain Spark and ingest_events over each format, once for warmth on few rows and then in earnest."""
        rows: list[Row] = []
        for kind in FORMATS:
            for name, count in (("warm", 20_000), ("all", self.count)):
                self._write(raw_events(self.spark, 0, count, FIRST, DAYS), kind, self.folder / kind / name / "events")
            self._plain(kind, "warm")
            self._ingest(kind, "warm")
            plain = self._timed("plain Spark", kind, lambda kind=kind: self._plain(kind, "all"))  # type: ignore[misc]
            ours = self._timed("ingest_events", kind, lambda kind=kind: self._ingest(kind, "all"))  # type: ignore[misc]
            for row in (plain, ours):
                row["/ plain"] = round(row["seconds"] / plain["seconds"], 2)  # type: ignore[operator]
            rows += [plain, ours]
        return rows

    def _write(self, rows: DataFrame, kind: str, path: Path) -> None:
        spread = rows.repartition(DAYS * FILES_A_DAY, "event_id")
        (spread.write.json if kind == "jsonl" else spread.write.parquet)(str(path))

    def _timed(self, way: str, kind: str, work: Callable[[], int]) -> Row:
        forget_peak(self.spark)
        started = time.perf_counter()
        written = work()
        seconds = time.perf_counter() - started
        per_core = round(self.count / seconds / (os.cpu_count() or 1))
        return {
            "way": way, "format": kind, "seconds": round(seconds, 1), "events kept": written,
            "rows a second and core": per_core, "peak GB": round(peak_gigabytes(self.spark), 1),
        }  # fmt: skip

    def _plain(self, kind: str, name: str) -> int:
        """What one would write: no duplicate, no bad row, no second run is thought of."""
        raw, out = str(self.folder / kind / name / "events"), str(self.folder / kind / f"plain-{name}")
        strings = ", ".join(f"{column} string" for column in load_source(SOURCE).text.columns or [])
        rows = self.spark.read.schema(strings).json(raw) if kind == "jsonl" else self.spark.read.parquet(raw)
        moments = {"event_time": F.to_timestamp("event_time"), "ingest_time": F.to_timestamp("received_at")}
        told = rows.withColumns(moments).withColumns(
            {
                "event_date": F.to_date(F.from_utc_timestamp("event_time", "Asia/Shanghai")),
                "price": (F.col("price").cast("decimal(18,4)") * 100).cast("bigint"),
                "quantity": F.col("quantity").cast("int"), "batch_id": F.lit("b"), "source": F.lit(SOURCE),
            }
        )  # fmt: skip
        slices = max(1, self.count // self.settings.events.rows_per_file)
        spread = told.repartition("event_date", F.pmod(F.xxhash64("user_id"), F.lit(slices)))
        laid_out = spread.sortWithinPartitions("event_date", "user_id", "event_time", "event_id")
        writer = EVENTS.select(laid_out).write.format("delta").partitionBy("event_date")
        writer.save(out)
        return self.spark.read.format("delta").load(out).count()

    def _ingest(self, kind: str, name: str) -> int:
        return self._run(
            self.folder / kind / f"ours-{name}", ["--input", str(self.folder / kind / name), "--format", kind]
        )

    def _run(self, warehouse: Path, words: list[str]) -> int:
        context = JobContext(self.settings, self.spark, Lakehouse(self.spark, str(warehouse)))
        options = build_parser(IngestEvents()).parse_args(["--source", SOURCE, *words])
        return execute(IngestEvents(), context, options).rows_out

    def days(self) -> list[Row]:
        """The median of the last days' seconds, when the history is short and when it is long."""
        raw, taken = self.folder / "days", []
        for number in range(LONG):
            day = FIRST + timedelta(days=number)
            rows = raw_events(self.spark, number * DAY_EVENTS, DAY_EVENTS, day, 1).coalesce(2)
            rows.write.json(str(raw / "events" / f"date={day}"))
            started = time.perf_counter()
            self._run(self.folder / "daily", ["--input", str(raw), "--date", day.isoformat()])
            taken.append(time.perf_counter() - started)
        found = {history: statistics.median(taken[history - LAST : history]) for history in (SHORT, LONG)}
        return [
            {"days of history": history, "seconds": round(seconds, 2), "/ short": round(seconds / found[SHORT], 2)}
            for history, seconds in found.items()
        ]
