"""Appends that come one after the other: a writer that read a table before another's append learns of it.

Delta lets any number of appends through at once. Who decides what to append by what the table holds needs more: the
table must not have been appended to since. All such appends carry one transaction id, Delta's ``txnAppId``, and count
up its version. Delta keeps the version in the table, fails one of two commits that raise it at the same moment, and
passes over one that does not raise it: a compare-and-swap without a lock that somebody could leave behind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from deltalake import DeltaTable as StoredTable
from pyspark.sql import DataFrame

from intent_spark.lakehouse.conflicts import CONFLICTS
from intent_spark.lakehouse.contract import TableContract
from intent_spark.lakehouse.lakehouse import Build, Lakehouse


@dataclass(frozen=True)
class Turn:
    """Where a table stood: its version, and how many appends in turn it had taken."""

    number: int
    version: int

    @property
    def is_before_all(self) -> bool:
        """Whether there was no table yet."""
        return self.version < 0


@dataclass(frozen=True)
class Commit:
    """A recorded commit of a table, and the rows that it wrote."""

    version: int
    build: Build
    rows: int


def current_turn(lakehouse: Lakehouse, name: str) -> Turn:
    """Where a table stands now; what is read of it afterwards is at least as new."""
    if not lakehouse.exists(name):
        return Turn(0, -1)
    stored = StoredTable(lakehouse.path(name))
    return Turn(stored.transaction_version(name) or 0, stored.version())


def append_in_turn(
    lakehouse: Lakehouse, frame: DataFrame, contract: TableContract, turn: Turn, build: Build
) -> Commit | None:
    """Append, unless another append in turn came after ``turn``: then nothing is written, and there is no commit."""
    mine = replace(build, details=build.details | {"turn": turn.number + 1})
    writer = contract.cast(frame).write.format("delta").mode("append").option("userMetadata", mine.to_json())
    writer = writer.option("txnAppId", contract.name).option("txnVersion", turn.number + 1)
    try:
        writer.save(lakehouse.path(contract.name))
    except CONFLICTS:
        return None
    # Delta does not say that it passed over a commit: whose is the one that took the turn?
    found = commits(lakehouse, contract.name, turn.version)
    return next((commit for commit in found if commit.build.to_json() == mine.to_json()), None)


def commits(lakehouse: Lakehouse, name: str, since: int = -1) -> list[Commit]:
    """The recorded commits of a table after a version, oldest first."""
    newest = lakehouse.version(name) if lakehouse.exists(name) else -1
    if newest <= since:
        return []
    # Of the log alone, without a Spark job: it is asked several times for each batch.
    history = StoredTable(lakehouse.path(name)).history(newest - since)
    if max(info["version"] for info in history) > newest:  # one more came meanwhile, and pushed the oldest out
        return commits(lakehouse, name, since)
    told = {info["version"]: info for info in history if info.get("userMetadata") and info["version"] > since}
    return [_commit(version, told[version]) for version in sorted(told)]


def _commit(version: int, info: dict[str, Any]) -> Commit:
    rows = (info.get("operationMetrics") or {}).get("numOutputRows") or 0
    return Commit(version, Build(**json.loads(info["userMetadata"])), int(rows))
