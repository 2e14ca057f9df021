"""Which of the trained models is live: ``<models_dir>/champion.json`` names its version."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from intent_spark.config.errors import UsageError
from intent_spark.models.directory import verify_model

CHAMPION = "champion.json"


def promote(models_dir: Path, model_version: str) -> Path:
    """Make a registered, unaltered model the live one, in one rename; returns its directory.

    Raises:
        UsageError: no such model is registered.
        ContractError: its files were altered.
    """
    model_dir = _registered(models_dir, model_version)
    verify_model(model_dir)
    temporary = models_dir / f".{CHAMPION}-{uuid.uuid4().hex}"
    temporary.write_text(json.dumps({"model_version": model_version}) + "\n", encoding="utf-8")
    temporary.replace(models_dir / CHAMPION)
    return model_dir


def champion(models_dir: Path) -> Path:
    """The live model's directory.

    Raises:
        UsageError: no model was promoted yet, or the promoted one is gone.
    """
    path = models_dir / CHAMPION
    if not path.is_file():
        raise UsageError(f"{models_dir} has no live model: run train_intent first.")
    return _registered(models_dir, json.loads(path.read_text(encoding="utf-8"))["model_version"])


def model_versions(models_dir: Path) -> list[str]:
    """Versions of all registered models, sorted."""
    return sorted(path.name for path in models_dir.glob("*") if path.is_dir() and not path.name.startswith("."))


def _registered(models_dir: Path, model_version: str) -> Path:
    known = model_versions(models_dir)
    if model_version not in known:
        raise UsageError(f"{models_dir} has no model {model_version}; it has {', '.join(known) or 'none'}.")
    return models_dir / model_version
