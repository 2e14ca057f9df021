"""The contracts of ``user_days`` and ``profiles``; their feature columns come from the declarations."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from intent_spark.config.features import INTERVAL_STATISTICS, FeaturesConfig, WindowedFeature
from intent_spark.lakehouse.contract import Column, TableContract
from intent_spark.profiles.partials import all_partials

LAST_EVENT = (
    "struct<event_time:timestamp,event_id:string,event_type:string,category:string,item_id:string,price:bigint>"
)
INTEGER_AGGREGATES = ("count", "sum", "min", "max", "active_days")


def user_days_contract(features: FeaturesConfig) -> TableContract:
    """One row is one user on one day with events."""
    partials = [Column(p.name, p.type, p.meaning) for p in all_partials(features)]
    return TableContract(
        name="user_days",
        row="one user on one day with events: mergeable partials",
        written_by="build_profiles",
        keys=("user_id", "event_date"),
        partition_by=("event_date",),
        columns=(
            Column("event_date", "date", "the day in the shop's time zone", nullable=False),
            Column("user_id", "string", "the user", nullable=False),
            *partials,
            Column(
                "category_weights",
                "array<struct<category:string,weight:bigint>>",
                "the day's categories, weighted",
            ),
            Column("last_events", f"array<{LAST_EVENT}>", "the day's last events, newest first"),
        ),
    )


def profiles_contract(features: FeaturesConfig) -> TableContract:
    """One row is one user at one as_of."""
    return TableContract(
        name="profiles",
        row="one user at one as_of, made of events of the days before it",
        written_by="build_profiles",
        keys=("user_id", "as_of"),
        partition_by=("as_of",),
        columns=(
            Column("as_of", "date", "the snapshot's day: its first instant bounds what is known", nullable=False),
            Column("user_id", "string", "the user", nullable=False),
            Column("definition_hash", "string", "hash of the features' declarations", nullable=False),
            *feature_columns(features),
        ),
    )


def feature_columns(features: FeaturesConfig) -> list[Column]:
    """All features of a profile, in the order of their declaration."""
    windowed = [
        _windowed(feature, feature.column(window)) for feature in features.windowed for window in feature.windows
    ]
    intervals = [
        Column(
            f"{i.name}_{statistic}",
            "double",
            f"{statistic} gap between days with {', '.join(i.event_types)}",
            "days",
            role="numeric",
        )
        for i in features.intervals
        for statistic in INTERVAL_STATISTICS
    ]
    derived = [Column(d.name, "double", d.description, d.unit, role="numeric") for d in features.derived]
    user = [Column(u.name, _user_type(u.role), u.description, u.unit, role=u.role) for u in features.user]
    preferred = [
        Column(f"top_category_{n}", "string", f"category met most, place {n}", role="categorical")
        for n in range(1, features.preferred_categories.count + 1)
    ]
    return [*windowed, *intervals, *derived, *user, *preferred, *_sequence_columns()]


def _user_type(role: str) -> str:
    return "double" if role == "numeric" else "string"


def _windowed(feature: WindowedFeature, name: str) -> Column:
    kind = "bigint" if feature.aggregate in INTEGER_AGGREGATES else "double"
    return Column(name, kind, feature.description, feature.unit, role="numeric")


def _sequence_columns() -> list[Column]:
    oldest = "of the last events, oldest first"
    return [
        Column("seq_event_type", "array<string>", f"types {oldest}", role="sequence"),
        Column("seq_category", "array<string>", f"categories {oldest}", role="sequence"),
        Column("seq_item", "array<string>", f"items {oldest}", role="sequence"),
        Column("seq_price_band", "array<int>", f"binary digits of the prices {oldest}", role="sequence"),
        Column(
            "seq_gap_seconds",
            "array<bigint>",
            "time from each event to the next, or to as_of",
            "s",
            role="sequence",
        ),
    ]


PROSE = ("description", "owner", "unit")


def definition_hash(features: FeaturesConfig) -> str:
    """Changes when a declaration means something else; not with descriptions, units or owners."""
    text = json.dumps(_without_prose(features.model_dump(mode="json")), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _without_prose(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_without_prose(item) for item in tree]
    if isinstance(tree, dict):
        return {key: _without_prose(value) for key, value in tree.items() if key not in PROSE}
    return tree


def partials_hash(features: FeaturesConfig) -> str:
    """Changes when what ``user_days`` must hold does."""
    parts = [(p.name, *p.definition) for p in all_partials(features)]
    extra = [features.preferred_categories.weights, features.sequence.length]
    return hashlib.sha256(json.dumps([parts, extra], sort_keys=True).encode()).hexdigest()[:16]
