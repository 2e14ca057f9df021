"""The catalogue of features as one Markdown page, from the declarations alone."""

from __future__ import annotations

from intent_spark.config.features import FeaturesConfig, SequenceColumn, WindowedFeature, words
from intent_spark.profiles.contract import feature_columns
from intent_spark.profiles.sequence import counted_events

HEAD = """# Features

Written from `conf/features.yaml` by `make catalogue`. A profile holds {columns} features: {windowed} windowed ones
from {declared} declarations, {derived} derived from others, {user} attributes of the user{sequence}.
Every numeric and categorical feature and the sequence are read by the networks, the numeric and categorical
ones by trees, logistic regression and naive Bayes too; a breakdown (a map) is for analysis and audiences.
"""


def catalogue(features: FeaturesConfig) -> str:
    """The page: what each feature means, its windows, owner, and what it is made of."""
    columns = feature_columns(features)
    windowed = sum(len(f.columns(w)) for f in features.windowed for w in f.windows)
    sequence = f", and the last {features.sequence.length} events" if features.sequence else ""
    head = HEAD.format(
        columns=len(columns), windowed=windowed, declared=len(features.windowed), derived=len(features.derived),
        user=len(features.user), sequence=sequence,
    )  # fmt: skip
    return "\n".join([head, *_windowed(features), *_derived(features), *_user(features), *_sequence(features)])


def _windowed(features: FeaturesConfig) -> list[str]:
    lines = [
        "## From events over windows",
        "",
        "| features | made of | unit | owner | meaning |",
        "|---|---|---|---|---|",
    ]
    for feature in features.windowed:
        names = ", ".join(f"`{name}`" for window in feature.windows for name in feature.columns(window))
        lines.append(f"| {names} | {made_of(feature)} | {feature.unit} | {feature.owner} | {feature.description} |")
    return [*lines, ""]


def made_of(feature: WindowedFeature) -> str:
    """How a feature comes from events, in one phrase."""
    types = ", ".join(feature.event_types) or "all events"
    value = f" of `{feature.value}`" if feature.value else ""
    parts = [f"{feature.aggregate}{value}", f"over {types}"]
    parts += [f"where `{feature.filter}`"] if feature.filter else []
    parts += [f"by {feature.by}"] if feature.by else []
    parts += [f"half-life {feature.half_life_days:g} days"] if feature.half_life_days else []
    parts += [_capped(feature)] if feature.cap else []
    return " ".join(parts)


def _capped(feature: WindowedFeature) -> str:
    return f"at most {feature.cap} of a lifetime" if feature.is_keyed else f"exact up to {feature.cap}, a sketch above"


def _derived(features: FeaturesConfig) -> list[str]:
    known = {c.name for c in feature_columns(features)}
    lines = [
        "## From other features",
        "",
        "| feature | expression | reads | unit | owner | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for d in features.derived:
        reads = ", ".join(sorted(words(d.expression) & known))
        lines.append(f"| `{d.name}` | `{d.expression}` | {reads} | {d.unit} | {d.owner} | {d.description} |")
    return [*lines, ""]


def _user(features: FeaturesConfig) -> list[str]:
    lines = [
        "## The user as known at as_of",
        "",
        "| feature | expression | unit | owner | meaning |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| `{u.name}` | `{u.expression}` | {u.unit} | {u.owner} | {u.description} |" for u in features.user]
    return [*lines, ""]


def _sequence(features: FeaturesConfig) -> list[str]:
    if not features.sequence:
        return []
    lines = [f"## The last {features.sequence.length} events, over {features.sequence.window_days} days", ""]
    which = counted_events(features.sequence)
    lines += ["Oldest first; of all events." if which == "true" else f"Oldest first; of events where `{which}`.", ""]
    lines += ["| feature | made of | type | unit | owner | meaning |", "|---|---|---|---|---|---|"]
    lines += [
        f"| `{c.name}` | {made_of_events(c)} | {c.type} | {c.unit} | {c.owner} | {c.description} |"
        for c in features.sequence.columns
    ]
    return [*lines, ""]


def made_of_events(column: SequenceColumn) -> str:
    """How a column of the sequence comes from its events, in one phrase."""
    return f"`{column.value}` of each" if column.value else "time to the next"
