"""How true events become delivered rows: delays, repetitions and spoiled copies.

A spoiled row is an extra one, a copy of a true event under an id of its own. The true history therefore stays
complete, and so does the truth computed from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from intent_spark.config.simulation import FileFormat, Imperfections
from intent_spark.simulation.hidden_model import Flags, Ints
from intent_spark.simulation.shop_calendar import DAY_MS

UNKNOWN_TYPES = ("impression", "wishlist_share", "app_ping")
_TYPICAL_DELAY_MS = 4_000
_LONGEST_DELAY_MS = 600_000
_RESEND_MS = (60_000, 2 * DAY_MS)


class Fault(IntEnum):
    """What is wrong with a delivered row; ``NONE`` and ``LATE`` rows are the true events."""

    NONE = 0
    LATE = 1
    DUPLICATE = 2
    RESENT = 3
    MALFORMED = 4
    MISSING_USER = 5
    UNKNOWN_TYPE = 6
    CLOCK_SKEW = 7


SPOILED = (Fault.MALFORMED, Fault.MISSING_USER, Fault.UNKNOWN_TYPE, Fault.CLOCK_SKEW)


@dataclass(frozen=True)
class Deliveries:
    """Delivered rows in the order of delivery, arrays of one length.

    ``event`` is the true event a row is or copies; ``number`` gives its id, so that spoiled copies get new
    ones; ``event_time`` and ``received`` are in milliseconds since 1970 (UTC).
    """

    event: Ints
    number: Ints
    fault: Ints
    event_time: Ints
    received: Ints

    def count(self, fault: Fault) -> int:
        """How many rows have this fault."""
        return int(np.count_nonzero(self.fault == fault))


def deliver(rng: np.random.Generator, rates: Imperfections, times: Ints, file_format: FileFormat) -> Deliveries:
    """Deliver each true event once, some late, and add the faulty rows at their rates."""
    size = times.size
    late = rng.random(size) < rates.late
    received = times + _delays(rng, rates, late)
    extra = [fault for fault in Fault if fault > Fault.LATE]
    copies = {fault: _chosen(rng, size, _rate(rates, fault, file_format)) for fault in extra}
    event = np.concatenate([np.arange(size), *copies.values()])
    fault = np.concatenate(
        [np.where(late, Fault.LATE, Fault.NONE), *(np.full(rows.size, kind) for kind, rows in copies.items())]
    )
    spoiled = np.isin(fault, SPOILED)
    received = received[event] + np.where(fault == Fault.RESENT, rng.integers(*_RESEND_MS, event.size), 0)
    number = np.where(spoiled, size + np.cumsum(spoiled) - 1, event)
    event_time = np.where(fault == Fault.CLOCK_SKEW, received + _skews(rng, rates, event.size), times[event])
    order = np.argsort(received, kind="stable")
    return Deliveries(event[order], number[order], fault[order], event_time[order], received[order])


def _rate(rates: Imperfections, fault: Fault, file_format: FileFormat) -> float:
    if fault is Fault.MALFORMED and file_format == "parquet":
        return 0.0
    return float(getattr(rates, fault.name.lower()))


def _chosen(rng: np.random.Generator, size: int, rate: float) -> Ints:
    return np.flatnonzero(rng.random(size) < rate)


def _delays(rng: np.random.Generator, rates: Imperfections, late: Flags) -> Ints:
    usual = np.minimum(rng.exponential(_TYPICAL_DELAY_MS, late.size), _LONGEST_DELAY_MS)
    days = rng.uniform(1, rates.late_days_max, late.size)
    return np.asarray(np.where(late, days * DAY_MS, 20 + usual).astype(np.int64))


def _skews(rng: np.random.Generator, rates: Imperfections, size: int) -> Ints:
    return np.asarray((rng.uniform(2, rates.skew_days_max, size) * DAY_MS).astype(np.int64))
