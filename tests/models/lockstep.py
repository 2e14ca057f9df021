"""Two ranks in one process: each runs in a thread and waits for the other at every sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class ThreadRank:
    """One of some ranks that sum over threads."""

    def __init__(self, rank: int, values: list[Any], barrier: Barrier) -> None:
        self.rank, self.size = rank, len(values)
        self._values, self._barrier = values, barrier

    def sum(self, own: np.ndarray) -> np.ndarray:
        self._values[self.rank] = own
        self._barrier.wait(timeout=900)
        summed = np.sum(self._values, axis=0)
        self._barrier.wait(timeout=900)
        return summed


def in_lockstep(run: Callable[[Any, ThreadRank], T], parts: Sequence[Any]) -> list[T]:
    """``run(part, rank)`` of each part, all at once."""
    values: list[Any] = [None] * len(parts)
    barrier = Barrier(len(parts))
    ranks = [ThreadRank(number, values, barrier) for number in range(len(parts))]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(run, parts, ranks))
