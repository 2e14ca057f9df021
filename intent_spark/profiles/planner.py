"""The planner: for each wanted snapshot the cheapest exact way to its state, from what the tables hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from statistics import median
from typing import Literal

from intent_spark.config.features import FeaturesConfig
from intent_spark.lakehouse.job_runs import Cost
from intent_spark.lakehouse.lakehouse import Build
from intent_spark.lakehouse.shop import touched_within
from intent_spark.profiles.contract import sequence_hash
from intent_spark.profiles.direct import adds_up
from intent_spark.profiles.slots import Slots
from intent_spark.profiles.spans import BEGINNING
from intent_spark.profiles.state import Base, Way, find_way, same_slots

Strategy = Literal["auto", "roll", "merge", "direct"]
BY_DAYS = ("roll", "merge")
ITEMS_CHANGED = "the items of its days have changed"
DAYS = "days"  # the name under which the cost of building days is kept
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
    """``user_days`` by day."""
    events: dict[date, Size] = field(default_factory=dict)
    """``events`` by day."""
    unbuilt: frozenset[date] = frozenset()
    """Days that ``user_days`` lacks, or holds as they no longer are."""
    states: dict[date, Size] = field(default_factory=dict)
    bases: dict[date, Base] = field(default_factory=dict)
    """States that later ones may be rolled from."""
    spoilt: dict[date, str] = field(default_factory=dict)
    """Why the other states may not."""

    def day(self, day: date) -> Size:
        """What ``user_days`` holds of a day; of one yet to be built, as much as its events at most."""
        return (self.events if day in self.unbuilt else self.days).get(day, Size())


@dataclass(frozen=True)
class Snapshot:
    """How one state is to be made, what for, and what it is thought to cost."""

    way: Way
    strategy: str
    reads: Size
    why: str = ""
    seconds: float | None = None
    builds: tuple[date, ...] = ()
    """The days that ``user_days`` must first be given; those that an earlier snapshot needs as well are named there."""
    builds_from: Size = Size()
    """The events of these days."""
    passes: int = 1
    """How often the rows are folded: twice where events become days that nobody keeps."""

    def describe(self) -> str:
        """The choice for a person: strategy, what it reads, what it may take."""
        took = "" if self.seconds is None else f", about {self.seconds:.1f} s"
        base = f" from {self.way.base.as_of}" if self.way.base else ""
        again = f", {len(self.way.merged)} slots merged" if self.way.base and self.way.merged else ""
        reason = f" ({self.why})" if self.why else ""
        events = f"{self.builds_from.rows:,} events, {_megabytes(self.builds_from)}"
        first = f"; {len(self.builds)} days to be built for it from {events}" if self.builds else ""
        read = f"{self.reads.rows:,} rows, {_megabytes(self.reads)}"
        return f"{self.strategy}{base}{again}{reason}: reads {read}{took}{first}"


def _megabytes(size: Size) -> str:
    return f"{size.bytes / 1e6:,.1f} MB"


def has_changed(changes: Mapping[int, date], build: Build, dimension: str, end: date) -> bool:
    """Whether a dimension says other things of days before ``end`` than when something was built of it, if it was."""
    made_of = build.inputs.get(dimension)
    return made_of is not None and any(version > made_of and first < end for version, first in changes.items())


def judge_states(
    builds: Mapping[str, Build], features: FeaturesConfig, touched: dict[date, int], items: Mapping[int, date]
) -> tuple[dict[date, Base], dict[date, str]]:
    """Which states may be rolled from, and why the others may not; ``items`` tells what changed of them, and when."""
    bases, spoilt = {}, {}
    for partition, build in builds.items():
        day = date.fromisoformat(partition)
        if build.details.get("sequence") != sequence_hash(features):
            spoilt[day] = "its last events were kept under another definition"
        elif build.inputs["events"] < touched_within(touched, BEGINNING, day):
            spoilt[day] = "late events touched its days"
        elif has_changed(items, build, "items", day):
            spoilt[day] = ITEMS_CHANGED
        else:
            bases[day] = Base(day, build.details["slots"])
    return bases, spoilt


def plan_snapshots(
    wanted: Iterable[date], features: FeaturesConfig, holdings: Holdings, strategy: Strategy, rates: dict[str, float]
) -> list[Snapshot]:
    """A way for each date, oldest first; each may roll from the one before it.

    Left to itself, the cheaper of two plans is taken: one by way of ``user_days`` throughout, and one that begins
    straight from the events and gives ``user_days`` only the days that later dates ask for.
    """
    if strategy != "auto":
        return _plan(wanted, features, holdings, (strategy,), rates)
    plans = [_plan(wanted, features, holdings, ways, rates) for ways in (BY_DAYS, (*BY_DAYS, "direct"))]
    return min(plans, key=lambda plan: sum(_cost(snapshot, rates, plans) for snapshot in plan))


def _plan(
    wanted: Iterable[date], features: FeaturesConfig, holdings: Holdings, allowed: tuple[str, ...],
    rates: dict[str, float],
) -> list[Snapshot]:  # fmt: skip
    slots, bases, expected = Slots(features), dict(holdings.bases), dict(holdings.states)
    names = same_slots(slots)
    snapshots: list[Snapshot] = []
    for as_of in sorted(wanted):
        begun = {day for snapshot in snapshots for day in snapshot.builds}
        ways = _Ways(slots, as_of, features, holdings, bases, expected, begun)
        snapshot = ways.choose(allowed, rates)
        rate = rates.get(snapshot.strategy)
        snapshots.append(replace(snapshot, seconds=None if rate is None else rate * snapshot.reads.rows))
        bases[as_of] = Base(as_of, names)
        base = snapshot.way.base
        expected.setdefault(as_of, expected.get(base.as_of, Size()) if base else Size())
    return snapshots


@dataclass(frozen=True)
class _Ways:
    """The ways to one state."""

    slots: Slots
    as_of: date
    features: FeaturesConfig
    holdings: Holdings
    bases: dict[date, Base]
    expected: dict[date, Size]
    begun: set[date]

    def choose(self, allowed: tuple[str, ...], rates: dict[str, float]) -> Snapshot:
        """The cheapest of the allowed ways; of equal ones the first."""
        whole = find_way(self.slots, self.as_of, None)
        earlier = [day for day in self.bases if day <= self.as_of]
        found = []
        if "merge" in allowed or ("roll" in allowed and not earlier):
            found.append(self._by_days(whole, "merge", "asked for" if allowed == ("merge",) else self._why_no_base()))
        if "direct" in allowed:
            found.append(self._direct(whole, allowed))
        if "roll" in allowed and earlier:
            base = self.bases[max(earlier)]
            same = base.as_of == self.as_of
            rolled = self._by_days(find_way(self.slots, self.as_of, base), "extend" if same else "roll", "")
            if base.as_of < max((day for day in self.holdings.spoilt if day <= self.as_of), default=base.as_of):
                rolled = replace(rolled, why=self._why_no_base())
            if same:
                return rolled
            found = [rolled, *(replace(other, why=f"cheaper than from {base.as_of}") for other in found)]
        return min(found, key=lambda snapshot: _cost(snapshot, rates, [found]))

    def _direct(self, whole: Way, allowed: tuple[str, ...]) -> Snapshot:
        events = sum((size for day, size in self.holdings.events.items() if day < self.as_of), Size())
        why = "asked for" if allowed == ("direct",) else "cheaper than by way of user_days"
        return Snapshot(whole, "direct", events, why, passes=1 if all(map(adds_up, self.slots)) else 2)

    def _by_days(self, way: Way, strategy: str, why: str) -> Snapshot:
        near = self._near(way)
        builds = sorted(near & self.holdings.unbuilt - self.begun)
        base = self.expected.get(way.base.as_of, Size()) if way.base else Size()
        reads = sum((self.holdings.day(day) for day in near), base) if way.merged or way.rolled else Size()
        events = sum((self.holdings.events.get(day, Size()) for day in builds), Size())
        return Snapshot(way, strategy, reads, why, None, tuple(builds), events)

    def _near(self, way: Way) -> set[date]:
        """The days that a way reads."""
        if way.base is not None and way.base.as_of == way.as_of and not way.merged:
            return set()
        sequence = self.features.sequence
        ranges = way.read(sequence.window_days if sequence else None)
        return {day for day in self.holdings.touched if any(r.holds(day) for r in ranges)}

    def _why_no_base(self) -> str:
        earlier = [day for day in self.holdings.spoilt if day <= self.as_of]
        return f"not from {max(earlier)}: {self.holdings.spoilt[max(earlier)]}" if earlier else "no earlier state"


def _predicted(snapshot: Snapshot, rates: dict[str, float]) -> float | None:
    """Seconds that the last runs would have taken for the same, days included; None where one was never seen."""
    if snapshot.strategy not in rates or (snapshot.builds and DAYS not in rates):
        return None
    return rates[snapshot.strategy] * snapshot.reads.rows + rates.get(DAYS, 0) * snapshot.builds_from.rows


def _cost(snapshot: Snapshot, rates: dict[str, float], others: Iterable[Iterable[Snapshot]]) -> float:
    """Seconds where they are known of all that are compared, else rows folded."""
    known = all(_predicted(other, rates) is not None for plan in others for other in plan)
    return (
        _predicted(snapshot, rates) or 0 if known else snapshot.reads.rows * snapshot.passes + snapshot.builds_from.rows
    )


def seconds_per_row(costs: Iterable[Cost]) -> dict[str, float]:
    """By strategy the median of what the last snapshots took for a row that they read; the newest run's costs first."""
    seen: dict[str, list[float]] = {}
    for cost in costs:
        if cost.rows:
            seen.setdefault(cost.part, []).append(cost.seconds / cost.rows)
    return {strategy: median(rates[:LAST_RUNS]) for strategy, rates in seen.items()}


def changed_features(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """Which declarations differ between two sets of hashes, for a person."""
    named = {
        "changed": sorted(n for n in before.keys() & after.keys() if before[n] != after[n]),
        "new": sorted(after.keys() - before.keys()),
        "gone": sorted(before.keys() - after.keys()),
    }
    return (
        "; ".join(f"{_few(names)} {what}" for what, names in named.items() if names)
        or "another version of this software"
    )


def _few(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
