"""What a rebuilt snapshot moved: users, features and the largest change, told after late events came in."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from intent_spark.config.features import FeaturesConfig
from intent_spark.profiles.contract import feature_columns


@dataclass(frozen=True)
class Moved:
    """How two builds of one snapshot differ."""

    users: int
    features: int
    largest: str

    def counts(self) -> dict[str, int | str]:
        """The figures as a step logs them."""
        return {"users_moved": self.users, "features_moved": self.features, "largest_change": self.largest}


def moved(before: DataFrame, after: DataFrame, features: FeaturesConfig) -> Moved:
    """Compare two builds of the profiles of one date, user by user.

    The largest change is that of a number, relative to what was there before; a number that is not known is as 0.
    """
    columns = [c for c in feature_columns(features) if c.name in before.columns]
    old, new = _paired(before, [c.name for c in columns], "old"), _paired(after, [c.name for c in columns], "new")
    pairs = old.join(new, on="user_id", how="full")
    differs = {c.name: _differs(c.name, c.type) for c in columns}
    some = F.greatest(*[flag.cast("int") for flag in differs.values()], F.lit(0))
    numbers = [c.name for c in columns if c.role == "numeric"]
    counted = [F.sum(flag.cast("bigint")).alias(f"n/{name}") for name, flag in differs.items()]
    changes = [F.max(_change(name)).alias(f"c/{name}") for name in numbers]
    row = pairs.agg(F.sum(some).alias("users"), *counted, *changes).collect()[0].asDict()
    largest = max(((row[f"c/{name}"] or 0.0, name) for name in numbers), default=(0.0, ""))
    touched = sum(1 for name in differs if row[f"n/{name}"])
    return Moved(row["users"] or 0, touched, f"{largest[1]} by {largest[0]:.3g}" if largest[0] else "none")


def _paired(frame: DataFrame, names: list[str], side: str) -> DataFrame:
    return frame.select("user_id", *[F.col(f"`{name}`").alias(f"{side}/{name}") for name in names])


def _differs(name: str, kind: str) -> Column:
    old, new = (f"`{side}/{name}`" for side in ("old", "new"))
    if kind.startswith("map"):  # maps cannot be compared, their entries in the keys' order can
        old, new = (f"map_entries({column})" for column in (old, new))
    return F.expr(f"not ({old} <=> {new})")


def _change(name: str) -> Column:
    old, new = (f"coalesce(cast(`{side}/{name}` as double), 0)" for side in ("old", "new"))
    return F.expr(f"abs({new} - {old}) / greatest(abs({old}), 1)")
