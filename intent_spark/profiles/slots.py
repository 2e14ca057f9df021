"""Slots: one partial folded over one window. The state of a user is its slots; every feature is made of some."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from intent_spark.config.features import LIFETIME, FeaturesConfig, Window, WindowedFeature
from intent_spark.profiles.partials import COUNTED, Partial, all_partials, feature_partials

# How the days of a window become one value. ``gaps`` are those between marked days, ``decayed`` sums weigh by age.
Fold = Literal["sum", "min", "max", "keyed", "distinct", "gaps", "decayed"]
GAPS = "struct<first:date,last:date,days:bigint,squares:bigint,shortest:bigint,longest:bigint>"
DECAY_UNIT = 1 << 16
FOLDS: dict[str, Fold] = {"active_days": "sum", "intervals": "gaps", "decayed_sum": "decayed"}


@dataclass(frozen=True)
class Slot:
    """One partial folded over one window, a column of ``profile_states``.

    Of a user with more than ``most_keys`` keys those with the smallest hashes are kept, where it is not 0. A key that
    is dropped once has so many smaller ones for good: what is kept is the same by every way, and exact.
    """

    partial: Partial
    window: Window
    fold: Fold
    half_life_days: float = 0
    most_keys: int = 0

    @property
    def name(self) -> str:
        """The partial's name with fold and window: ``view_count_7d``."""
        fold = {"gaps": "_gaps", "decayed": f"_decayed_{self.half_life_days:g}".replace(".", "p")}.get(self.fold, "")
        fold += f"_{self.most_keys}_keys" if self.most_keys else ""
        return f"{self.partial.name}{fold}_{self.window}" + ("" if self.window == LIFETIME else "d")

    @property
    def type(self) -> str:
        """Spark's type of the folded value."""
        return {"gaps": GAPS, "decayed": COUNTED}.get(self.fold, self.partial.type)

    @property
    def rolls(self) -> bool:
        """Whether the value moves on by a day from its own last value, exactly.

        Sums do over any window, as the leaving days can be taken away again; the others only where no day leaves.
        """
        return self.fold in ("sum", "keyed") or (self.window == LIFETIME and self.fold != "decayed")

    @property
    def definition(self) -> str:
        """What makes two slots the same, whatever they are called; short enough to be kept with every commit."""
        parts = (self.partial.definition, self.window, self.fold, self.half_life_days)
        meaning = repr((*parts, self.most_keys) if self.most_keys else parts)
        return hashlib.sha256(meaning.encode()).hexdigest()[:12]


def feature_slots(feature: WindowedFeature, window: Window) -> list[Slot]:
    """The slots that a feature's formula reads, in its order. Their names are settled by ``Slots``."""
    most_keys = feature.cap or 0 if feature.is_keyed and window == LIFETIME else 0
    return [
        Slot(
            partial, window, FOLDS.get(feature.aggregate) or partial.within_day, feature.half_life_days or 0, most_keys
        )
        for partial in feature_partials(feature)
    ]  # fmt: skip


class Slots:
    """All slots of a configuration, each under one name however many features read it."""

    def __init__(self, features: FeaturesConfig) -> None:
        kept = {partial.definition: partial for partial in all_partials(features)}
        self._by_definition: dict[str, Slot] = {}
        for feature in features.windowed:
            for window in feature.windows:
                for slot in feature_slots(feature, window):
                    shared = replace(slot, partial=kept[slot.partial.definition])
                    self._by_definition.setdefault(slot.definition, shared)

    def __iter__(self) -> Iterator[Slot]:
        """The slots in the order of their features' declarations."""
        return iter(self._by_definition.values())

    def of(self, feature: WindowedFeature, window: Window) -> list[Slot]:
        """The slots that a feature over a window is made of."""
        return [self._by_definition[slot.definition] for slot in feature_slots(feature, window)]
