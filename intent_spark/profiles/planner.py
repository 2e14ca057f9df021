"""The planner: for each wanted snapshot the cheapest exact way to its state, from what the tables hold. No Spark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from statistics import median
from typing import Literal

from intent_spark.config.features import FeaturesConfig
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.lakehouse.shop import touched_within
from intent_spark.profiles.contract import sequence_hash
from intent_spark.profiles.slots import Slots
from intent_spark.profiles.spans import BEGINNING
from intent_spark.profiles.state import Base, Way, find_way

Strategy = Literal["auto", "roll", "merge", "direct"]
LAST_RUNS = 5


@dataclass(frozen=True)
class Size:
    """Rows and bytes, of a partition or of what a way reads."""

    rows: int = 0
    bytes: int = 0

    def __add__(self, other: Size) -> Size:
        """Both together."""
        return Size(self.rows + other.rows, self.bytes + other.bytes)


@dataclass
class Holdings:
    """What the tables hold, as far as planning asks."""

    touched: dict[date, int]
    """The version of ``events`` that last touched each of its days."""
    days: dict[date, Size]
    """``user_days`` by day; of a day yet to be built, its events."""
    states: dict[date, Size] = field(default_factory=dict)
    bases: dict[date, Base] = field(default_factory=dict)
    """States that later ones may be rolled from."""
    spoilt: dict[date, str] = field(default_factory=dict)
    """Why the other states may not."""


@dataclass(frozen=True)
class Snapshot:
    """How one state is to be made, what for, and what it is thought to cost."""

    way: Way
    strategy: str
    reads: Size
    why: str = ""
    seconds: float | None = None

    def describe(self) -> str:
        """The choice for a person: strategy, what it reads, what it may take."""
        took = "" if self.seconds is None else f", about {self.seconds:.1f} s"
        base = f" from {self.way.base.as_of}" if self.way.base else ""
        again = f", {len(self.way.merged)} slots merged" if self.way.base and self.way.merged else ""
        reason = f" ({self.why})" if self.why else ""
        return f"{self.strategy}{base}{again}{reason}: reads {self.reads.rows:,} rows, {_megabytes(self.reads)}{took}"


def _megabytes(size: Size) -> str:
    return f"{size.bytes / 1e6:,.1f} MB"


def judge_states(
    builds: Mapping[str, Build], features: FeaturesConfig, touched: dict[date, int]
) -> tuple[dict[date, Base], dict[date, str]]:
    """Which states may be rolled from, and why the others may not."""
    bases, spoilt = {}, {}
    for partition, build in builds.items():
        day = date.fromisoformat(partition)
        if build.details.get("sequence") != sequence_hash(features):
            spoilt[day] = "its last events were kept under another definition"
        elif build.inputs["events"] < touched_within(touched, BEGINNING, day):
            spoilt[day] = "late events touched its days"
        else:
            bases[day] = Base(day, build.details["slots"])
    return bases, spoilt


def plan_snapshots(
    wanted: Iterable[date], features: FeaturesConfig, holdings: Holdings, strategy: Strategy, rates: dict[str, float]
) -> list[Snapshot]:
    """A way for each date, oldest first; each may roll from the one before it."""
    slots, bases = Slots(features), dict(holdings.bases)
    names = {slot.definition: slot.name for slot in slots}
    expected = dict(holdings.states)
    snapshots = []
    for as_of in sorted(wanted):
        snapshot = _choose(slots, as_of, features, holdings, bases, expected, strategy)
        rate = rates.get(snapshot.strategy)
        seconds = None if rate is None else rate * snapshot.reads.rows
        snapshots.append(Snapshot(snapshot.way, snapshot.strategy, snapshot.reads, snapshot.why, seconds))
        bases[as_of] = Base(as_of, names)
        base = snapshot.way.base
        expected.setdefault(as_of, expected.get(base.as_of, Size()) if base else Size())
    return snapshots


def _choose(
    slots: Slots, as_of: date, features: FeaturesConfig, holdings: Holdings, bases: dict[date, Base],
    expected: dict[date, Size], strategy: Strategy,
) -> Snapshot:  # fmt: skip
    merged = find_way(slots, as_of, None)
    whole = _reads(merged, features, holdings, expected)
    if strategy in ("merge", "direct"):
        return Snapshot(merged, strategy, whole, "asked for")
    earlier = [day for day in bases if day <= as_of]
    if not earlier:
        return Snapshot(merged, "merge", whole, _why_no_base(as_of, holdings))
    way = find_way(slots, as_of, bases[max(earlier)])
    reads = _reads(way, features, holdings, expected)
    if strategy == "auto" and reads.rows > whole.rows and way.base and way.base.as_of < as_of:
        return Snapshot(merged, "merge", whole, f"cheaper than from {way.base.as_of}")
    same = way.base is not None and way.base.as_of == as_of
    return Snapshot(way, "extend" if same else "roll", reads)


def _why_no_base(as_of: date, holdings: Holdings) -> str:
    earlier = [day for day in holdings.spoilt if day <= as_of]
    return f"not from {max(earlier)}: {holdings.spoilt[max(earlier)]}" if earlier else "no earlier state"


def _reads(way: Way, features: FeaturesConfig, holdings: Holdings, expected: dict[date, Size]) -> Size:
    if way.base is not None and way.base.as_of == way.as_of and not way.merged:
        return Size()
    ranges = way.read(features.sequence.window_days if features.sequence else None)
    near = [size for day, size in holdings.days.items() if any(r.holds(day) for r in ranges)]
    base = expected.get(way.base.as_of, Size()) if way.base else Size()
    return sum(near, base)


def seconds_per_row(builds: Iterable[Build]) -> dict[str, float]:
    """By strategy the median of what the last runs took for a row that they read; newest builds first."""
    seen: dict[str, list[float]] = {}
    for build in builds:
        cost = build.details.get("cost")
        if cost and cost["rows"]:
            seen.setdefault(cost["strategy"], []).append(cost["seconds"] / cost["rows"])
    return {strategy: median(rates[:LAST_RUNS]) for strategy, rates in seen.items()}


def changed_features(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Which declarations differ between two sets of hashes, for a person."""
    named = {
        "changed": sorted(n for n in before.keys() & after.keys() if before[n] != after[n]),
        "new": sorted(after.keys() - before.keys()),
        "gone": sorted(before.keys() - after.keys()),
    }
    return "; ".join(f"{_few(names)} {what}" for what, names in named.items() if names) or "another order"


def _few(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
