"""Every aggregate of a features configuration from raw events, the slow and obvious way.

Written from what the declarations mean: loops over a user's events, no partials, no Spark. It reads the
configuration's declarations and nothing else of the package.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

MICROSECOND = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    """One event; ``time`` is aware."""

    user_id: str
    event_id: str
    event_type: str
    time: datetime
    category: str | None = None
    item_id: str | None = None
    price: int | None = None
    quantity: int | None = 1


def _times(price: int | None, quantity: int | None) -> int | None:
    return None if price is None or quantity is None else price * quantity


VALUES: dict[str, Callable[[Event], int | None]] = {
    "price": lambda e: e.price,
    "quantity": lambda e: e.quantity,
    "price * quantity": lambda e: _times(e.price, e.quantity),
}


def ratio(top: float | None, bottom: float | None) -> float | None:
    """A quotient; null where a side is, or where it would divide by zero."""
    return None if top is None or bottom is None or bottom == 0 else top / bottom


DERIVED: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "purchase_per_view_7d": lambda f: ratio(f["purchase_count_7d"], f["view_count_7d"]),
    "cart_per_view_lifetime": lambda f: ratio(f["cart_count_lifetime"], f["view_count_lifetime"]),
    "view_trend_3d_14d": lambda f: ratio(f["view_count_3d"] * 14, f["view_count_14d"] * 3),
    "events_per_active_day_30d": lambda f: ratio(f["event_count_30d"], f["active_days_30d"]),
    "open_cart_7d": lambda f: float(max(f["cart_count_7d"] - f["purchase_count_7d"], 0)),
    "return_share_lifetime": lambda f: ratio(f["return_count_lifetime"], f["purchase_count_lifetime"]),
    "spend_per_purchase_day_lifetime": lambda f: ratio(f["spend_sum_lifetime"], f["purchase_days_lifetime"]),
    "purchase_overdue": lambda f: ratio(f["days_since_purchase"], f["purchase_interval_days_mean"]),
}


class Shop:
    """The shop's calendar."""

    def __init__(self, zone: str) -> None:
        self.zone = ZoneInfo(zone)

    def day(self, time: datetime) -> date:
        """The local day of an instant."""
        return time.astimezone(self.zone).date()

    def midnight(self, day: date) -> datetime:
        """The first instant of a local day, in UTC."""
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)


def naive_profiles(events: Iterable[Event], config: Any, as_of: date, zone: str) -> dict[str, dict[str, Any]]:
    """Features by user, of all users with an event before ``as_of``; attributes of the user are left out."""
    shop, by_user = Shop(zone), defaultdict(list)
    for event in events:
        if event.time < shop.midnight(as_of):
            by_user[event.user_id].append(event)
    return {user: naive_profile(history, config, as_of, shop) for user, history in by_user.items()}


def naive_profile(history: list[Event], config: Any, as_of: date, shop: Shop) -> dict[str, Any]:
    """One user's features from the events before ``as_of``."""
    features: dict[str, Any] = {}
    for declared in config.windowed:
        for window in declared.windows:
            chosen = [
                e
                for e in recent(history, window, as_of, shop)
                if e.event_type in (declared.event_types or [e.event_type])
            ]
            name = declared.name + ("" if declared.aggregate.startswith("days_since") else suffix(window))
            features[name] = aggregate(declared.aggregate, declared.value, chosen, as_of, shop)
    for declared in config.intervals:
        features |= interval_statistics(declared, history, shop)
    known = [d.name for d in config.derived if d.name in DERIVED]
    features |= {name: DERIVED[name](features) for name in known}
    features |= preferred(config.preferred_categories, history, as_of, shop)
    return features | sequence(config.sequence, history, as_of, shop)


def suffix(window: int | str) -> str:
    """What a window adds to a feature's name."""
    return "_lifetime" if window == "lifetime" else f"_{window}d"


def recent(history: list[Event], window: int | str, as_of: date, shop: Shop) -> list[Event]:
    """Events of [first instant of as_of - window, first instant of as_of)."""
    if window == "lifetime":
        return history
    return [e for e in history if e.time >= shop.midnight(as_of - timedelta(days=int(window)))]


def aggregate(kind: str, value: str | None, chosen: list[Event], as_of: date, shop: Shop) -> float | None:
    """One aggregate over the events that count."""
    if kind == "count":
        return len(chosen)
    if kind == "active_days":
        return len({shop.day(e.time) for e in chosen})
    if kind.startswith("days_since"):
        times = [e.time for e in chosen]
        since = (max if kind == "days_since_last" else min)(times, default=None)
        return None if since is None else ((shop.midnight(as_of) - since) // MICROSECOND) / 86_400_000_000
    numbers = [n for e in chosen if (n := VALUES[value or ""](e)) is not None]
    match kind:
        case "sum":
            return sum(numbers)
        case "mean":
            return sum(numbers) / len(numbers) if numbers else None
        case "min":
            return min(numbers, default=None)
        case "max":
            return max(numbers, default=None)
    raise AssertionError(f"the oracle does not know {kind}")


def interval_statistics(declared: Any, history: list[Event], shop: Shop) -> dict[str, float | None]:
    """Of the gaps, in days, between the days with such an event."""
    days = sorted({shop.day(e.time) for e in history if e.event_type in declared.event_types})
    gaps = [(after - before).days for before, after in zip(days, days[1:], strict=False)]
    if not gaps:
        return {f"{declared.name}_{statistic}": None for statistic in ("mean", "std", "min", "max")}
    mean = Fraction(sum(gaps), len(gaps))
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    statistics = {
        "mean": float(mean),
        "std": root(variance),
        "min": float(min(gaps)),
        "max": float(max(gaps)),
    }
    return {f"{declared.name}_{statistic}": number for statistic, number in statistics.items()}


def root(square: Fraction) -> float:
    """The square root to 50 digits, rounded once."""
    with localcontext(prec=50):
        return float((Decimal(square.numerator) / Decimal(square.denominator)).sqrt())


def preferred(declared: Any, history: list[Event], as_of: date, shop: Shop) -> dict[str, str | None]:
    """Categories by weight, the largest first; of equal weights the later name first."""
    weight: dict[str, int] = defaultdict(int)
    for event in recent(history, declared.window_days, as_of, shop):
        if event.category is not None and event.event_type in declared.weights:
            weight[event.category] += declared.weights[event.event_type]
    best = sorted(weight, key=lambda category: (weight[category], category), reverse=True)
    places = best[: declared.count] + [None] * (declared.count - len(best))
    return {f"top_category_{place}": category for place, category in enumerate(places, start=1)}


def sequence(declared: Any, history: list[Event], as_of: date, shop: Shop) -> dict[str, list[Any]]:
    """The last events, oldest first; a gap runs from an event to the next one, the last gap to ``as_of``."""
    ordered = sorted(recent(history, declared.window_days, as_of, shop), key=lambda e: (e.time, e.event_id))
    last = ordered[-declared.length :]
    seconds = [(e.time - EPOCH) // timedelta(seconds=1) for e in last]
    ends = [*seconds[1:], (shop.midnight(as_of) - EPOCH) // timedelta(seconds=1)]
    return {
        "seq_event_type": [e.event_type for e in last],
        "seq_category": [e.category for e in last],
        "seq_item": [e.item_id for e in last],
        "seq_price_band": [price_band(e.price) for e in last],
        "seq_gap_seconds": [after - before for before, after in zip(seconds, ends, strict=False)],
    }


def price_band(price: int | None) -> int | None:
    """How many binary digits a price has; a negative one has all 64 of its two's complement."""
    if price is None:
        return None
    return 64 if price < 0 else max(price.bit_length(), 1)
