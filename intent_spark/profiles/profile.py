"""State to profiles: every declared feature of a user from the slots it is made of, row by row."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from intent_spark.config.features import DerivedFeature, FeaturesConfig, UserFeature, Window, WindowedFeature
from intent_spark.lakehouse.texts import selected
from intent_spark.profiles import sequence
from intent_spark.profiles.contract import definition_hash, user_type
from intent_spark.profiles.slots import DECAY_UNIT, Slot, Slots
from intent_spark.profiles.state import first_instant
from intent_spark.profiles.user_days import USER

MICROS_PER_DAY = 86_400_000_000


def profiles_of(
    state: DataFrame, users: DataFrame | None, features: FeaturesConfig, as_of: date, time_zone: str
) -> DataFrame:
    """The profiles of all users of a state.

    Args:
        state: what ``build_state`` makes for ``as_of``.
        users: the users' attributes as they were at ``as_of``, or None where the shop has none.
        features: the declarations.
        as_of: the date of both.
        time_zone: the shop's.
    """
    end = first_instant(as_of, time_zone)
    micros = int(end.timestamp()) * 1_000_000
    slots = Slots(features)
    told = {
        name: text
        for feature in features.windowed
        for window in feature.windows
        for name, text in formulas(feature, window, slots.of(feature, window), micros).items()
    }
    last = sequence.told(features.sequence, micros) if features.sequence else {}
    described = with_user_features(selected(state, USER, told | last), users, features, as_of)
    for level in features.derived_in_levels():
        described = selected(described, ("*",), derived_texts(level))
    made_of = {"as_of": f"date'{as_of}'", "definition_hash": f"'{definition_hash(features)}'"}
    return selected(described, ("*",), made_of)


def derived_texts(level: Iterable[DerivedFeature]) -> dict[str, str]:
    """SQL over the other features for each derived one."""
    # On a line of its own: an expression may end in a comment.
    return {feature.name: f"cast({feature.expression}\n as double)" for feature in level}


def formulas(feature: WindowedFeature, window: Window, slots: list[Slot], end_micros: int) -> dict[str, str]:
    """SQL over the state for each column of a feature. Nothing to count is 0; nothing to measure is null."""
    names, columns = feature.columns(window), [f"`{slot.name}`" for slot in slots]
    first = columns[0]
    match feature.aggregate:
        case "mean":
            return {names[0]: f"try_divide({first}, {columns[1]})"}
        case "std":
            return {names[0]: _deviation(f"cast({columns[1]} as decimal(12,0))", first, columns[2], "decimal(19,0)")}
        case "first" | "last":
            return {names[0]: f"{first}.value"}
        case "days_since_last" | "days_since_first":
            return {names[0]: f"({end_micros}L - unix_micros({first})) / {MICROS_PER_DAY}"}
        case "decayed_sum":
            return {names[0]: f"{first} / {DECAY_UNIT}.0D"}
        case "distinct":
            return {names[0]: _distinct(first, slots[0].partial.cap)}
        case "top":
            return {name: f"get({_by_weight(first)}, {place}).key" for place, name in enumerate(names)}
        case "intervals":
            return dict(zip(names, _gap_statistics(first), strict=True))
        case _ if slots[0].most_keys:
            return {names[0]: f"map_filter({first}, (key, value) -> value != 0)"}
        case _:
            return {names[0]: first}


def _deviation(count: str, total: str, squares: str, wide: str) -> str:
    """Population standard deviation. n*sum(x²) - sum(x)² in integers: exact before the one root and division."""
    spread = f"cast({count} * {squares} - cast({total} as {wide}) * cast({total} as {wide}) as double)"
    return f"if({count} > 0, sqrt({spread}) / {count}, null)"


def _distinct(hashes: str, cap: int) -> str:
    """How many distinct values; above the cap estimated from the smallest hashes.

    cap / (the hash after the cap, as a share of all hashes): Bar-Yossef et al., Counting distinct elements in a data
    stream, 2002; the relative error is about 1 / sqrt(cap).
    """
    estimate = f"cast({cap} * {float(2**63)}D / element_at({hashes}, {cap + 1}) as bigint)"
    return f"if(size({hashes}) <= {cap}, cast(size({hashes}) as bigint), {estimate})"


def _by_weight(totals: str) -> str:
    """A map's entries, the largest value first; of equal ones the later key."""
    return f"sort_array(transform(map_entries({totals}), e -> struct(e.value as value, e.key as key)), false)"


def _gap_statistics(gaps: str) -> list[str]:
    """Mean, population standard deviation, shortest and longest of the gaps between marked days."""
    count, total = f"({gaps}.days - 1)", f"cast(datediff({gaps}.last, {gaps}.first) as bigint)"
    mean = f"if({count} > 0, {total} / {count}, null)"
    deviation = f"if({count} > 0, sqrt(cast({count} * {gaps}.squares - {total} * {total} as double)) / {count}, null)"
    return [mean, deviation, f"cast({gaps}.shortest as double)", f"cast({gaps}.longest as double)"]


def with_user_features(profile: DataFrame, users: DataFrame | None, features: FeaturesConfig, as_of: date) -> DataFrame:
    """Attributes of the user as they were at ``as_of``; for a user who is not known the declared defaults."""
    if users is None:
        return profile.withColumns({f.name: _default(f) for f in features.user})
    known = users.withColumn("as_of", F.lit(as_of))
    told = [F.expr(f.expression).cast(user_type(f.role)).alias(f.name) for f in features.user]
    joined = profile.join(known.select("user_id", F.lit(True).alias("is_known"), *told), on="user_id", how="left")
    given = {f.name: F.when(F.col("is_known"), F.col(f.name)).otherwise(_default(f)) for f in features.user}
    return joined.withColumns(given).drop("is_known")


def _default(feature: UserFeature) -> Column:
    return F.lit(feature.default).cast(user_type(feature.role))
