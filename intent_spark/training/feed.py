"""Examples for one rank, straight from the Delta table's Parquet files at a pinned version.

Row groups are decoded a few thousand rows at a time and encoded at once, so what is in memory is encoded rows. Nothing
passes through Spark's driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from intent_spark.config.heads import HEADS, Head
from intent_spark.models.encode import Array, Batch, Encoded, encode_ragged, stable_hash
from intent_spark.models.logistic import FloatArray, Labelled, SumOverRanks, one_rank
from intent_spark.models.schema import FeatureSchema
from intent_spark.training.windows import Piece

LABEL, WEIGHT, SPLIT, USER = "label", "weight", "split", "user_id"
DATE = "as_of"  # what the table is partitioned by
# What the further heads learn of a batch, and how much a row weighs for each, float32 [k, heads].
TARGETS, TARGET_WEIGHTS = "targets", "target_weights"
BUCKETS = 256
# One split, or the rows of several as if they were one.
Splits = str | tuple[str, ...]
# Rows that are decoded at a time.
READ_ROWS = 8192

Scorer = Callable[[Encoded], FloatArray]
# A row group's labels [n] and the number of its first row among all ranks' rows → places of the rows that are fed.
Keep = Callable[[FloatArray, int], npt.NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class Share:
    """Encoded rows of one split, with labels and weights float64 [n].

    ``buckets`` [n] is a hash of each row's user, 0 to 255: all rows of a user fall on one side of any cut by it.
    ``targets`` [n, heads] is what each of :data:`HEADS` learns, NaN where it is not known: a chance's label, the
    logarithm of an amount.
    """

    encoded: Encoded
    labels: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    buckets: npt.NDArray[np.uint8]
    targets: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, len(HEADS))))

    def __post_init__(self) -> None:
        if len(self.targets) != len(self.labels):
            object.__setattr__(self, "targets", np.full((len(self.labels), len(HEADS)), np.nan))

    @property
    def rows(self) -> int:
        """How many rows this rank holds."""
        return len(self.labels)

    def labelled(self) -> Labelled:
        """The numeric inputs with labels and weights, for logistic regression."""
        return Labelled(self.encoded.numeric, self.labels, self.weights)

    def held(self) -> Share:
        """The rows themselves."""
        return self

    def score(self, scorer: Scorer) -> FloatArray:
        """The scorer's log odds float64 [n]."""
        return scorer(self.encoded)

    def select(self, rows: npt.NDArray[np.intp]) -> Share:
        """The rows of these numbers, in this order."""
        return Share(
            self.encoded.select(rows), self.labels[rows], self.weights[rows], self.buckets[rows], self.targets[rows]
        )

    @classmethod
    def concat(cls, parts: list[Share]) -> Share:
        """One after the other; ``parts`` is emptied, as by :meth:`Encoded.concat`."""
        encoded = [part.encoded for part in parts]
        names = ("labels", "weights", "buckets", "targets")
        joined = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        parts.clear()
        return cls(Encoded.concat(encoded), *joined)


class Judged(Protocol):
    """Rows that scores are judged on: a share in memory, or one that is read anew for each scorer."""

    @property
    def labels(self) -> npt.NDArray[np.float64]:
        """Labels [n]."""

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """Weights [n]."""

    @property
    def buckets(self) -> npt.NDArray[np.uint8]:
        """Hashes of the rows' users [n]."""

    @property
    def targets(self) -> npt.NDArray[np.float64]:
        """What the further heads foretell [n, heads]; NaN: not known."""

    def held(self) -> Share:
        """These rows in memory, or as many of them as may be there at a time."""

    def score(self, scorer: Scorer) -> FloatArray:
        """Log odds float64 [n] of all rows."""


class ExampleTable:
    """One version of an examples table, seen as row groups."""

    def __init__(self, path: str, version: int) -> None:
        """Open the table's file list at ``version``; no data is read."""
        from deltalake import DeltaTable

        dataset = DeltaTable(path, version=version).to_pyarrow_dataset()
        self._schema: pa.Schema = dataset.schema
        files = sorted(dataset.get_fragments(), key=lambda file: str(file.path))
        self._groups = [group for file in files for group in file.split_by_row_group()]
        # Older training sets lack labels of further heads.
        self.outcomes = [name for name in (LABEL, *(head.label for head in HEADS)) if name in self._schema.names]

    def count(self, split: Splits, rank: int = 0, ranks: int = 1, total: SumOverRanks = one_rank) -> list[int]:
        """Rows of a split in each row group; each rank counts its own part of the groups."""
        counts = np.zeros(len(self._groups))
        for number in range(rank, len(self._groups), ranks):
            wanted = self._groups[number].scanner(schema=self._schema, filter=ds.field(SPLIT).isin(_names(split)))
            counts[number] = wanted.count_rows()
        return [int(rows) for rows in total(counts)]

    def dates(self, counts: Sequence[int]) -> int:
        """How many dates have rows, by ``counts`` of the row groups; a table that is not cut by date is of one."""
        groups = (group for group, rows in zip(self._groups, counts, strict=True) if rows)
        return len({ds.get_partition_keys(group.partition_expression).get(DATE) for group in groups})

    def read(self, split: Splits, group: int, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The split's rows of a row group in the file's order, at most ``READ_ROWS`` at a time."""
        import pyarrow.parquet as pq

        fragment = self._groups[group]
        with pq.ParquetFile(fragment.open(), metadata=fragment.metadata) as file:
            there = set(file.schema_arrow.names)
            batches = file.iter_batches(
                READ_ROWS, [row_group.id for row_group in fragment.row_groups],
                columns=[name for name in (*columns, SPLIT) if name in there], use_threads=False,
            )  # fmt: skip
            for batch in batches:
                rows = pa.Table.from_batches([batch])
                of_split = pc.is_in(rows[SPLIT], value_set=pa.array(_names(split)))
                rows = rows if pc.all(of_split, min_count=0).as_py() else rows.filter(of_split)
                # A column that was added after the file was written is null there.
                nulls = {name: pa.nulls(len(rows), self._schema.field(name).type) for name in set(columns) - there}
                yield _with(rows, nulls)

    def empty(self, columns: Sequence[str]) -> pa.Table:
        """No rows, with the table's types."""
        return self._schema.empty_table().select(list(columns))


class Source(Protocol):
    """Rows of a split by row group, wherever they lie."""

    @property
    def schema(self) -> FeatureSchema:
        """How they are encoded."""

    @property
    def counts(self) -> list[int]:
        """Rows in each row group, of all ranks together."""

    def load(self, piece: Piece) -> Share:
        """The piece's rows, encoded."""

    def outcomes(self, piece: Piece) -> Share:
        """The piece's labels, weights and users alone, with no input encoded."""

    def nothing(self) -> Share:
        """No rows."""

    def profile_alone(self) -> Source:
        """The same rows without their sequences."""

    def kept(self, keep: Keep, rank: int, ranks: int, total: SumOverRanks) -> tuple[Source, int]:
        """Some of the rows, and how many negatives are among them."""


@dataclass(frozen=True, eq=False)
class SplitRows:
    """A split's rows by row group: ``counts`` of all ranks together, after ``keep`` took its choice of them.

    With a ``half``, 0 or 1, only those of the users whose bucket is even or odd.
    """

    table: ExampleTable
    split: Splits
    schema: FeatureSchema
    counts: list[int]
    firsts: list[int] = field(default_factory=list)
    keep: Keep | None = None
    half: int | None = None

    @classmethod
    def of(
        cls, table: ExampleTable, split: Splits, schema: FeatureSchema, rank: int = 0, ranks: int = 1,
        total: SumOverRanks = one_rank,
    ) -> SplitRows:  # fmt: skip
        """All rows of a split, counted by the ranks together."""
        return cls(table, split, schema, table.count(split, rank, ranks, total))

    def kept(self, keep: Keep, rank: int, ranks: int, total: SumOverRanks) -> tuple[SplitRows, int]:
        """Some of the rows, and how many negatives are among them; each rank looks at a part of the groups."""
        firsts = [int(end) - count for end, count in zip(np.cumsum(self.counts), self.counts, strict=True)]
        found = np.zeros((2, len(self.counts)))
        for group in range(rank, len(self.counts), ranks):
            labels = self._labels(group)
            kept = labels[keep(labels, firsts[group])]
            found[:, group] = len(kept), (kept == 0).sum()
        counts, negatives = total(found)
        return replace(self, counts=[int(n) for n in counts], firsts=firsts, keep=keep), int(negatives.sum())

    def half_of(self, half: int, rank: int, ranks: int, total: SumOverRanks) -> SplitRows:
        """The rows of half of the users; each rank counts a part of the groups."""
        counts = np.zeros(len(self.counts))
        for group in range(rank, len(self.counts), ranks):
            counts[group] = len(self._places_of(half, group))
        return replace(self, counts=[int(n) for n in total(counts)], half=half)

    def load(self, piece: Piece) -> Share:
        """The piece's rows, encoded."""
        return Share.concat([_encode_share(rows, self.schema) for rows in self._read(piece, self.schema.columns)])

    def outcomes(self, piece: Piece) -> Share:
        """The piece's labels, weights and users alone, with no input encoded."""
        nothing = FeatureSchema((), (), (), 1)
        return Share.concat([_encode_share(rows, nothing) for rows in self._read(piece, [])])

    def nothing(self) -> Share:
        """No rows."""
        return _encode_share(self.table.empty(self._needed(self.schema.columns)), self.schema)

    def profile_alone(self) -> SplitRows:
        """The same rows without their sequences."""
        return replace(self, schema=replace(self.schema, sequences=()))

    def _read(self, piece: Piece, columns: Sequence[str]) -> Iterator[pa.Table]:
        needed = self._needed(columns)
        yield self.table.empty(needed)
        wanted = piece.positions()
        if self.keep:
            labels = self._labels(piece.group)
            wanted = self.keep(labels, self.firsts[piece.group])[wanted]
        if self.half is not None:
            wanted = self._places_of(self.half, piece.group)[wanted]
        offset = 0
        for rows in self.table.read(self.split, piece.group, needed):
            first, last = np.searchsorted(wanted, [offset, offset + len(rows)])
            if first < last:
                yield _rows(rows, wanted[first:last] - offset)
            if last == len(wanted):
                return
            offset += len(rows)

    def _needed(self, columns: Sequence[str]) -> list[str]:
        return [*columns, *self.table.outcomes, WEIGHT, USER]

    def _labels(self, group: int) -> FloatArray:
        read = self.table.read(self.split, group, [LABEL])
        labels = np.concatenate([np.zeros(0), *(_floats(rows[LABEL]) for rows in read)])
        return labels if self.half is None else np.asarray(labels[self._places_of(self.half, group)], np.float64)

    def _places_of(self, half: int, group: int) -> npt.NDArray[np.intp]:
        """Where in the row group's rows of the split those of half of the users are."""
        read = self.table.read(self.split, group, [USER])
        buckets = np.concatenate([np.zeros(0, np.uint8), *(_buckets(rows[USER]) for rows in read)])
        return np.flatnonzero(buckets % 2 == half)


def _names(split: Splits) -> list[str]:
    return [split] if isinstance(split, str) else list(split)


def read_pieces(source: Source, pieces: Sequence[Piece]) -> Share:
    """The pieces' rows, one after the other."""
    return Share.concat([source.nothing(), *(source.load(piece) for piece in pieces)])


def row_bytes(schema: FeatureSchema) -> int:
    """The most that one encoded row takes: all inputs, ``max_length`` events, offset, labels, weight and bucket."""
    return 4 * len(schema.inputs) + 4 * schema.max_length * len(schema.sequences) + 8 * len(HEADS) + 25


def batch_of(share: Share, rows: npt.NDArray[np.intp]) -> tuple[Batch, Array, Array]:
    """Inputs, labels and weights float32 [k] of the rows; -1 is a row that weighs nothing.

    Among the inputs are the further heads' targets and weights, which only a network with such heads reads.
    """
    real = rows >= 0
    labels, weights = np.zeros((2, len(rows)), np.float32)
    labels[real], weights[real] = share.labels[rows[real]], share.weights[rows[real]]
    targets = np.zeros((len(rows), len(HEADS)), np.float32)
    targets[real] = share.targets[rows[real]]
    known = np.isfinite(targets)
    further = {TARGETS: np.where(known, targets, np.float32(0)), TARGET_WEIGHTS: known * weights[:, None]}
    return share.encoded.take(rows) | further, labels, weights


def _with(table: pa.Table, columns: dict[str, Any]) -> pa.Table:
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table


def _rows(table: pa.Table, numbers: npt.NDArray[np.intp]) -> pa.Table:
    first, count = int(numbers[0]), len(numbers)
    if int(numbers[-1]) - first + 1 == count:
        return table.slice(first, count)
    return table.take(pa.array(numbers))


def _encode_share(table: pa.Table, schema: FeatureSchema) -> Share:
    return Share(
        encoded=encode_ragged(table, schema),
        labels=_floats(table[LABEL]),
        weights=_floats(table[WEIGHT]),
        buckets=_buckets(table[USER]),
        targets=np.stack([_target(table, head) for head in HEADS], axis=1),
    )


def _target(table: pa.Table, head: Head) -> FloatArray:
    """What a head learns of each row [n]; NaN where it is not known."""
    if head.label not in table.column_names:
        return np.full(len(table), np.nan)
    label = _floats(table[head.label])
    if head.kind == "chance":
        return label
    return np.log(label, out=np.full(len(label), np.nan), where=label > 0)


def _buckets(users: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    values = users.cast(pa.string()).to_numpy().astype(object)
    return (stable_hash(values, BUCKETS + 1) - 1).astype(np.uint8)


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    return np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
