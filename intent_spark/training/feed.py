"""Examples for one rank, straight from the Delta table's Parquet files at a pinned version.

The files' row groups, in the order of their paths, are one long line of rows; each rank takes its own
contiguous share of a split. Shares differ by at most one row and every row is in exactly one of them,
whatever the number of files, row groups, rows and ranks. Nothing passes through Spark's driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds

from intent_spark.models.encode import Array, Batch, Encoded, encode_ragged, stable_hash
from intent_spark.models.logistic import Labelled, SumOverRanks, one_rank
from intent_spark.models.schema import FeatureSchema

LABEL, WEIGHT, SPLIT, USER = "label", "weight", "split", "user_id"
BUCKETS = 256
# One split, or the rows of several as if they were one.
Splits = str | tuple[str, ...]


@dataclass(frozen=True)
class Slice:
    """Rows ``start`` (included) to ``stop`` (not) of a split within one row group."""

    group: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Share:
    """Encoded rows of one split, with labels and weights float64 [n].

    ``buckets`` [n] is a hash of each row's user, 0 to 255: all rows of a user fall on one side of any cut by it.
    """

    encoded: Encoded
    labels: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    buckets: npt.NDArray[np.uint8]

    @property
    def rows(self) -> int:
        """How many rows this rank holds."""
        return len(self.labels)

    def where(self, kept: npt.NDArray[np.bool_]) -> Share:
        """The rows that are marked in ``kept`` [n]."""
        return Share(self.encoded.where(kept), self.labels[kept], self.weights[kept], self.buckets[kept])

    def labelled(self) -> Labelled:
        """The numeric inputs with labels and weights, for logistic regression."""
        return Labelled(self.encoded.numeric, self.labels, self.weights)


class ExampleTable:
    """One version of an examples table, seen as row groups."""

    def __init__(self, path: str, version: int) -> None:
        """Open the table's file list at ``version``; no data is read."""
        from deltalake import DeltaTable

        dataset = DeltaTable(path, version=version).to_pyarrow_dataset()
        self._schema: pa.Schema = dataset.schema
        files = sorted(dataset.get_fragments(), key=lambda file: str(file.path))
        self._groups = [group for file in files for group in file.split_by_row_group()]

    def count(self, split: Splits, rank: int = 0, ranks: int = 1, total: SumOverRanks = one_rank) -> list[int]:
        """Rows of a split in each row group; each rank counts its own part of the groups."""
        counts = np.zeros(len(self._groups))
        for number in range(rank, len(self._groups), ranks):
            wanted = self._groups[number].scanner(schema=self._schema, filter=_of(split))
            counts[number] = wanted.count_rows()
        return [int(rows) for rows in total(counts)]

    def read(self, split: Splits, slices: list[Slice], columns: list[str]) -> Iterator[pa.Table]:
        """The slices' rows, a row group at a time."""
        for part in slices:
            rows = self._groups[part.group].to_table(
                schema=self._schema, columns=columns, filter=_of(split), use_threads=False
            )
            yield rows.slice(part.start, part.stop - part.start)

    def empty(self, columns: list[str]) -> pa.Table:
        """No rows, with the table's types."""
        return self._schema.empty_table().select(columns)


def share_of_rows(counts: list[int], rank: int, ranks: int) -> list[Slice]:
    """The slices of rank ``rank``'s share, given the rows in each row group.

    Example: ``share_of_rows([3, 4], 0, 2) == [Slice(0, 0, 3)]`` and rank 1 has ``[Slice(1, 0, 4)]``.
    """
    total = sum(counts)
    first, last = total * rank // ranks, total * (rank + 1) // ranks
    slices, offset = [], 0
    for group, rows in enumerate(counts):
        start, stop = max(first - offset, 0), min(last - offset, rows)
        if start < stop:
            slices.append(Slice(group, start, stop))
        offset += rows
    return slices


def sample_of_rows(counts: list[int], rows: int) -> list[Slice]:
    """At most ``rows`` rows, from each row group in proportion; a group's first ones, which are in no order that tells.

    Example: ``sample_of_rows([10, 20], 15) == [Slice(0, 0, 5), Slice(1, 0, 10)]``, whatever the number of ranks.
    """
    total = sum(counts)
    kept = min(rows, total)
    ends = [kept * int(reach) // max(total, 1) for reach in np.cumsum(counts)]
    taken = np.diff([0, *ends])
    return [Slice(group, 0, int(part)) for group, part in enumerate(taken) if part]


def read_share(
    table: ExampleTable,
    split: Splits,
    schema: FeatureSchema,
    rank: int = 0,
    ranks: int = 1,
    total: SumOverRanks = one_rank,
) -> tuple[Share, int]:
    """This rank's share of a split, encoded row group by row group, and the rows of all ranks together."""
    counts = table.count(split, rank, ranks, total)
    return read_slices(table, split, share_of_rows(counts, rank, ranks), schema), sum(counts)


def read_slices(table: ExampleTable, split: Splits, slices: list[Slice], schema: FeatureSchema) -> Share:
    """The slices' rows, encoded row group by row group."""
    columns = [*schema.columns, LABEL, WEIGHT, USER]
    tables = table.read(split, slices, columns)
    parts = [_encode_share(part, schema) for part in (table.empty(columns), *tables)]
    return Share(
        encoded=Encoded.concat([part.encoded for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        weights=np.concatenate([part.weights for part in parts]),
        buckets=np.concatenate([part.buckets for part in parts]),
    )


def steps_per_epoch(total_rows: int, ranks: int, batch_size: int) -> int:
    """Steps of the rank with the largest share: all ranks take as many."""
    largest = -(-total_rows // ranks)
    return -(-largest // batch_size)


def epoch_order(rows: int, steps: int, batch_size: int, seed: int, epoch: int, rank: int) -> npt.NDArray[np.intp]:
    """Row numbers [steps, batch_size], shuffled by (seed, epoch, rank), padded with -1 at the end."""
    shuffled = np.random.default_rng([seed, epoch, rank]).permutation(rows)
    padded = np.pad(shuffled, (0, steps * batch_size - rows), constant_values=-1)
    return padded.reshape(steps, batch_size)


def batch_of(share: Share, rows: npt.NDArray[np.intp]) -> tuple[Batch, Array, Array]:
    """Inputs, labels and weights float32 [k] of the rows; -1 is a row that weighs nothing."""
    real = rows >= 0
    labels = np.where(real, share.labels[rows], 0.0).astype(np.float32)
    weights = np.where(real, share.weights[rows], 0.0).astype(np.float32)
    return share.encoded.take(rows), labels, weights


def _of(split: Splits) -> ds.Expression:
    return ds.field(SPLIT).isin([split] if isinstance(split, str) else list(split))


def _encode_share(table: pa.Table, schema: FeatureSchema) -> Share:
    return Share(
        encoded=encode_ragged(table, schema),
        labels=_floats(table[LABEL]),
        weights=_floats(table[WEIGHT]),
        buckets=_buckets(table[USER]),
    )


def _buckets(users: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    values = users.cast(pa.string()).to_numpy().astype(object)
    return (stable_hash(values, BUCKETS + 1) - 1).astype(np.uint8)


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
