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
TYPES = ("view", "search", "cart", "favourite", "purchase", "return")
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
    price_level: int | None = None


def _times(price: int | None, quantity: int | None) -> int | None:
    return None if price is None or quantity is None else price * quantity


def price_band(price: int | None) -> int | None:
    """How many binary digits a price has; a negative one has all 64 of its two's complement."""
    if price is None:
        return None
    return 64 if price < 0 else max(price.bit_length(), 1)


VALUES: dict[str, Callable[[Event], Any]] = {
    "1": lambda e: 1,
    "category": lambda e: e.category,
    "item_id": lambda e: e.item_id,
    "event_type": lambda e: e.event_type,
    "price": lambda e: e.price,
    "quantity": lambda e: e.quantity,
    "item_price_level": lambda e: e.price_level,
    "price * quantity": lambda e: _times(e.price, e.quantity),
    "length(bin(price))": lambda e: price_band(e.price),
}


FILTERS: dict[str | None, Callable[[Event], bool]] = {
    None: lambda e: True,
    "price > 1000": lambda e: e.price is not None and e.price > 1000,
    "price >= 10000": lambda e: e.price is not None and e.price >= 10000,
    "item_price_level is not null": lambda e: e.price_level is not None,
}


def ratio(top: float | None, bottom: float | None) -> float | None:
    """A quotient; null where a side is, or where it would divide by zero."""
    return None if top is None or bottom is None or bottom == 0 else top / bottom


def drawn_to_the_middle(mean: float | None, number: int) -> float:
    """A mean of levels in deviations, as if three more of zero had been seen."""
    return 0.0 if mean is None else mean * number / (number + 3) / 1000


DERIVED: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "purchase_per_view_7d": lambda f: ratio(f["purchase_count_7d"], f["view_count_7d"]),
    "cart_per_view_lifetime": lambda f: ratio(f["cart_count_lifetime"], f["view_count_lifetime"]),
    "view_trend_3d_14d": lambda f: ratio(f["view_count_3d"] * 14, f["view_count_14d"] * 3),
    "events_per_active_day_30d": lambda f: ratio(f["event_count_30d"], f["active_days_30d"]),
    "open_cart_7d": lambda f: float(max(f["cart_count_7d"] - f["purchase_count_7d"], 0)),
    "return_share_lifetime": lambda f: ratio(f["return_count_lifetime"], f["purchase_count_lifetime"]),
    "spend_per_purchase_day_lifetime": lambda f: ratio(f["spend_sum_lifetime"], f["purchase_days_lifetime"]),
    "usual_price_level": lambda f: drawn_to_the_middle(
        f["price_level_mean_lifetime"], f["levelled_event_count_lifetime"]
    ),
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
            types = declared.event_types or TYPES
            near = [e for e in recent(history, window, as_of, shop) if e.event_type in types]
            features |= windowed_feature(
                declared, window, [e for e in near if FILTERS[declared.filter](e)], as_of, shop
            )
    known = [d.name for d in config.derived if d.name in DERIVED]
    features |= {name: DERIVED[name](features) for name in known}
    return features | sequence(config.sequence, history, as_of, shop)


def windowed_feature(declared: Any, window: Any, chosen: list[Event], as_of: date, shop: Shop) -> dict[str, Any]:
    """The columns of one declaration over one window."""
    name, kind = declared.name, declared.aggregate
    bare = window == "lifetime" and (kind.startswith("days_since") or kind == "intervals")
    name += "" if bare else suffix(window)
    if kind == "intervals":
        return {f"{name}_{statistic}": value for statistic, value in interval_statistics(chosen, shop).items()}
    if kind == "top":
        ranked = top(declared, chosen)
        return {f"{name}_{place}": ranked[place - 1] for place in range(1, declared.places + 1)}
    if declared.by:
        return {f"{name}_by_{declared.by}": by_key(declared, chosen)}
    if kind == "decayed_sum":
        return {name: decayed(declared, chosen, as_of, shop)}
    return {name: aggregate(kind, declared.value, chosen, as_of, shop)}


def by_key(declared: Any, chosen: list[Event]) -> dict[str, int]:
    """A sum for each key; keys whose sum is zero are left out."""
    totals: dict[str, int] = defaultdict(int)
    for event in chosen:
        key, number = VALUES[declared.by](event), VALUES[declared.value](event) if declared.value else 1
        if key is not None and number is not None:
            totals[key] += number
    return {key: total for key, total in totals.items() if total}


def decayed(declared: Any, chosen: list[Event], as_of: date, shop: Shop) -> float:
    """Values by their day's age, the day before as_of being 0 days old; weights in whole 65536ths."""
    total = 0
    for event in chosen:
        number = VALUES[declared.value](event)
        age = (as_of - shop.day(event.time)).days - 1
        total += (number or 0) * round(65536 * 0.5 ** (age / declared.half_life_days))
    return total / 65536


def suffix(window: int | str) -> str:
    """What a window adds to a feature's name."""
    return "_lifetime" if window == "lifetime" else f"_{window}d"


def recent(history: list[Event], window: int | str, as_of: date, shop: Shop) -> list[Event]:
    """Events of [first instant of as_of - window, first instant of as_of)."""
    if window == "lifetime":
        return history
    return [e for e in history if e.time >= shop.midnight(as_of - timedelta(days=int(window)))]


def aggregate(kind: str, value: str | None, chosen: list[Event], as_of: date, shop: Shop) -> float | str | None:
    """One aggregate over the events that count."""
    if kind == "count":
        return len(chosen)
    if kind == "active_days":
        return len({shop.day(e.time) for e in chosen})
    if kind.startswith("days_since"):
        times = [e.time for e in chosen]
        since = (max if kind == "days_since_last" else min)(times, default=None)
        return None if since is None else ((shop.midnight(as_of) - since) // MICROSECOND) / 86_400_000_000
    values = [(e, v) for e in chosen if (v := VALUES[value or ""](e)) is not None]
    if kind == "distinct":
        return len({v for _, v in values})
    if kind in ("first", "last"):
        ordered = sorted(values, key=lambda pair: (pair[0].time, pair[0].event_id))
        return str(ordered[0 if kind == "first" else -1][1]) if ordered else None
    numbers = [v for _, v in values]
    match kind:
        case "sum":
            return sum(numbers)
        case "mean":
            return sum(numbers) / len(numbers) if numbers else None
        case "std":
            return deviation(numbers) if numbers else None
        case "min":
            return min(numbers, default=None)
        case "max":
            return max(numbers, default=None)
    raise AssertionError(f"the oracle does not know {kind}")


def deviation(numbers: list[int]) -> float:
    """The population's standard deviation."""
    mean = Fraction(sum(numbers), len(numbers))
    return root(sum(((n - mean) ** 2 for n in numbers), Fraction(0)) / len(numbers))


def interval_statistics(chosen: list[Event], shop: Shop) -> dict[str, float | None]:
    """Of the gaps, in days, between the days with such an event."""
    days = sorted({shop.day(e.time) for e in chosen})
    gaps = [(after - before).days for before, after in zip(days, days[1:], strict=False)]
    if not gaps:
        return dict.fromkeys(("mean", "std", "min", "max"))
    mean = float(Fraction(sum(gaps), len(gaps)))
    return {"mean": mean, "std": deviation(gaps), "min": float(min(gaps)), "max": float(max(gaps))}


def root(square: Fraction) -> float:
    """The square root to 50 digits, rounded once."""
    with localcontext(prec=50):
        return float((Decimal(square.numerator) / Decimal(square.denominator)).sqrt())


def top(declared: Any, chosen: list[Event]) -> list[str | None]:
    """Values by weight, the largest first; of equal weights the later name first."""
    weight: dict[str, int] = defaultdict(int)
    for event in chosen:
        value = VALUES[declared.value](event)
        own = declared.weights.get(event.event_type) if declared.weights else 1
        if value is not None and own:
            weight[str(value)] += own
    best = sorted(weight, key=lambda value: (weight[value], value), reverse=True)
    return best[: declared.places] + [None] * (declared.places - len(best))


def sequence(declared: Any, history: list[Event], as_of: date, shop: Shop) -> dict[str, list[Any]]:
    """The last events, oldest first; a gap runs from an event to the next one, the last gap to ``as_of``."""
    types = declared.event_types or TYPES
    near = [e for e in recent(history, declared.window_days, as_of, shop) if e.event_type in types]
    ordered = sorted((e for e in near if FILTERS[declared.filter](e)), key=lambda e: (e.time, e.event_id))
    last = ordered[-declared.length :]
    seconds = [(e.time - EPOCH) // timedelta(seconds=1) for e in last]
    ends = [*seconds[1:], (shop.midnight(as_of) - EPOCH) // timedelta(seconds=1)]
    gaps = [after - before for before, after in zip(seconds, ends, strict=False)]
    return {c.name: gaps if c.gap else [VALUES[c.value](e) for e in last] for c in declared.columns}
