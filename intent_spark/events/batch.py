"""A batch: the files of one ingestion, known by their contents, and the commits in which batches were decided."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime

from intent_spark.events.contract import EVENTS, INGEST_LEDGER
from intent_spark.events.raw import RawFile
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.lakehouse.turns import Commit, commits

FILES, REPLAY = "files", "replay"


@dataclass(frozen=True)
class Batch:
    """Files that were never ingested before. The id is their contents' hash, whatever they are called.

    ``since`` is the version of events at which they were found to be new.
    """

    source: str
    files: tuple[RawFile, ...]
    learned_at: datetime
    since: int = -1

    @property
    def batch_id(self) -> str:
        """The same for the same contents."""
        return hashlib.sha256(" ".join(sorted(file.digest for file in self.files)).encode()).hexdigest()[:16]

    @property
    def rows(self) -> int:
        """Data rows in the files."""
        return sum(file.rows for file in self.files)

    @property
    def digests(self) -> set[str]:
        """The contents of its files."""
        return {file.digest for file in self.files}

    def without(self, digests: set[str]) -> Batch:
        """The batch of the other files."""
        return replace(self, files=tuple(file for file in self.files if file.digest not in digests))


def known_digests(lakehouse: Lakehouse) -> dict[str, str]:
    """The batch of each file whose ingestion was completed, by the file's digest."""
    ledger = lakehouse.rows(INGEST_LEDGER.name, "batch_id", "files")
    return {file["digest"]: row["batch_id"] for row in ledger for file in row["files"] or []}


def decided_since(lakehouse: Lakehouse, version: int) -> list[Commit]:
    """The commits of events after a version in which a batch or a replay was decided, oldest first."""
    return [commit for commit in commits(lakehouse, EVENTS.name, version) if "batch" in commit.build.details]


def unfinished(lakehouse: Lakehouse) -> list[Commit]:
    """Commits whose events were appended but whose ledger row was never written, oldest first.

    What is left to do is all in the commit and in what was staged before it: neither files nor mapping are asked again.
    """
    found = decided_since(lakehouse, -1)
    done = {row["batch_id"] for row in lakehouse.rows(INGEST_LEDGER.name, "batch_id")} if found else set()
    return [commit for commit in found if commit.build.details["batch"] not in done]


def digests_of(commit: Commit) -> set[str]:
    """The contents of the files that a commit brought."""
    return {file["digest"] for file in commit.build.details["files"]}
