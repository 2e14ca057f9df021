"""How many events a second one core simulates and writes, by format; truth included."""

from __future__ import annotations

import tempfile
import time
from datetime import date
from pathlib import Path
from typing import get_args

from intent_spark.config.loading import load_settings
from intent_spark.config.simulation import FileFormat
from intent_spark.reports.table import text_table
from intent_spark.simulation.block import write_block
from intent_spark.simulation.chunk import Shop, ShopPlan

USERS, DAYS = 20_000, 60


def main() -> None:
    """Print a row for each format."""
    rows = [_measure(file_format) for file_format in get_args(FileFormat)]
    print(text_table(rows))  # noqa: T201


def _measure(file_format: FileFormat) -> dict[str, object]:
    config = load_settings().simulation
    plan = ShopPlan(config, USERS, DAYS, date(2026, 3, 1), 7, file_format)
    shop = Shop(plan)
    chunks = list(range(USERS // config.chunk_users))
    with tempfile.TemporaryDirectory() as folder:
        started, cpu = time.perf_counter(), time.process_time()
        counts = write_block(shop, 0, chunks, Path(folder))
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    events = counts["events"]
    return {
        "format": file_format,
        "events": events,
        "seconds": round(wall, 2),
        "events a second": round(events / wall),
        "events a CPU second": round(events / cpu),
    }
