"""A rank whose fellows may die or join while it trains. Imports TensorFlow: import it late.

When the workers change, each of them goes back to its last commit and trains from there with those there are then: rows
are shared out anew, simple candidates are fitted again, and a network goes on within its epoch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from intent_spark.config.log import LOGGER
from intent_spark.training.checkpoint import CHECKPOINTS, Checkpoints, Keeper, Snapshot
from intent_spark.training.collective import Collective, HorovodRanks
from intent_spark.training.task import RankTask

TrainRank = Callable[[RankTask, Collective, Keeper], None]


class Commits:
    """Snapshots in each worker's memory, which rank 0 also writes to the shared store."""

    def __init__(self, state: Any, files: Keeper, every_steps: int) -> None:
        """``state`` is Horovod's; its ``snapshots`` are by network."""
        self._state, self._files, self._every = state, files, every_steps

    def restore(self, name: str) -> Snapshot | None:
        """The last commit, else what the shared store has of an earlier run."""
        found: Snapshot | None = self._state.snapshots.get(name)
        return found or self._files.restore(name)

    def offer(self, name: str, make: Callable[[], Snapshot], updates: int, epoch_ended: bool) -> None:
        """Commit every few updates. Raises Horovod's interrupt where workers are to join or to leave."""
        if epoch_ended or updates % self._every == 0:
            self._state.snapshots = {**self._state.snapshots, name: make()}
            self._files.offer(name, lambda: self._state.snapshots[name], updates, epoch_ended)
            self._state.commit()
        else:
            self._files.offer(name, make, updates, epoch_ended)


def run_elastic(task: RankTask, train: TrainRank) -> int:
    """Train with whatever workers there are; this worker's number at the end."""
    os.environ.update(task.horovod.environment())
    import horovod.tensorflow as hvd

    hvd.init()

    # Not TensorFlowState: networks come and go within one training, so what is committed are arrays, not variables.
    @hvd.elastic.run
    def run(state: Any) -> None:
        collective = HorovodRanks(task.horovod)
        if collective.rank == 0:
            LOGGER.info("step=train_intent.workers ranks=%d", collective.size)
        files = Checkpoints(Path(task.scratch) / CHECKPOINTS, task.checkpoints, collective)
        train(task, collective, Commits(state, files, task.horovod.commit_steps))

    run(hvd.elastic.ObjectState(hvd.broadcast_object, hvd.rank, snapshots={}))
    return int(hvd.rank())
