"""``describe_features``: the catalogue of features as a page, with what one snapshot holds of each."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from intent_spark.config.errors import UsageError
from intent_spark.config.features import (
    DerivedFeature,
    FeaturesConfig,
    SequenceColumn,
    UserFeature,
    WindowedFeature,
    words,
)
from intent_spark.config.log import step
from intent_spark.lakehouse.contract import Column
from intent_spark.lakehouse.job import MISSING, Job, JobContext, Plan, PlanItem, iso_day
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.lakehouse.shop import recorded_shop
from intent_spark.models.directory import TrainedModel, load_model
from intent_spark.models.registry import champion
from intent_spark.profiles.catalogue import made_of, made_of_events
from intent_spark.profiles.contract import feature_columns
from intent_spark.profiles.statistics import QUANTILES, RELATIVE_ERROR, histogram
from intent_spark.reports.feature_plots import short
from intent_spark.reports.features import Bar, FeatureCard, FeaturePage, write
from intent_spark.reports.table import format_cell

NOTHING = "none yet"
SHOWN_CHARACTERS = 120


class DescribeFeatures(Job):
    """Every declared feature: what it means, what it is made of, what reads it, how it is spread."""

    name: ClassVar[str] = "describe_features"
    description: ClassVar[str] = "Write a page of all features: lineage, distribution, a sample user's values."

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--as-of", type=iso_day, help="the snapshot shown (default: the newest that was measured)")
        parser.add_argument("--user", help="whose values are shown (default: any one, the same every time)")
        parser.add_argument("--report", help="folder of the page (default: report/ in the warehouse)")

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """The snapshot and the user; the page is written anew each time."""
        lakehouse = context.lakehouse
        for table in ("profiles", "profile_stats"):
            lakehouse.require(table, "build_profiles")
        measured = sorted(date.fromisoformat(day) for day in lakehouse.newest_builds("profile_stats"))
        as_of = options.as_of or measured[-1]
        if as_of not in measured:
            raise UsageError(f"table 'profile_stats' lacks {as_of}; run build_profiles --as-of {as_of} first.")
        user = _sample_user(lakehouse.read("profiles"), as_of, options.user)
        report = Path(options.report or lakehouse.path("report")).absolute()
        what = f"page of the features as of {as_of}, user {user['user_id']}"
        return Plan([PlanItem(what, MISSING)], {"as_of": as_of, "user": user, "report": report})

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Gather and write."""
        as_of, lakehouse = plan.inputs["as_of"], context.lakehouse
        with step("describe_features.page", as_of=as_of) as counts:
            page = _page(context, as_of, plan.inputs["user"])
            counts["features"], counts["path"] = page.features, write(page, plan.inputs["report"])
        inputs = {table: lakehouse.version(table) for table in ("profiles", "profile_stats")}
        return Outcome(f"{page.features} features described in {counts['path']}", page.users, page.features, inputs)


def _sample_user(profiles: DataFrame, as_of: date, wanted: str | None) -> Row:
    """The profile of the wanted user, else of the one with the smallest hash.

    Raises:
        UsageError: the user has no profile at the date.
    """
    there = profiles.where(F.col("as_of") == F.lit(as_of))
    if wanted is not None:
        there = there.where(F.col("user_id") == wanted)
    found = there.orderBy(F.xxhash64("user_id"), "user_id").first()
    if found is None:
        raise UsageError(f"user {wanted} has no profile as of {as_of}; name one of table 'profiles'.")
    return found


def _page(context: JobContext, as_of: date, user: Row) -> FeaturePage:
    lakehouse, features = context.lakehouse, context.settings.features
    rows = lakehouse.read("profile_stats").where(F.col("as_of") == F.lit(as_of)).drop("as_of").collect()
    stats = {row["feature"]: row for row in rows}
    shop, model = recorded_shop(lakehouse), _live_model(lakehouse.path("models"))
    told = _Told(features, stats, user.asDict(), model)
    sections = (
        ("From events over windows", told.windowed()),
        ("From other features", told.derived()),
        ("The user as known at the date", told.user()),
        ("The last events", told.sequence()),
    )
    return FeaturePage(
        shop=f"{shop.time_zone}, {shop.currency}",
        as_of=as_of,
        users=max((row["users"] for row in rows), default=0),
        sample_user=user["user_id"],
        model=model[0] if model else NOTHING,
        sections=tuple((title, tuple(cards)) for title, cards in sections if cards),
    )


def _stability(row: Row | None) -> tuple[tuple[str, float], ...]:
    if row is None:
        return ()
    told = (("snapshot before", row["stability_previous"]), ("training snapshots", row["stability_training"]))
    return tuple((against, index) for against, index in told if index is not None)


def _live_model(models: str) -> tuple[str, TrainedModel] | None:
    try:
        live = champion(Path(models))
    except UsageError:
        return None
    return live.name, load_model(live)


class _Told:
    """Cards of the declared features, from declarations, statistics, one profile and the live model."""

    def __init__(
        self, features: FeaturesConfig, stats: Mapping[str, Row], values: Mapping[str, Any],
        model: tuple[str, TrainedModel] | None,
    ) -> None:  # fmt: skip
        self._features, self._stats, self._values, self._model = features, stats, values, model
        self._columns = {column.name: column for column in feature_columns(features)}

    def windowed(self) -> list[FeatureCard]:
        """Features of events."""
        return [
            self._card(name, feature, feature.event_types or ["all events"], feature.aggregate, made_of(feature))
            for feature in self._features.windowed
            for window in feature.windows
            for name in feature.columns(window)
        ]

    def derived(self) -> list[FeatureCard]:
        """Features of features."""
        known = self._columns.keys()
        return [
            self._card(d.name, d, sorted(words(d.expression) & known), "derived", d.expression)
            for d in self._features.derived
        ]

    def user(self) -> list[FeatureCard]:
        """Attributes of the user."""
        return [self._card(u.name, u, ["users"], "attribute", u.expression) for u in self._features.user]

    def sequence(self) -> list[FeatureCard]:
        """The aligned arrays of the last events, told by their length."""
        sequence = self._features.sequence
        if sequence is None:
            return []
        types = sequence.event_types or ["all events"]
        return [self._card(c.name, c, types, "sequence", made_of_events(c)) for c in sequence.columns]

    def _card(
        self, name: str, declared: WindowedFeature | DerivedFeature | UserFeature | SequenceColumn,
        sources: list[str], kind: str, definition: str,
    ) -> FeatureCard:  # fmt: skip
        row, column = self._stats.get(name), self._columns[name]
        quantiles = row["quantiles"] if row else []
        bars = histogram(row["sketch"]) if row else []
        return FeatureCard(
            name=name,
            description=declared.description,
            kind=kind,
            unit=declared.unit,
            owner=declared.owner,
            definition=definition.replace("`", ""),
            made_of=tuple(sources),
            read_by=self._read_by(column),
            null_share=row["null_share"] if row else None,
            median=_about(quantiles[QUANTILES.index(0.5)]) if quantiles else "",
            stability=_stability(row),
            bars=tuple(Bar(label, share) for label, share in bars),
            value=_shown(self._values.get(name)),
        )

    def _read_by(self, column: Column) -> str:
        if self._model is None or column.name not in self._model[1].schema.columns:
            return ""
        return f"model {self._model[0]}"


def _shown(value: Any) -> str:
    text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else None
    text = ", ".join(str(v) for v in value) if isinstance(value, list) else text
    text = format_cell(value) if text is None else text or "empty"
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def _about(value: float) -> str:
    """A quantile for a person: what may be a whole number is taken for one."""
    nearest = round(value)
    return short(nearest if abs(value - nearest) <= RELATIVE_ERROR * abs(nearest) else value)
