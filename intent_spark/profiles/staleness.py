"""What of the profile tables is there, missing or stale, and why; told from the commits and the ledger."""

from __future__ import annotations

from datetime import date, timedelta

from intent_spark.config.features import FeaturesConfig
from intent_spark.lakehouse.job import MISSING, STALE, THERE, JobContext, PlanItem
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.lakehouse.shop import touched_within
from intent_spark.profiles.contract import definition_hash, feature_hashes, kept_in_days
from intent_spark.profiles.planner import ITEMS_CHANGED, changed_features, has_changed
from intent_spark.profiles.spans import BEGINNING
from intent_spark.profiles.tables import item_changes

PROFILES = "profiles"
LATE = "late events touched its days"
ONE_DAY = timedelta(days=1)


def day_items(context: JobContext, touched: dict[date, int], latest: date) -> dict[date, PlanItem]:
    """The days of ``user_days`` before ``latest``: stale where events came in since, items of the day changed, or
    where they lack a partial."""
    features, lakehouse = context.settings.features, context.lakehouse
    builds, needed = lakehouse.newest_builds("user_days"), kept_in_days(features)
    items = item_changes(lakehouse, features)
    found = {}
    for day, version in touched.items():
        if day < latest:
            build = builds.get(day.isoformat())
            found[day] = _day_item(f"user_days {day}", build, version, needed)
            if found[day].state == THERE and build and has_changed(items, build, "items", day + ONE_DAY):
                found[day] = PlanItem(found[day].what, STALE, ITEMS_CHANGED)
    return found


def _day_item(what: str, build: Build | None, needed_version: int, needed: dict[str, str]) -> PlanItem:
    if build is None:
        return PlanItem(what, MISSING)
    if build.inputs["events"] < needed_version:
        return PlanItem(what, STALE, LATE)
    kept = build.details.get("columns", {})
    lacking = {name: definition for name, definition in needed.items() if kept.get(name) != definition}
    if lacking:
        return PlanItem(what, STALE, f"lacks {changed_features({k: kept[k] for k in lacking if k in kept}, lacking)}")
    return PlanItem(what, THERE)


def snapshot_items(context: JobContext, touched: dict[date, int], wanted: list[date]) -> dict[date, PlanItem]:
    """The snapshots: stale where events of their days came in since, declarations differ or users or items changed."""
    features, lakehouse = context.settings.features, context.lakehouse
    builds = lakehouse.newest_builds(PROFILES)
    users = lakehouse.changed_days("users") if lakehouse.exists("users") else {}
    items = item_changes(lakehouse, features)
    found = {}
    for as_of in wanted:
        version, build = touched_within(touched, BEGINNING, as_of), builds.get(as_of.isoformat())
        item = _snapshot_item(f"profiles {as_of}", build, version, features)
        if (
            item.state == THERE
            and build
            and ((users and "users" not in build.inputs) or has_changed(users, build, "users", as_of))
        ):
            item = PlanItem(item.what, STALE, "the users have changed")
        if item.state == THERE and build and has_changed(items, build, "items", as_of):
            item = PlanItem(item.what, STALE, ITEMS_CHANGED)
        found[as_of] = item
    return found


def _snapshot_item(what: str, build: Build | None, needed_version: int, features: FeaturesConfig) -> PlanItem:
    if build is None:
        return PlanItem(what, MISSING)
    if build.inputs["events"] < needed_version:
        return PlanItem(what, STALE, LATE)
    if build.definition != definition_hash(features):
        told = changed_features(build.details.get("features", {}), feature_hashes(features))
        return PlanItem(what, STALE, f"built under another definition: {told}")
    return PlanItem(what, THERE)


def statistics_items(context: JobContext, dates: list[date]) -> dict[date, PlanItem]:
    """The statistics of snapshots that are there: missing where a run ended between the two, or of another build."""
    builds = context.lakehouse.newest_builds("profile_stats")
    profiles = context.lakehouse.newest_builds(PROFILES)
    items = {}
    for as_of in dates:
        key, what = as_of.isoformat(), f"profile_stats {as_of}"
        found, measured = builds.get(key), profiles[key]
        is_of_it = found and (found.inputs, found.definition) == (measured.inputs, measured.definition)
        items[as_of] = PlanItem(what, THERE if is_of_it else MISSING)
    return items
