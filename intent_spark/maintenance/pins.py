"""What training sets pin: the versions of tables that registered models and the newest training set were made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.models.directory import load_manifest
from intent_spark.models.registry import model_versions

EXAMPLES = "examples"


@dataclass(frozen=True)
class Pin:
    """A version of a table that must stay readable, and for whom."""

    table: str
    version: int
    holder: str


def pins(lakehouse: Lakehouse) -> list[Pin]:
    """All pins: of each model that lies in the warehouse, and of the training set that the next would be made of."""
    models = Path(lakehouse.path("models"))
    found = [pin for name in model_versions(models) for pin in of_model(name, load_manifest(models / name))]
    if lakehouse.exists(EXAMPLES):
        for version, build in lakehouse.builds(EXAMPLES)[:1]:
            found += _pins("the newest training set", {EXAMPLES: version} | build.inputs)
    return found


def of_model(name: str, manifest: dict[str, Any]) -> list[Pin]:
    """What a model's manifest names: its training set, and the tables that this was made of."""
    versions = {EXAMPLES: manifest[EXAMPLES]["version"]} | manifest["lineage"]["table_versions"]
    return _pins(f"model {name}", versions)


def _pins(holder: str, versions: dict[str, int]) -> list[Pin]:
    return [Pin(table, int(version), holder) for table, version in sorted(versions.items())]


def on_table(found: Iterable[Pin], table: str) -> dict[int, str]:
    """The pinned versions of one table, each with its holders."""
    holders: dict[int, list[str]] = {}
    for pin in found:
        if pin.table == table:
            holders.setdefault(pin.version, []).append(pin.holder)
    return {version: ", ".join(sorted(names)) for version, names in sorted(holders.items())}
