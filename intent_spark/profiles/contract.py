"""The contracts of the profile tables; their feature columns come from the declarations."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from intent_spark.config.features import DerivedFeature, FeaturesConfig, SequenceSettings, UserFeature, WindowedFeature
from intent_spark.lakehouse.contract import Column, TableContract
from intent_spark.profiles.partials import all_partials
from intent_spark.profiles.sequence import counted_events, kept_types
from intent_spark.profiles.slots import Slots

INTEGER_AGGREGATES = ("count", "sum", "min", "max", "active_days", "distinct")


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
            Column("events", "bigint", "the day's events of any kind", "events"),
            *partials,
            *_last_events(features, "of the day's last events, newest first"),
        ),
    )


def states_contract(features: FeaturesConfig) -> TableContract:
    """One row is one user at one as_of, before the formulas: what the next snapshot rolls on from."""
    slots = [Column(s.name, s.type, f"{s.partial.meaning}; {s.fold}, {s.window}") for s in Slots(features)]
    return TableContract(
        name="profile_states",
        row="one user at one as_of: partials folded over windows, what features are computed from",
        written_by="build_profiles",
        keys=("user_id", "as_of"),
        partition_by=("as_of",),
        columns=(
            Column("as_of", "date", "the state's day: its first instant bounds what is known", nullable=False),
            Column("user_id", "string", "the user", nullable=False),
            *slots,
            *_last_events(features, "of the last events, newest first"),
        ),
    )


def _last_events(features: FeaturesConfig, meaning: str) -> list[Column]:
    return [Column(name, kind, meaning) for name, kind in kept_types(features.sequence).items()]


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
        _windowed(feature, name) for feature in features.windowed for window in feature.windows
        for name in feature.columns(window)
    ]  # fmt: skip
    derived = [Column(d.name, "double", d.description, d.unit, role="numeric") for d in features.derived]
    user = [Column(u.name, user_type(u.role), u.description, u.unit, role=u.role) for u in features.user]
    last = features.sequence.columns if features.sequence else []
    sequence = [Column(c.name, f"array<{c.type}>", c.description, c.unit, role="sequence") for c in last]
    return [*windowed, *derived, *user, *sequence]


def user_type(role: str) -> str:
    """Spark's type of an attribute of the user."""
    return "double" if role == "numeric" else "string"


def _windowed(feature: WindowedFeature, name: str) -> Column:
    kind, role = "double", "numeric"
    if feature.by is not None:
        kind, role = "map<string,bigint>", "breakdown"
    elif feature.aggregate in ("first", "last", "top"):
        kind, role = "string", "categorical"
    elif feature.aggregate in INTEGER_AGGREGATES:
        kind = "bigint"
    return Column(name, kind, feature.description, feature.unit, role=role)


PROSE = ("description", "owner", "unit")


def definition_hash(features: FeaturesConfig) -> str:
    """Changes when a declaration means something else; not with descriptions, units, owners or their order."""
    return _hash(sorted(feature_hashes(features).items()))


def _without_prose(tree: Any) -> Any:
    if isinstance(tree, list):
        return [_without_prose(item) for item in tree]
    if isinstance(tree, dict):
        return {key: _without_prose(value) for key, value in tree.items() if key not in PROSE}
    return tree


def kept_in_days(features: FeaturesConfig) -> dict[str, str]:
    """What ``user_days`` must hold: each column's definition, hashed with what is said of all events."""
    kept: dict[str, Any] = {p.name: p.definition for p in all_partials(features)}
    kept |= _kept_of_sequence(features.sequence) if features.sequence else {}
    return {name: _hash([definition, _rules(features)]) for name, definition in kept.items()}


def _kept_of_sequence(sequence: SequenceSettings) -> dict[str, Any]:
    values = {column.name: column.value for column in sequence.columns}
    which = [sequence.length, counted_events(sequence)]
    return {name: [*which, values.get(name), kind] for name, kind in kept_types(sequence).items()}


def sequence_hash(features: FeaturesConfig) -> str:
    """Changes when the last events do, or what is said of all events; not with what is prose."""
    return _hash([_without_prose(features.sequence.model_dump()) if features.sequence else None, _rules(features)])


def _rules(features: FeaturesConfig) -> list[Any]:
    """What is said of all events: how many of a day count, and what is taken for an item that is not known."""
    return [features.daily_cap, features.unknown_item]


def feature_hashes(features: FeaturesConfig) -> dict[str, str]:
    """A hash for each declared feature, by its name, without prose; declarations of one name have one together."""
    declared: list[WindowedFeature | DerivedFeature | UserFeature]
    declared = [*features.windowed, *features.derived, *features.user]
    told: dict[str, list[str]] = {}
    for one in declared:
        title = one.title if isinstance(one, WindowedFeature) else one.name
        told.setdefault(title, []).append(_hash(_without_prose(one.model_dump(mode="json"))))
    hashes = {title: _hash(sorted(each)) for title, each in told.items()}
    return hashes | {"sequence": sequence_hash(features), "daily_cap, unknown_item": _hash(_rules(features))}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
