"""A rank's rows in bounded memory: held where they fit, else read window by window while the last one is used.

What is read is decided by :mod:`intent_spark.training.windows` alone. Reader threads only change when it is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from intent_spark.config.errors import UntrainableError
from intent_spark.config.model import ModelConfig
from intent_spark.config.training import FeedSettings
from intent_spark.models.encode import Array, Batch
from intent_spark.models.logistic import FloatArray
from intent_spark.training.balance import class_weights, kept_rows
from intent_spark.training.collective import Collective
from intent_spark.training.feed import TARGET_WEIGHTS, Scorer, Share, Source, batch_of, row_bytes
from intent_spark.training.windows import (
    Past,
    Piece,
    Shuffle,
    Window,
    all_pieces,
    left_of_epoch,
    parts_of,
    rows_of,
    sample_of,
    share_of,
    steps_of,
    windows_of,
)

FedBatch = tuple[Batch, Array, Array]


class RankRows:
    """This rank's share of a split. At most ``capacity`` rows are in memory at a time."""

    def __init__(self, source: Source, pieces: Sequence[Piece], capacity: int, readers: int) -> None:
        """Read nothing yet."""
        self.source, self.pieces, self.capacity, self.readers = source, tuple(pieces), capacity, readers
        self.rows, self.total = rows_of(pieces), sum(source.counts)
        self._held: Share | None = None

    @property
    def whole(self) -> bool:
        """Whether all rows fit into memory."""
        return self.rows <= self.capacity

    def held(self) -> Share:
        """All rows, where they fit, else as many, from every row group in proportion; read once."""
        if self._held is None:
            wanted = self.pieces if self.whole else sample_of(self.pieces, self.capacity)
            self._held = self.load(wanted)
        return self._held

    def release(self) -> None:
        """Give up a sample's memory; rows that all fit stay."""
        if not self.whole:
            self._held = None

    def load(self, pieces: Sequence[Piece]) -> Share:
        """The pieces' rows, in their order."""
        return next(self.ahead([pieces]))

    def ahead(self, windows: Iterable[Sequence[Piece]]) -> Iterator[Share]:
        """Each window's rows; the next window is read by threads while the caller has one."""
        pool = ThreadPoolExecutor(self.readers, thread_name_prefix="feed")
        try:
            reading: list[Future[Share]] | None = None
            for pieces in windows:
                share = self._joined(reading) if reading is not None else None
                reading = [pool.submit(self.source.load, piece) for piece in pieces]
                if share is not None:
                    yield share
                    del share
            if reading is not None:
                yield self._joined(reading)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _joined(self, reading: list[Future[Share]]) -> Share:
        parts = [self.source.nothing()]
        while reading:
            parts.append(reading.pop(0).result())
        return Share.concat(parts)

    def score(self, scorer: Scorer) -> FloatArray:
        """The scorer's log odds float64 [n] or [n, heads] of all rows, a part of them at a time."""
        if self.whole:
            return self.held().score(scorer)
        parts = self.ahead(parts_of(self.pieces, max(1, self.capacity // 3)))
        return np.concatenate([share.score(scorer) for share in parts])

    @property
    def labels(self) -> npt.NDArray[np.float64]:
        """Labels [n]."""
        return self._outcomes.labels

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """Weights [n]."""
        return self._outcomes.weights

    @property
    def buckets(self) -> npt.NDArray[np.uint8]:
        """Hashes of the rows' users [n]."""
        return self._outcomes.buckets

    @property
    def targets(self) -> npt.NDArray[np.float64]:
        """What the further heads foretell [n, heads]; NaN: not known."""
        return self._outcomes.targets

    @cached_property
    def _outcomes(self) -> Share:
        return self.held() if self.whole else Share.concat([self.source.outcomes(piece) for piece in self.pieces])


def capacity_of(source: Source, settings: FeedSettings) -> int:
    """Rows of a split that one rank may hold, by what a row takes at most."""
    return max(1, settings.memory_mb * 2**20 // row_bytes(source.schema))


def rank_rows(source: Source, settings: FeedSettings, collective: Collective) -> RankRows:
    """This rank's rows of a split."""
    pieces = share_of(all_pieces(source.counts), collective.rank, collective.size)
    return RankRows(source, pieces, capacity_of(source, settings), settings.readers)


@dataclass(frozen=True)
class Place:
    """Where an epoch's feed begins: after ``step`` steps of these ranks, who came after those of ``past``."""

    epoch: int = 0
    step: int = 0
    past: Past = ()


class TrainFeed:
    """The training rows, epoch by epoch: every rank takes as many steps, each row comes once."""

    def __init__(self, rows: RankRows, config: ModelConfig, rank: int, ranks: int) -> None:
        """``rows`` may be of more row groups than there are ranks, or of fewer."""
        self._rows, self._config, self._rank, self._ranks = rows, config, rank, ranks
        self.total: int = rows.total

    def steps(self, place: Place) -> int:
        """Steps of each rank in what ``place.past`` has left of the epoch."""
        return steps_of(rows_of(self._left(place)), self._ranks, self._config.batch_size)

    def batches(self, place: Place) -> Iterator[FedBatch]:
        """The epoch's batches from ``place.step`` on; where rows end before others' steps do, rows without weight."""
        size = self._config.batch_size
        left = self.steps(place) - place.step
        for batch in self._full_batches(place):
            yield batch
            left -= 1
        nothing = batch_of(self._rows.source.nothing(), np.full(size, -1))
        for _ in range(left):
            yield nothing

    def _full_batches(self, place: Place) -> Iterator[FedBatch]:
        """This rank's rows in batches, of which the last one may be padded; a batch may span windows."""
        size, skipped = self._config.batch_size, place.step * self._config.batch_size
        rest: Share | None = None
        for share, order in self._windows(place, skipped):
            at = 0
            if rest is not None:
                at = size - rest.rows
                rest = Share.concat([rest, share.select(order[:at])])
                if rest.rows < size:
                    continue
                yield self._weighted(rest, np.arange(size))
            while at + size <= len(order):
                yield self._weighted(share, order[at : at + size])
                at += size
            rest = share.select(order[at:]) if at < len(order) else None
            del share
        if rest is not None:
            yield self._weighted(rest, np.pad(np.arange(rest.rows), (0, size - rest.rows), constant_values=-1))

    def _windows(self, place: Place, skipped: int) -> Iterator[tuple[Share, npt.NDArray[np.intp]]]:
        """Windows in memory with the order of their rows, without the first ``skipped`` rows of the epoch."""
        windows = self._plan(place)
        while windows and skipped >= windows[0].rows:
            skipped -= windows.pop(0).rows
        if not place.past and self._rows.whole:
            loaded: Iterator[Share] = iter([self._rows.held()] if windows else [])
        else:
            loaded = self._rows.ahead(window.pieces for window in windows)
        for window, share in zip(windows, loaded, strict=True):
            yield share, window.order()[skipped:]
            del share
            skipped = 0

    def _plan(self, place: Place) -> list[Window]:
        share = share_of(self._left(place), self._rank, self._ranks)
        return windows_of(share, self._rows.capacity, self._shuffle(place))

    def _left(self, place: Place) -> list[Piece]:
        rows = self._rows
        return left_of_epoch(
            rows.source.counts, place.past, rows.capacity, self._config.batch_size, self._shuffle(place)
        )

    def _shuffle(self, place: Place) -> Shuffle:
        return Shuffle(self._config.seed, place.epoch, self._rank, len(place.past))

    def _weighted(self, share: Share, rows: npt.NDArray[np.intp]) -> FedBatch:
        inputs, labels, weights = batch_of(share, rows)
        # Of those who did not buy only a share may be here, whether they came back or not.
        inputs[TARGET_WEIGHTS] /= np.where(labels > 0, 1.0, self._config.negative_rate).astype(np.float32)[:, None]
        return inputs, labels, weights * class_weights(labels, self._config).astype(np.float32)


def train_feed(rows: RankRows, config: ModelConfig, settings: FeedSettings, collective: Collective) -> TrainFeed:
    """The feed of this rank's rows, without the negatives that ``negative_rate`` leaves out.

    Raises:
        UntrainableError: no negative is left to train on.
    """
    if config.negative_rate < 1:
        place = collective.rank, collective.size, collective.sum
        fewer, negatives = rows.source.kept(lambda labels, first: kept_rows(labels, first, config), *place)
        if not negatives:
            raise UntrainableError(
                f"No negative of the {rows.total} training examples is kept: raise model.negative_rate from "
                f"{config.negative_rate}."
            )
        rows = rank_rows(fewer, settings, collective)
    return TrainFeed(rows, config, collective.rank, collective.size)
