"""A batch: the files of one ingestion, known by their contents, and what its commit says of it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pyspark.sql import functions as F

from intent_spark.events.contract import EVENTS, INGEST_LEDGER
from intent_spark.events.raw import RawFile
from intent_spark.lakehouse.lakehouse import Build, Lakehouse


@dataclass(frozen=True)
class Batch:
    """Files that were never ingested before. The id is their contents' hash, whatever they are called."""

    source: str
    format: str
    files: tuple[RawFile, ...]
    learned_at: datetime

    @property
    def batch_id(self) -> str:
        """The same for the same contents."""
        return hashlib.sha256(" ".join(sorted(file.digest for file in self.files)).encode()).hexdigest()[:16]

    @property
    def rows(self) -> int:
        """Data rows in the files."""
        return sum(file.rows for file in self.files)

    def build(self) -> Build:
        """All that is needed to do this batch again, kept in the commit that appends its events."""
        files = [asdict(file) for file in self.files]
        details = {"batch": self.batch_id, "source": self.source, "format": self.format, "files": files}
        return Build("ingest_events", details=details | {"learned_at": self.learned_at.isoformat()})


def batch_of(details: dict[str, Any]) -> Batch:
    """The batch that a commit's details describe."""
    files = tuple(RawFile(**file) for file in details["files"])
    return Batch(details["source"], details["format"], files, datetime.fromisoformat(details["learned_at"]))


def known_digests(lakehouse: Lakehouse) -> dict[str, str]:
    """The batch of each file whose ingestion was completed, by the file's digest."""
    if not lakehouse.exists(INGEST_LEDGER.name):
        return {}
    ledger = lakehouse.read(INGEST_LEDGER.name)
    rows = ledger.select("batch_id", F.explode("files.digest").alias("digest")).collect()
    return {row["digest"]: row["batch_id"] for row in rows}


def unfinished_batches(lakehouse: Lakehouse, done: set[str]) -> list[Batch]:
    """Batches whose events were appended but whose ledger row was never written, oldest first.

    They are finished as they were begun, with their own files: taken together with newer files they would be another
    batch, to which the rows already there would seem to be duplicates.
    """
    if not lakehouse.exists(EVENTS.name):
        return []
    found = {build.details["batch"]: batch_of(build.details) for _, build in reversed(lakehouse.builds(EVENTS.name))}
    return [batch for batch_id, batch in found.items() if batch_id not in done]
