"""Made-up examples to train on: random profiles and sequences, whose buyers had a cart as their newest event."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from intent_spark.models.schema import CategoricalFeature, FeatureSchema, NumericFeature, SequenceFeature

NUMBERS, EVENTS, GROUP_ROWS, BUCKETS = 150, 50, 16_384, 8192
EVENT_TYPES = ("view", "search", "cart", "favourite")


def schema(numbers: int = NUMBERS, events: int = EVENTS, buckets: int = BUCKETS) -> FeatureSchema:
    """What the columns of :func:`write_table` become."""
    return FeatureSchema(
        numeric=tuple(NumericFeature(f"n{number}", 2.0, 1.0) for number in range(numbers)),
        categorical=(CategoricalFeature("tier", ("a", "b", "c")),),
        sequences=(
            SequenceFeature("seq_event_type", "vocabulary", EVENT_TYPES),
            SequenceFeature("seq_item", "hash", buckets=buckets),
            SequenceFeature("seq_gap_seconds", "number", mean=9.0, std=2.0),
        ),
        max_length=events,
    )


def write_table(path: Path, rows: int, numbers: int, events: int, copies: int = 1) -> None:
    """A Delta table of one Parquet file, which is there ``copies`` times under other names."""
    from deltalake import convert_to_deltalake

    path.mkdir()
    pq.write_table(examples(rows, numbers, events), path / "part-0.parquet", row_group_size=GROUP_ROWS)
    for copy in range(1, copies):
        os.link(path / "part-0.parquet", path / f"part-{copy}.parquet")
    convert_to_deltalake(str(path))


def examples(rows: int, numbers: int, events: int) -> pa.Table:
    """Rows of random users, a quarter of them for validation; a cart as the newest event makes a purchase likely."""
    random = np.random.default_rng(1)
    sizes = random.integers(0, events + 1, rows)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    kinds = random.integers(0, len(EVENT_TYPES), offsets[-1])
    cart = np.zeros(rows, bool)
    cart[sizes > 0] = kinds[offsets[1:][sizes > 0] - 1] == EVENT_TYPES.index("cart")
    first = random.poisson(5, rows)
    odds = -3.0 + 2.5 * cart + 0.2 * (first - 5)
    items = random.zipf(1.3, offsets[-1]) % 50_000
    lists = {
        "seq_event_type": pa.array(EVENT_TYPES).take(pa.array(kinds)),
        "seq_item": pa.array(items).cast(pa.string()),
        "seq_gap_seconds": pa.array(random.integers(0, 100_000, offsets[-1])),
    }
    return pa.table(
        {
            "user_id": pa.array(np.arange(rows)).cast(pa.string()),
            **{f"n{number}": random.poisson(number % 9, rows) if number else first for number in range(numbers)},
            "tier": random.choice(["a", "b", "c"], rows),
            **{name: pa.ListArray.from_arrays(offsets, values) for name, values in lists.items()},
            "label": (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int32),
            "weight": np.ones(rows),
            "split": np.where(np.arange(rows) % 4 == 3, "validation", "train"),
        }
    )
