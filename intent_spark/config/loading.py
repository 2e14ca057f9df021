"""YAML files and ``--set`` options become typed settings; what is wrong becomes one sentence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from intent_spark.config.errors import UsageError
from intent_spark.config.settings import Settings
from intent_spark.config.source import SourceMapping

PACKAGE = Path(__file__).resolve().parent.parent
SECTION_FILES = {"features": "features.yaml", "model": "model.yaml", "simulation": "simulation.yaml"}
M = TypeVar("M", bound=BaseModel)


def conf_dir() -> Path:
    """The configuration folder: ``INTENT_SPARK_CONF``, else the checkout's ``conf``, else the installed one."""
    named = os.environ.get("INTENT_SPARK_CONF")
    if named:
        return Path(named)
    checkout = PACKAGE.parent / "conf"
    return checkout if checkout.is_dir() else PACKAGE / "conf"


def load_settings(environment: str = "local", overrides: Sequence[str] = (), conf: Path | None = None) -> Settings:
    """Read ``base.yaml``, the sections' files and ``env/<environment>.yaml``, then apply ``key=value`` overrides.

    Raises:
        UsageError: a file, key or value is wrong; the message names file, key, what was found and what is allowed.
    """
    folder = conf or conf_dir()
    tree = read_yaml(folder / "base.yaml")
    tree |= {section: read_yaml(folder / file) for section, file in SECTION_FILES.items()}
    tree["environment"] = read_yaml(_named_file(folder / "env", environment, "environment"))
    for override in overrides:
        _apply(tree, override)
    files = {section: str(folder / file) for section, file in SECTION_FILES.items()}
    files["environment"] = str(folder / "env" / f"{environment}.yaml")
    return _validated(Settings, tree, files, str(folder / "base.yaml"), overrides)


def load_source(name: str, file_format: str | None = None, conf: Path | None = None) -> SourceMapping:
    """Read the mapping ``sources/<name>.yaml``, for files of another format if one is given.

    Raises:
        UsageError: there is no such source, or its file is wrong.
    """
    path = _named_file((conf or conf_dir()) / "sources", name, "source")
    tree = read_yaml(path) | ({"format": file_format} if file_format else {})
    return _validated(SourceMapping, tree, {}, str(path), ())


class _RepeatedKey(yaml.YAMLError):
    """A key that a mapping has twice; YAML would keep the last and say nothing."""


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which every key is said once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse what is said twice."""
        keys: set[Any] = set()
        for name, _ in node.value:
            key = self.construct_object(name, deep=deep)
            if key in keys:
                raise _RepeatedKey(f"key '{key}' is said twice, again at line {name.start_mark.line + 1}")
            keys.add(key)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """One YAML file's mapping; a missing, unreadable or malformed file is a UsageError."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); restore it or set INTENT_SPARK_CONF.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        if isinstance(error, _RepeatedKey):
            raise UsageError(f"{path}: {error}; keep one.") from error
        line = f" at line {where.line + 1}" if where else ""
        raise UsageError(f"{path}: is not valid YAML{line}; mend it.") from error
    if not isinstance(tree, dict):
        raise UsageError(f"{path}: holds {type(tree).__name__} where keys and values are expected; mend it.")
    return tree


def _named_file(folder: Path, name: str, what: str) -> Path:
    path = folder / f"{name}.yaml"
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise UsageError(f"unknown {what} '{name}': {folder} has {', '.join(known) or 'none'}.")
    return path


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {override}: expected key=value, such as model.max_epochs=3.")
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        child = node.get(parent)
        if not isinstance(child, dict):
            raise UsageError(f"--set {override}: there is no section '{parent}'; known are {_sections(node)}.")
        node = child
    try:
        node[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {override}: the value is not valid YAML; quote it.") from error


def _sections(node: dict[str, Any]) -> str:
    return ", ".join(sorted(key for key, value in node.items() if isinstance(value, dict))) or "none"


def _validated(
    model: type[M], tree: dict[str, Any], files: dict[str, str], main_file: str, overrides: Sequence[str]
) -> M:
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        # A mistyped key is also a missing one; the key that was typed is the better news.
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        file = files.get(str(first["loc"][0]), main_file) if first["loc"] else main_file
        if any(override.split("=")[0] == key for override in overrides):
            file = "--set"
        raise UsageError(_sentence(file, key, dict(first), model)) from error


def _sentence(file: str, key: str, error: dict[str, Any], model: type[BaseModel]) -> str:
    if error["type"] == "extra_forbidden":
        allowed = _keys_beside(model, error["loc"])
        return f"{file}: unknown key '{key}'; allowed here: {', '.join(allowed)}."
    if error["type"] == "missing":
        return f"{file}: key '{key}' is missing; add it."
    found = str(error["input"])
    found = found if len(found) <= 60 else found[:57] + "..."
    rule = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{file}: key '{key}': found '{found}', but it {rule}."


def _keys_beside(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    current: Any = model
    for part in location[:-1]:
        if part not in getattr(current, "model_fields", {}):  # a list's index, a dictionary's key
            continue
        annotation = current.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        current = next((c for c in candidates if hasattr(c, "model_fields")), current)
    return sorted(current.model_fields) if hasattr(current, "model_fields") else []
