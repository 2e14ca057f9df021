"""What a rank says to the others: sums, a broadcast, and gradients summed over ranks."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from intent_spark.config.training import HorovodSettings

FloatArray = npt.NDArray[np.float64]


class Collective(Protocol):
    """The ranks of one training. All ranks must call the methods in the same order."""

    @property
    def rank(self) -> int:
        """This rank's number, from 0."""

    @property
    def size(self) -> int:
        """How many ranks there are."""

    def sum(self, values: FloatArray) -> FloatArray:
        """Element-wise sum over ranks; every rank gets the same bits."""

    def broadcast(self, variables: list[Any]) -> None:
        """Give TensorFlow variables rank 0's values."""

    def sum_gradients(self, gradients: list[Any]) -> list[Any]:
        """Tensors and slices, summed over ranks, as they come in a traced function."""

    def sum_tensor(self, tensor: Any) -> Any:
        """A tensor summed over ranks in a traced function, in its full precision."""


class OneRank:
    """Training in one process, without Horovod."""

    rank = 0
    size = 1

    def sum(self, values: FloatArray) -> FloatArray:
        """The values themselves."""
        return values

    def broadcast(self, variables: list[Any]) -> None:
        """Nothing to do."""

    def sum_gradients(self, gradients: list[Any]) -> list[Any]:
        """The gradients themselves."""
        return gradients

    def sum_tensor(self, tensor: Any) -> Any:
        """The tensor itself."""
        return tensor


class HorovodRanks:
    """Training over Horovod (Gloo or NCCL)."""

    def __init__(self, settings: HorovodSettings) -> None:
        """Join the other ranks with these settings; blocks until all are there."""
        # Read by Horovod's own threads as it starts, however this process was started.
        os.environ.update(settings.environment())
        import horovod.tensorflow as hvd

        if not hvd.is_initialized():
            hvd.init()
        self._hvd = hvd
        self._compression = hvd.Compression.fp16 if settings.fp16 else hvd.Compression.none
        self.rank: int = hvd.rank()
        self.size: int = hvd.size()

    def sum(self, values: FloatArray) -> FloatArray:
        """Sum by one all-reduce in float64."""
        summed = self._hvd.allreduce(np.ascontiguousarray(values, np.float64), op=self._hvd.Sum)
        return np.asarray(summed, np.float64)

    def broadcast(self, variables: list[Any]) -> None:
        """Broadcast from rank 0."""
        self._hvd.broadcast_variables(variables, root_rank=0)

    def sum_gradients(self, gradients: list[Any]) -> list[Any]:
        """Summed, not averaged: the loss is divided by the weight of all ranks already.

        One all-reduce for each, which Horovod fuses, and starts while the others are still being computed. Slices
        are gathered: a table's row has as many of them as ranks touched it.
        """
        told = {"op": self._hvd.Sum, "compression": self._compression}
        return [self._hvd.allreduce(gradient, **told) for gradient in gradients]

    def sum_tensor(self, tensor: Any) -> Any:
        """One all-reduce."""
        return self._hvd.allreduce(tensor, op=self._hvd.Sum)
