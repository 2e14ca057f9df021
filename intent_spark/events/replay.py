"""Refused rows run again under the mapping as it is now: what fits leaves the quarantine, the rest stays in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from intent_spark.config.loading import load_source
from intent_spark.config.log import LOGGER
from intent_spark.events.batch import REPLAY, unfinished
from intent_spark.events.contract import EVENTS, EVENTS_QUARANTINE
from intent_spark.events.decision import MOST_TURNS, Work, commit, decided, spread_candidates
from intent_spark.events.finish import Counts, finish, finish_all
from intent_spark.events.mapping import map_events
from intent_spark.events.parse import parse_refused
from intent_spark.events.quarantine import as_raw, refused_for, replay_outcome
from intent_spark.events.shop import check_shop
from intent_spark.lakehouse.job import JobContext
from intent_spark.lakehouse.turns import Commit, Turn, current_turn


@dataclass(frozen=True)
class Refused:
    """Rows of the quarantine that are to be run again: those of one source and format, refused for one reason."""

    source: str
    format: str
    reason: str
    rows: int


def find_refused(context: JobContext, reason: str, source: str | None) -> list[Refused]:
    """What there is to replay, by source and format."""
    if not context.lakehouse.exists(EVENTS_QUARANTINE.name):
        return []
    found = refused_for(context.lakehouse.read(EVENTS_QUARANTINE.name), reason, source)
    rows = found.groupBy("source", "format").count().orderBy("source", "format").collect()
    return [Refused(row["source"], row["format"], reason, row["count"]) for row in rows]


def known_reasons(context: JobContext) -> dict[str, int]:
    """The reasons in the quarantine and their rows."""
    if not context.lakehouse.exists(EVENTS_QUARANTINE.name):
        return {}
    groups = context.lakehouse.read(EVENTS_QUARANTINE.name).groupBy("reason").count().orderBy("reason").collect()
    return {row["reason"]: row["count"] for row in groups}


def replay(context: JobContext, refused: Refused) -> tuple[str, Counts] | None:
    """Run them again; gives the replay's id and counts, None where another replay has taken them meanwhile.

    Every attempt first finishes what others have decided, then reads the quarantine anew: no row is replayed twice.

    Raises:
        ContractError: the mapping does not fit the data, or the warehouse belongs to another shop.
    """
    for _ in range(MOST_TURNS):
        turn = current_turn(context.lakehouse, EVENTS.name)
        finish_all(context, unfinished(context.lakehouse))
        done, is_empty = _attempt(context, refused, turn)
        if done:
            return done.build.details["batch"], finish(context, done)
        if is_empty:
            return None
        LOGGER.info("step=ingest_events.overtaken source=%s reason=%s", refused.source, refused.reason)
    raise RuntimeError(f"replay of {refused.reason}: other ingestions came first {MOST_TURNS} times; run it again")


def _attempt(context: JobContext, refused: Refused, turn: Turn) -> tuple[Commit | None, bool]:
    """A commit, or none because another came first (False) or because nothing is left (True)."""
    mapping = load_source(refused.source, refused.format)
    check_shop(context.lakehouse, mapping.shop, refused.source)
    version = context.lakehouse.version(EVENTS_QUARANTINE.name)
    found = refused_for(context.lakehouse.read(EVENTS_QUARANTINE.name, version), refused.reason, refused.source)
    rows = found.where(F.col("format") == refused.format)
    count = rows.count()
    if not count:
        return None, True
    work = Work(
        _replay_id(refused, turn), refused.source, mapping, datetime.now(UTC), count, kind=REPLAY,
        replayed=refused.reason,
    )  # fmt: skip
    candidates = spread_candidates(_candidates(context, rows, work), count, context.settings.events)
    with decided(context, work, candidates, turn) as decision:
        return commit(context, work, decision, turn, replay_outcome(decision.marked)), False


def _replay_id(refused: Refused, turn: Turn) -> str:
    """No other decision has the turn that this one takes, if it takes it."""
    words = f"{REPLAY} {refused.source} {refused.format} {refused.reason} {turn.number}"
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _candidates(context: JobContext, rows: DataFrame, work: Work) -> DataFrame:
    layouts = [row[0] for row in rows.select("layout").distinct().collect()]
    parsed = parse_refused(as_raw(rows, work.mapping), layouts, work.mapping)
    return map_events(parsed, work.mapping, work.learned_at, context.settings.events)
