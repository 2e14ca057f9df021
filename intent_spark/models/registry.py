"""Which of the trained models is live, which one waits, and which were live before.

``<models_dir>/aliases.json`` is what every job reads: two aliases, as MLflow calls them, and the former champions,
the last one last. It changes in one rename. MLflow is told of each change by :mod:`intent_spark.training.tracking`.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from intent_spark.config.errors import UsageError
from intent_spark.models.directory import MANIFEST, verify_model

ALIASES = "aliases.json"


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


def promote(models_dir: Path, model_version: str) -> Path:
    """Make a registered, unaltered model the live one, in one rename; returns its directory.

    Raises:
        UsageError: no such model is registered.
        ContractError: its files were altered.
    """
    model_dir = _registered(models_dir, model_version)
    verify_model(model_dir)
    _write(models_dir, read_aliases(models_dir).promoted(model_version))
    return model_dir


def nominate(models_dir: Path, model_version: str) -> Path:
    """Make a registered, unaltered model the challenger; the same errors as :func:`promote`."""
    model_dir = _registered(models_dir, model_version)
    verify_model(model_dir)
    aliases = read_aliases(models_dir)
    _write(models_dir, Aliases(aliases.champion, model_version, aliases.former))
    return model_dir


def roll_back(models_dir: Path) -> Path:
    """Make the last former champion the live one again; the model that was live becomes the challenger.

    Raises:
        UsageError: there is no former champion, or it is gone.
        ContractError: its files were altered.
    """
    aliases = read_aliases(models_dir)
    if not aliases.former:
        raise UsageError(f"{models_dir} has no former live model to go back to.")
    *earlier, last = aliases.former
    model_dir = _registered(models_dir, last)
    verify_model(model_dir)
    _write(models_dir, Aliases(last, aliases.champion, earlier))
    return model_dir


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


def _write(models_dir: Path, aliases: Aliases) -> None:
    temporary = models_dir / f".{ALIASES}-{uuid.uuid4().hex}"
    temporary.write_text(json.dumps(asdict(aliases), indent=1) + "\n", encoding="utf-8")
    temporary.replace(models_dir / ALIASES)
