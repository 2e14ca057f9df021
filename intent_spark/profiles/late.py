"""What a rebuilt snapshot moved: users, features and the largest change, told after late events came in."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame

from intent_spark.config.features import FeaturesConfig
from intent_spark.lakehouse.texts import selected
from intent_spark.profiles.contract import feature_columns
from intent_spark.profiles.user_days import USER


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
    differs = {c.name: f"cast({_differs(c.name, c.type)} as bigint)" for c in columns}
    numbers = [c.name for c in columns if c.role == "numeric"]
    sums = {"users": f"sum(greatest({', '.join([*differs.values(), '0L'])}))"}
    sums |= {f"n/{name}": f"sum({flag})" for name, flag in differs.items()}
    sums |= {f"c/{name}": f"max({_change(name)})" for name in numbers}
    row = selected(pairs, (), sums).collect()[0].asDict()
    largest = max(((row[f"c/{name}"] or 0.0, name) for name in numbers), default=(0.0, ""))
    touched = sum(1 for name in differs if row[f"n/{name}"])
    return Moved(row["users"] or 0, touched, f"{largest[1]} by {largest[0]:.3g}" if largest[0] else "none")


def _paired(frame: DataFrame, names: list[str], side: str) -> DataFrame:
    return selected(frame, USER, {f"{side}/{name}": f"`{name}`" for name in names})


def _differs(name: str, kind: str) -> str:
    old, new = (f"`{side}/{name}`" for side in ("old", "new"))
    if kind.startswith("map"):  # maps cannot be compared, their entries in the keys' order can
        old, new = (f"map_entries({column})" for column in (old, new))
    return f"not ({old} <=> {new})"


def _change(name: str) -> str:
    old, new = (f"coalesce(cast(`{side}/{name}` as double), 0)" for side in ("old", "new"))
    return f"abs({new} - {old}) / greatest(abs({old}), 1)"
