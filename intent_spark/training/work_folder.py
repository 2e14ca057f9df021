"""The folder that a training works in, beside the models: it outlives a kill, and the same training finds it again."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from intent_spark.config.errors import IntentSparkError, UsageError
from intent_spark.config.log import LOGGER
from intent_spark.config.model import ModelConfig
from intent_spark.models.schema import FeatureSchema
from intent_spark.training.checkpoint import CHECKPOINTS

PREFIX, LOCK = ".training-", "lock"
ABANDONED_DAYS = 14


def training_key(manifest: Mapping[str, Any], schema: FeatureSchema, config: ModelConfig) -> str:
    """A hash of all that decides a training: nothing of another one is ever gone on with."""
    told = json.dumps([manifest, schema.to_json(), config.model_dump()], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


@contextmanager
def work_folder(models_dir: Path, key: str) -> Iterator[Path]:
    """The training's folder, with no more in it than its checkpoints.

    It is removed at the end, but for a failure after which the same training could go on.

    Raises:
        UsageError: the same training is running.
    """
    folder = models_dir / f"{PREFIX}{key}"
    _forget_abandoned(models_dir, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"this training is running already, in {folder}: wait for its end.") from error
        _clear(folder)
        try:
            yield folder
        except IntentSparkError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except BaseException:
            _keep_or_remove(folder)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and path.name != CHECKPOINTS:
            shutil.rmtree(path)
        elif path.is_file() and path.name != LOCK:
            path.unlink()


def _keep_or_remove(folder: Path) -> None:
    if any((folder / CHECKPOINTS).glob("*/*.npz")):
        LOGGER.info('step=train_intent.ranks checkpoints=%s message="the same command goes on from there"', folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _forget_abandoned(models_dir: Path, own: Path) -> None:
    """Remove what nobody came back for and nobody works in."""
    for folder in models_dir.glob(f"{PREFIX}*"):
        if folder == own or time.time() - folder.stat().st_mtime <= ABANDONED_DAYS * 86400:
            continue
        with suppress(BlockingIOError), (folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
