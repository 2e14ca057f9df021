"""``profile_stats``: the statistics of each snapshot, beside the one before it and the live model's training set."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from intent_spark.config.errors import IntentSparkError
from intent_spark.lakehouse.contract import Column, TableContract
from intent_spark.lakehouse.lakehouse import Build, Lakehouse
from intent_spark.models.directory import load_manifest
from intent_spark.models.registry import champion
from intent_spark.profiles.contract import feature_columns
from intent_spark.profiles.statistics import added, population_stability, sketches, statistics
from intent_spark.profiles.tables import JOB, ProfileTables

PROFILE_STATS = TableContract(
    name="profile_stats",
    row="one feature of one snapshot",
    written_by=JOB,
    keys=("as_of", "feature"),
    partition_by=("as_of",),
    columns=(
        Column("as_of", "date", "the snapshot's day", nullable=False),
        Column("feature", "string", "the feature; of a sequence or a breakdown its size", nullable=False),
        Column("users", "bigint", "profiles in the snapshot", "users"),
        Column("null_share", "double", "share of users without a value"),
        Column("zero_share", "double", "share of users with 0"),
        Column("distinct", "bigint", "distinct values; numbers within two per cent count as one"),
        Column("quantiles", "array<double>", "at 0, 1, 5, 25, 50, 75, 95, 99 and 100 per cent, right to one per cent"),
        Column("top", "array<struct<value:string,users:bigint>>", "the most frequent values"),
        Column("stability_previous", "double", "population stability index against the snapshot before"),
        Column("stability_training", "double", "the same against the training snapshots of the live model"),
        Column("sketch", "map<string,bigint>", "counts by bin, from which all this was computed"),
    ),
)
MOVED = 0.25


def write_statistics(tables: ProfileTables, as_of: date) -> dict[str, Any]:
    """Measure one snapshot and replace its rows; gives counts for the log."""
    lakehouse, columns = tables.lakehouse, feature_columns(tables.features)
    profiles = lakehouse.read(tables.profiles.name).where(F.col("as_of") == F.lit(as_of))
    now = sketches(profiles, columns)
    before = _stored(lakehouse, _previous(lakehouse, as_of))
    trained = _stored(lakehouse, _training_dates(lakehouse))
    rows = [_row(as_of, name, sketch, before.get(name), trained.get(name)) for name, sketch in sorted(now.items())]
    # Made of what the profiles that were measured are made of, whatever this run reads.
    measured = lakehouse.newest_builds(tables.profiles.name)[as_of.isoformat()]
    build = Build(JOB, [as_of.isoformat()], measured.inputs, measured.definition)
    lakehouse.replace_rows(map(PROFILE_STATS.named, rows), PROFILE_STATS, "as_of", as_of, build)
    moved = sorted(((row[8], row[1]) for row in rows if row[8] is not None), reverse=True)
    largest = f"{moved[0][1]} {moved[0][0]:.3f}" if moved else "none"
    return {"features": len(rows), "moved": sum(psi > MOVED for psi, _ in moved), "largest_stability_index": largest}


def _row(as_of: date, name: str, now: dict[str, int], before: Any, trained: Any) -> tuple[Any, ...]:
    told = statistics(now)
    return (
        as_of, name, told.users, told.null_share, told.zero_share, told.distinct, told.quantiles,
        [{"value": value, "users": users} for value, users in told.top],
        population_stability(now, before) if before else None,
        population_stability(now, trained) if trained else None, now,
    )  # fmt: skip


def _previous(lakehouse: Lakehouse, as_of: date) -> list[date]:
    measured = map(date.fromisoformat, lakehouse.partition_sizes(PROFILE_STATS.name))
    return sorted(day for day in measured if day < as_of)[-1:]


def _training_dates(lakehouse: Lakehouse) -> list[date]:
    """The snapshots that the live model was trained on; none where there is no model."""
    try:
        splits = load_manifest(champion(Path(lakehouse.path("models"))))["lineage"]["splits"]
    except (IntentSparkError, KeyError):
        return []
    return [date.fromisoformat(day) for day, split in splits.items() if split == "train"]


def _stored(lakehouse: Lakehouse, dates: list[date]) -> dict[str, dict[str, int]]:
    """The sketches of some snapshots, added up by feature."""
    rows = lakehouse.rows(PROFILE_STATS.name, "feature", "sketch", where=[("as_of", "in", dates)]) if dates else []
    by_feature: dict[str, list[dict[str, int]]] = {}
    for row in rows:
        by_feature.setdefault(row["feature"], []).append(dict(row["sketch"]))
    return {feature: added(parts) for feature, parts in by_feature.items()}
