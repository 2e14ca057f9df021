"""A synthetic examples table whose label depends on the profile and on the order of events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from deltalake import WriterProperties, write_deltalake

from intent_spark.config.model import ModelConfig
from intent_spark.config.training import FeedSettings
from intent_spark.models.encode import Batch
from intent_spark.models.intent_net import traced_heads
from intent_spark.models.logistic import SumOverRanks
from intent_spark.models.schema import FeatureSchema
from intent_spark.training.collective import OneRank
from intent_spark.training.feed import Keep, Share
from intent_spark.training.stream import TrainFeed, rank_rows, train_feed
from intent_spark.training.windows import Piece

EVENTS = np.array(["view", "search", "cart", "favourite"])
SPLITS = ("train", "train", "train", "validation", "test")


def examples_schema() -> pa.Schema:
    """The columns of ``examples``, with their roles."""

    def field(name: str, kind: pa.DataType, role: str | None = None) -> pa.Field:
        return pa.field(name, kind, metadata={"role": role} if role else None)

    return pa.schema(
        [
            field("user_id", pa.string()),
            field("as_of", pa.date32()),
            field("view_count_7d", pa.int64(), "numeric"),
            field("spend_cents_30d", pa.int64(), "numeric"),
            field("days_since_purchase", pa.float64(), "numeric"),
            field("city_tier", pa.string(), "categorical"),
            field("seq_event_type", pa.list_(pa.string()), "sequence"),
            field("seq_category", pa.list_(pa.string()), "sequence"),
            field("seq_item", pa.list_(pa.string()), "sequence"),
            field("seq_price_band", pa.list_(pa.int32()), "sequence"),
            field("seq_gap_seconds", pa.list_(pa.int64()), "sequence"),
            field("label", pa.int32()),
            field("weight", pa.float64()),
            field("split", pa.string()),
        ]
    )


def examples_table(rows: int, seed: int = 1, max_length: int = 50) -> pa.Table:
    """Rows whose purchase is likelier with many views, and much likelier if the newest event is a cart."""
    random = np.random.default_rng(seed)
    sizes = random.integers(0, max_length + 1, rows)
    total = int(sizes.sum())
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    events = random.integers(0, len(EVENTS), total)
    last_is_cart = np.zeros(rows, bool)
    last_is_cart[sizes > 0] = events[offsets[1:][sizes > 0] - 1] == 2
    views = random.poisson(5, rows)
    logit = -2.5 + 3.0 * last_is_cart + 0.2 * (views - 5)
    items = random.integers(0, 500, total)
    price_bands = pa.array(random.integers(0, 10, total), pa.int32(), mask=random.random(total) < 0.1)
    lists = {
        "seq_event_type": pa.array(EVENTS).take(pa.array(events)),
        "seq_category": pa.array(items % 20).cast(pa.string()),
        "seq_item": pa.array(items).cast(pa.string()),
        "seq_price_band": price_bands,
        "seq_gap_seconds": pa.array(random.integers(0, 100_000, total)),
    }
    splits = np.sort(random.integers(0, len(SPLITS), rows))
    days = [date(2024, 1, 1) + timedelta(days=7 * int(split)) for split in splits]
    columns = {
        "user_id": [f"u{number}" for number in range(rows)],
        "as_of": days,
        "view_count_7d": views,
        "spend_cents_30d": random.integers(0, 10_000, rows),
        "days_since_purchase": pa.array(random.random(rows) * 90, mask=random.random(rows) < 0.3),
        "city_tier": pa.array(random.choice(["1", "2", "3"], rows), mask=random.random(rows) < 0.1),
        **{name: pa.ListArray.from_arrays(offsets, values) for name, values in lists.items()},
        "label": (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int32),
        "weight": np.ones(rows),
        "split": np.array(SPLITS)[splits],
    }
    return pa.table(columns, schema=examples_schema())


def with_outcomes(table: pa.Table) -> pa.Table:
    """The rows with what further heads learn: who looked little stays away, a lower tier's buyers spend more."""
    random = np.random.default_rng(5)
    views, bought = table["view_count_7d"].to_numpy(), table["label"].to_numpy()
    churned = (bought == 0) & (random.random(len(table)) < 1 / (1 + np.exp(0.8 * (views - 4))))
    tiers = np.array([float(tier or 2) for tier in table["city_tier"].to_pylist()])
    spent = np.where(bought == 1, np.exp(9.0 - tiers + 0.3 * random.normal(size=len(table))), 0.0)
    columns = {"churned": pa.array(churned.astype(np.int32)), "spent": pa.array(spent.astype(np.int64))}
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table


def intent_logits(network: keras.Model) -> Callable[[Batch], npt.NDArray[np.float64]]:
    """The head for purchases as one traced function from a batch to logits float64 [n]."""
    heads = traced_heads(network)
    return lambda batch: heads(batch)[:, 0]


def write_examples(path: Path, table: pa.Table, row_group_rows: int = 1000) -> int:
    """Write (or append to) the Delta table, partitioned by ``as_of``; returns its version."""
    from deltalake import DeltaTable

    properties = WriterProperties(max_row_group_size=row_group_rows)
    write_deltalake(str(path), table, mode="append", partition_by=["as_of"], writer_properties=properties)
    return DeltaTable(str(path)).version()


@dataclass(frozen=True, eq=False)
class MemorySource:
    """Rows of a split that lie in memory, as row groups of ``group_rows`` rows."""

    share: Share
    schema: FeatureSchema
    group_rows: int = 100_000
    choice: np.ndarray | None = None

    @property
    def counts(self) -> list[int]:
        rows = np.arange(self.share.rows) if self.choice is None else self.choice
        return np.bincount(rows // self.group_rows, minlength=-(-self.share.rows // self.group_rows)).tolist()

    def load(self, piece: Piece) -> Share:
        rows = np.arange(self.share.rows) if self.choice is None else self.choice
        of_group = rows[rows // self.group_rows == piece.group]
        return self.share.select(of_group[piece.positions()])

    outcomes = load

    def nothing(self) -> Share:
        return self.share.select(np.arange(0))

    def profile_alone(self) -> MemorySource:
        return self

    def kept(self, keep: Keep, rank: int, ranks: int, total: SumOverRanks) -> tuple[MemorySource, int]:
        chosen = keep(self.share.labels, 0)
        return replace(self, choice=chosen), int((self.share.labels[chosen] == 0).sum())


def memory_feed(share: Share, schema: FeatureSchema, config: ModelConfig, memory_mb: int = 1024) -> TrainFeed:
    """The rows of one rank alone, as its training is fed with them."""
    settings = FeedSettings(memory_mb=memory_mb)
    rows = rank_rows(MemorySource(share, schema), settings, OneRank())
    return train_feed(rows, config, settings, OneRank())
