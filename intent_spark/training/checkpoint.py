"""A network's training at one instant, kept on the shared store so that a killed one goes on where it was.

Rank 0 writes, by a temporary name and one rename; every rank reads the one that rank 0 chooses. A file that cannot be
read is passed over for the one before it. Nothing is ever unpickled.
"""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from intent_spark.config.log import LOGGER
from intent_spark.config.training import CheckpointSettings
from intent_spark.models.directory import Weights
from intent_spark.training.collective import Collective
from intent_spark.training.stream import Place

Arrays = list[npt.NDArray[Any]]
CHECKPOINTS = "checkpoints"  # their folder in a training's own
_TOLD, _VARIABLE, _BEST = "told", "variable:", "best:"


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that the rest of a training depends on.

    ``place`` is of ``ranks`` ranks; ``variables`` are the network's and the optimizer's, dropout's random state among
    them; ``loss`` and ``weight`` are sums over the epoch so far; ``updates`` counts those of the weights.
    """

    place: Place
    ranks: int
    updates: int
    loss: float
    weight: float
    epochs: list[dict[str, Any]]
    best_epoch: int
    best_loss: float
    best: Weights
    variables: Arrays

    def to_bytes(self) -> bytes:
        """One ``npz`` archive."""
        told = {
            "place": [self.place.epoch, self.place.step, self.place.past],
            **{name: getattr(self, name) for name in ("ranks", "updates", "loss", "weight")},
            **{name: getattr(self, name) for name in ("epochs", "best_epoch", "best_loss")},
        }
        arrays: dict[str, npt.NDArray[Any]] = {_TOLD: np.frombuffer(json.dumps(told).encode(), np.uint8)}
        arrays |= {f"{_VARIABLE}{number:06}": values for number, values in enumerate(self.variables)}
        arrays |= {f"{_BEST}{path}": values for path, values in self.best.items()}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Snapshot:
        """The snapshot that :meth:`to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        told = json.loads(arrays[_TOLD].tobytes())
        epoch, step, past = told.pop("place")
        return cls(
            place=Place(epoch, step, tuple((ranks, steps) for ranks, steps in past)),
            best={name.removeprefix(_BEST): values for name, values in arrays.items() if name.startswith(_BEST)},
            variables=[arrays[name] for name in sorted(arrays) if name.startswith(_VARIABLE)],
            **told,
        )


class Keeper(Protocol):
    """Where a network's training is kept, and taken from."""

    def restore(self, name: str) -> Snapshot | None:
        """The last snapshot of the network; every rank gets the same one."""

    def offer(self, name: str, make: Callable[[], Snapshot], updates: int, epoch_ended: bool) -> None:
        """Keep a snapshot, if it is time to; called by every rank after each update and at each epoch's end."""


class NoKeeper:
    """Nothing is kept."""

    def restore(self, name: str) -> Snapshot | None:
        """Nothing."""
        return None

    def offer(self, name: str, make: Callable[[], Snapshot], updates: int, epoch_ended: bool) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Named:
    """A keeper's own place for one of several trainings of one network."""

    keeper: Keeper
    prefix: str

    def restore(self, name: str) -> Snapshot | None:
        """The last one kept under the prefix."""
        return self.keeper.restore(self.prefix + name)

    def offer(self, name: str, make: Callable[[], Snapshot], updates: int, epoch_ended: bool) -> None:
        """Keep it under the prefix."""
        self.keeper.offer(self.prefix + name, make, updates, epoch_ended)


class Checkpoints:
    """Snapshots as files ``<folder>/<network>/<updates>.npz``, of which the last few stay."""

    def __init__(self, folder: Path, settings: CheckpointSettings, collective: Collective) -> None:
        """``folder`` must be one for all ranks."""
        self._folder, self._settings, self._collective = folder, settings, collective
        self._saved_at = time.monotonic()
        self._saved_updates: dict[str, int] = {}

    def restore(self, name: str) -> Snapshot | None:
        """The newest readable snapshot, as rank 0 sees it."""
        chosen = newest(self._folder / name) if self._collective.rank == 0 else None
        own = -1.0 if chosen is None else float(chosen[0])
        number = int(self._collective.sum(np.array([own if self._collective.rank == 0 else 0.0]))[0])
        if number < 0:
            return None
        snapshot = chosen[1] if chosen else Snapshot.from_bytes(path_of(self._folder / name, number).read_bytes())
        self._saved_updates[name] = snapshot.updates
        if self._collective.rank == 0:
            place = snapshot.place
            LOGGER.info("step=train_intent.resume network=%s epoch=%d step_done=%d", name, place.epoch + 1, place.step)
        return snapshot

    def offer(self, name: str, make: Callable[[], Snapshot], updates: int, epoch_ended: bool) -> None:
        """Write one by rank 0 where steps or seconds have passed, and at an epoch's end."""
        if self._collective.rank != 0 or not self._settings.keep:
            return
        steps = self._settings.every_steps
        due = bool(steps) and updates - self._saved_updates.get(name, 0) >= steps
        if epoch_ended or due or time.monotonic() - self._saved_at >= self._settings.every_seconds:
            save(self._folder / name, make(), self._settings.keep)
            self._saved_at, self._saved_updates[name] = time.monotonic(), updates


def path_of(folder: Path, updates: int) -> Path:
    """The file of a snapshot."""
    return folder / f"{updates:012}.npz"


def save(folder: Path, snapshot: Snapshot, keep: int) -> None:
    """Write a snapshot in one rename, and delete all but the last ``keep``."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{snapshot.updates}-{os.getpid()}"
    with temporary.open("wb") as file:
        file.write(snapshot.to_bytes())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path_of(folder, snapshot.updates))
    for old in sorted(folder.glob("*.npz"))[:-keep]:
        old.unlink(missing_ok=True)


def newest(folder: Path) -> tuple[int, Snapshot] | None:
    """The newest snapshot that can be read, with its number."""
    for path in sorted(folder.glob("*.npz"), reverse=True):
        try:
            return int(path.stem), Snapshot.from_bytes(path.read_bytes())
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            LOGGER.warning("step=train_intent.resume skipped=%s reason=%s", path.name, type(error).__name__)
    return None
