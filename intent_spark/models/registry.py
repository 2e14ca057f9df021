"""Which of the trained models is live, which one waits, and which were live before.

``<models_dir>/aliases.json`` is what every job reads: two aliases, as MLflow calls them, and the former champions,
the last one last. It changes in one rename. MLflow is told of each change by :mod:`intent_spark.training.tracking`.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.log import LOGGER
from intent_spark.models.directory import MANIFEST, verify_model

ALIASES, LOCK = "aliases.json", ".aliases.lock"
WHOEVER = "*"


class LiveModelError(ContractError):
    """Another model is live than the one that was compared with."""


@dataclass(frozen=True)
class Aliases:
    """Model versions: the live one, the one that waits to be, and the ones that were, oldest first."""

    champion: str | None = None
    challenger: str | None = None
    former: list[str] = field(default_factory=list)

    def promoted(self, model_version: str) -> Aliases:
        """With another champion; one that waited does so no longer if it is the one."""
        if self.champion == model_version:
            return self
        waits = None if self.challenger == model_version else self.challenger
        return Aliases(model_version, waits, [*self.former, self.champion] if self.champion else self.former)


def read_aliases(models_dir: Path) -> Aliases:
    """What the file says; nothing where there is none."""
    path = models_dir / ALIASES
    return Aliases(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else Aliases()


def promote(models_dir: Path, model_version: str, over: str | None = WHOEVER) -> Path:
    """Make a registered, unaltered model the live one, in one rename; returns its directory.

    Args:
        models_dir: the registry.
        model_version: the model.
        over: the live model that it was judged beside, None if there was none; by default whoever is live.

    Raises:
        UsageError: no such model is registered.
        LiveModelError: another one is live by now.
        ContractError: its files were altered.
    """
    model_dir = _registered(models_dir, model_version)
    verify_model(model_dir)
    with _changing(models_dir) as aliases:
        if aliases.champion not in (over, model_version) and over != WHOEVER:
            raise LiveModelError(
                f"model {model_version} was judged beside {over or 'none'}, but {aliases.champion or 'none'} is live "
                "by now: run promote_model to compare these two."
            )
        _write(models_dir, aliases.promoted(model_version))
    return model_dir


def nominate(models_dir: Path, model_version: str) -> Path:
    """Make a registered, unaltered model the challenger; the same errors as :func:`promote`."""
    model_dir = _registered(models_dir, model_version)
    verify_model(model_dir)
    with _changing(models_dir) as aliases:
        _write(models_dir, Aliases(aliases.champion, model_version, aliases.former))
    return model_dir


def roll_back(models_dir: Path) -> Path:
    """Make the last former champion that is unaltered the live one again.

    The model that was live becomes the challenger; if it is damaged itself, who waited goes on waiting.

    Raises:
        UsageError: there is no former champion.
        ContractError: the files of all of them are gone or were altered.
    """
    with _changing(models_dir) as aliases:
        earlier, damaged = _former(models_dir, aliases)
        for version, fault in damaged.items():
            LOGGER.warning("step=promote_model.rollback passed over %s: %s", version, fault)
        live = earlier.pop()
        is_sound = aliases.champion and not _fault(models_dir / aliases.champion)
        waits = aliases.champion if is_sound else aliases.challenger
        _write(models_dir, Aliases(live, waits, earlier))
    return models_dir / live


def former_champion(models_dir: Path) -> str:
    """The version that ``roll_back`` would make live; it raises the same."""
    earlier, _ = _former(models_dir, read_aliases(models_dir))
    return earlier[-1]


def _former(models_dir: Path, aliases: Aliases) -> tuple[list[str], dict[str, str]]:
    """The former champions up to the last that is unaltered, and what is wrong with each later one."""
    if not aliases.former:
        raise UsageError(f"{models_dir} has no former live model to go back to.")
    earlier, damaged = list(aliases.former), dict[str, str]()
    while (fault := _fault(models_dir / earlier[-1])) and len(earlier) > 1:
        damaged[earlier.pop()] = fault
    if fault:
        raise ContractError("; ".join([*damaged.values(), fault]))
    return earlier, damaged


def champion(models_dir: Path) -> Path:
    """The live model's directory.

    Raises:
        UsageError: no model was promoted yet, or the promoted one is gone.
    """
    version = read_aliases(models_dir).champion
    if version is None:
        raise UsageError(f"{models_dir} has no live model: run train_intent first.")
    return _registered(models_dir, version)


def challenger(models_dir: Path) -> Path | None:
    """The waiting model's directory, if one waits.

    Raises:
        UsageError: it is gone.
    """
    version = read_aliases(models_dir).challenger
    return _registered(models_dir, version) if version else None


def model_versions(models_dir: Path) -> list[str]:
    """Versions of all registered models, sorted."""
    return sorted(path.parent.name for path in models_dir.glob(f"*/{MANIFEST}") if path.parent.name[0] != ".")


def _registered(models_dir: Path, model_version: str) -> Path:
    known = model_versions(models_dir)
    if model_version not in known:
        raise UsageError(f"{models_dir} has no model {model_version}; it has {', '.join(known) or 'none'}.")
    return models_dir / model_version


def _fault(model_dir: Path) -> str:
    """What is wrong with a model's files; nothing where they are as they were written."""
    try:
        verify_model(model_dir)
    except ContractError as error:
        return str(error)
    return ""


@contextmanager
def _changing(models_dir: Path) -> Iterator[Aliases]:
    """The aliases, which nobody else changes meanwhile."""
    with (models_dir / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield read_aliases(models_dir)


def _write(models_dir: Path, aliases: Aliases) -> None:
    temporary = models_dir / f".{ALIASES}-{uuid.uuid4().hex}"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(asdict(aliases), indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(models_dir / ALIASES)
