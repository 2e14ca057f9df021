"""Which rows a rank reads in an epoch, and in which order: plain functions of row counts, seed, epoch and rank.

The row groups' rows are one long line; each rank has its own contiguous share of it. An epoch goes through the share
window by window: row groups in a random order fill a window, whose rows are shuffled. A share that fits into memory is
one window. Nothing here depends on threads or time, so a place in an epoch is two numbers: epoch and step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
# (ranks, steps): an epoch that was begun by other ranks, and how far these got.
Past = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Slice:
    """Rows ``start`` (included) to ``stop`` (not) of a split within one row group."""

    group: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many rows."""
        return self.stop - self.start

    def part(self, start: int, stop: int) -> Slice:
        """Rows ``start`` to ``stop``, counted within the slice."""
        return Slice(self.group, self.start + start, self.start + stop)

    def positions(self) -> Rows:
        """Numbers of the rows within the row group."""
        return np.arange(self.start, self.stop)


@dataclass(frozen=True, eq=False)
class Scattered:
    """Rows of a split within one row group by their numbers, ascending."""

    group: int
    rows: Rows

    @property
    def size(self) -> int:
        """How many rows."""
        return len(self.rows)

    def part(self, start: int, stop: int) -> Scattered:
        """Rows ``start`` to ``stop``, counted within these."""
        return Scattered(self.group, self.rows[start:stop])

    def positions(self) -> Rows:
        """Numbers of the rows within the row group."""
        return self.rows


Piece = Slice | Scattered


@dataclass(frozen=True)
class Shuffle:
    """What decides an order; ``part`` counts how often the epoch was shared out anew."""

    seed: int
    epoch: int
    rank: int
    part: int = 0

    def generator(self, window: int | None = None) -> np.random.Generator:
        """The random numbers of one window, or of the only one."""
        numbers = [self.seed, self.epoch, self.rank]
        if window is None and not self.part:
            return np.random.default_rng(numbers)
        return np.random.default_rng([*numbers, self.part, 0 if window is None else window + 1])


@dataclass(frozen=True, eq=False)
class Window:
    """Pieces that are in memory together, and how their rows are shuffled; ``number`` is None for the only window."""

    pieces: tuple[Piece, ...]
    shuffle: Shuffle
    number: int | None = None

    @property
    def rows(self) -> int:
        """How many rows."""
        return rows_of(self.pieces)

    def order(self) -> Rows:
        """The rows' numbers within the window, shuffled."""
        return self.shuffle.generator(self.number).permutation(self.rows)


def rows_of(pieces: Sequence[Piece]) -> int:
    """Rows of all pieces."""
    return sum(piece.size for piece in pieces)


def all_pieces(counts: Sequence[int]) -> list[Piece]:
    """Every row, given the rows in each row group."""
    return [Slice(group, 0, rows) for group, rows in enumerate(counts) if rows]


def share_of(pieces: Sequence[Piece], rank: int, ranks: int) -> list[Piece]:
    """The contiguous share of one rank; shares differ by one row at most.

    Example: of ``[Slice(0, 0, 3), Slice(1, 0, 4)]`` rank 0 of 2 has ``[Slice(0, 0, 3)]``, rank 1 ``[Slice(1, 0, 4)]``.
    """
    total = rows_of(pieces)
    return _between(pieces, total * rank // ranks, total * (rank + 1) // ranks)


def sample_of(pieces: Sequence[Piece], rows: int) -> list[Piece]:
    """At most ``rows`` rows, from each piece in proportion; a piece's first ones, which are in no order that tells.

    Example: 15 rows of ``[Slice(0, 0, 10), Slice(1, 0, 20)]`` are ``[Slice(0, 0, 5), Slice(1, 0, 10)]``.
    """
    total = rows_of(pieces)
    kept = min(rows, total)
    reach = np.cumsum([piece.size for piece in pieces])
    taken = np.diff([0, *(kept * int(end) // max(total, 1) for end in reach)])
    return [piece.part(0, int(part)) for piece, part in zip(pieces, taken, strict=True) if part]


def windows_of(share: Sequence[Piece], capacity: int, shuffle: Shuffle) -> list[Window]:
    """The share as windows: one if it has at most ``capacity`` rows, else of a third of that.

    A third, for while one window is consumed the next one is read and put together.
    """
    if rows_of(share) <= capacity:
        return [Window(tuple(share), shuffle)] if share else []
    order = shuffle.generator(-1).permutation(len(share))
    parts = parts_of([share[place] for place in order], max(1, capacity // 3))
    return [Window(tuple(pieces), shuffle, number) for number, pieces in enumerate(parts)]


def parts_of(pieces: Sequence[Piece], rows: int) -> Iterator[list[Piece]]:
    """The pieces in their order, about ``rows`` rows at a time and never more: whole ones where they fit."""
    part: list[Piece] = []
    for piece in pieces:
        if part and rows_of(part) + piece.size > rows:
            yield part
            part = []
        for start in range(0, max(piece.size - rows, 0), rows):
            yield [piece.part(start, start + rows)]
        part.append(piece.part((piece.size - 1) // rows * rows, piece.size))
    if part:
        yield part


def rest_of(windows: Sequence[Window], rows: int) -> list[Piece]:
    """What is left of a share after the first ``rows`` rows of its order."""
    left: list[Piece] = []
    for window in windows:
        if rows <= 0:
            left += window.pieces
        elif rows < window.rows:
            left += _picked(window.pieces, np.sort(window.order()[rows:]))
        rows -= window.rows
    return left


def left_of_epoch(counts: Sequence[int], past: Past, capacity: int, batch_size: int, shuffle: Shuffle) -> list[Piece]:
    """What all ranks together have still to read of an epoch that other numbers of ranks began."""
    pieces = all_pieces(counts)
    for part, (ranks, steps) in enumerate(past):
        left: list[Piece] = []
        for rank in range(ranks):
            of_rank = Shuffle(shuffle.seed, shuffle.epoch, rank, part)
            left += rest_of(windows_of(share_of(pieces, rank, ranks), capacity, of_rank), steps * batch_size)
        pieces = left
    return pieces


def steps_of(total_rows: int, ranks: int, batch_size: int) -> int:
    """Steps of the rank with the largest share: all ranks take as many."""
    largest = -(-total_rows // ranks)
    return -(-largest // batch_size)


def _between(pieces: Sequence[Piece], first: int, last: int) -> list[Piece]:
    found, offset = [], 0
    for piece in pieces:
        start, stop = max(first - offset, 0), min(last - offset, piece.size)
        if start < stop:
            found.append(piece.part(start, stop))
        offset += piece.size
    return found


def _picked(pieces: Sequence[Piece], rows: Rows) -> list[Piece]:
    """The rows of these ascending numbers within the pieces."""
    found: list[Piece] = []
    offset = 0
    for piece in pieces:
        first, last = np.searchsorted(rows, [offset, offset + piece.size])
        if first < last:
            found.append(Scattered(piece.group, piece.positions()[rows[first:last] - offset]))
        offset += piece.size
    return found
