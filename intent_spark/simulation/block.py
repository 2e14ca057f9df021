"""A block of chunks, written to files: what one Spark task does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from intent_spark.config.simulation import EVENT_TYPES
from intent_spark.simulation.chunk import TRUTH_SCHEMA, Chunk, Shop
from intent_spark.simulation.day_files import DayFiles, write_snapshot
from intent_spark.simulation.encoding import EVENT_COLUMNS
from intent_spark.simulation.imperfections import Fault


def write_block(shop: Shop, block: int, chunks: Sequence[int], output: Path) -> Counter[str]:
    """Make and write the chunks of a block: events, users and truth. Returns what was made, by name."""
    counts: Counter[str] = Counter()
    users: list[pa.Table] = []
    file_format = shop.plan.file_format
    truth_path = output / "truth" / f"part-{block:05d}.parquet"
    with DayFiles(output, block, file_format, EVENT_COLUMNS) as files, _truth_file(truth_path) as truth:
        for chunk in map(shop.chunk, chunks):
            for day, rows in delivery_days(shop, chunk):
                files.add(day, rows)
            truth.write_table(shop.truth_table(chunk))
            users.append(shop.users_table(chunk))
            counts.update(count_chunk(shop, chunk))
    snapshot = output / "users" / f"snapshot-{block:05d}.{file_format}"
    write_snapshot(snapshot, pa.concat_tables(users).sort_by("user_id"), file_format)
    return counts


def delivery_days(shop: Shop, chunk: Chunk) -> Iterator[tuple[int, pa.Table]]:
    """The chunk's rows by the day on which they were received, in the shop's zone."""
    rows = shop.rows(chunk)
    days, begins = np.unique(shop.calendar.days_of(chunk.deliveries.received), return_index=True)
    ends = [*begins[1:], rows.num_rows]
    for day, begin, end in zip(days, begins, ends, strict=True):
        yield int(day), rows.slice(begin, end - begin)


def count_chunk(shop: Shop, chunk: Chunk) -> Counter[str]:
    """What the chunk holds: true events by type, delivered rows by fault, users, and its truth's labels."""
    by_fault = {f"fault.{fault.name.lower()}": chunk.deliveries.count(fault) for fault in Fault if fault}
    by_type = np.bincount(chunk.events.kind, minlength=len(EVENT_TYPES))
    counts = Counter(by_fault)
    counts.update({f"type.{name}": int(count) for name, count in zip(EVENT_TYPES, by_type, strict=True)})
    is_bot = shop.plan.is_bot(chunk.number)
    matured = chunk.truth.label >= 0
    counts.update(
        {
            "events": int(chunk.events.kind.size),
            "rows": int(chunk.deliveries.event.size),
            "users": len(chunk.users.ids),
            "bots": len(chunk.users.ids) if is_bot else 0,
            "bot_events": int(chunk.events.kind.size) if is_bot else 0,
            "truth_rows": int(matured.size),
            "matured": int(matured.sum()),
            "purchased": int((chunk.truth.label == 1).sum()),
        }
    )
    return counts


@contextmanager
def _truth_file(path: Path) -> Iterator[pq.ParquetWriter]:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    with pq.ParquetWriter(unfinished, TRUTH_SCHEMA) as writer:
        yield writer
    unfinished.replace(path)
