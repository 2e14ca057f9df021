"""The items of the shop: a grid of category x price band x popularity rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from intent_spark.config.simulation import PRICE_BANDS, CatalogueConfig
from intent_spark.simulation.hidden_model import Floats, Ints

_BAND_FACTORS = ((0.35, 0.75), (0.85, 1.25), (1.45, 3.2))
_TYPICAL_PRICE_CENTS = (1_500, 250_000)
_SYLLABLES = ("ba", "lo", "mi", "ren", "sa", "ku", "vel", "to", "nor", "ji", "pa", "lu", "den", "qi", "har")
_QUALITIES = ("Classic", "Light", "Urban", "Soft", "Compact", "Premium", "Everyday", "Fresh", "Nordic")


@dataclass(frozen=True)
class Catalogue:
    """Items in grid order: ``(category * 3 + band) * items_per_band + rank``, the most popular first."""

    categories: list[str]
    items_per_band: int
    ids: list[str]
    prices_cents: Ints
    brands: list[str]
    titles: list[str]
    rank_steps: Floats
    category_steps: Floats

    @classmethod
    def draw(cls, config: CatalogueConfig, rng: np.random.Generator) -> Catalogue:
        """Draw names and prices; ids are shuffled, so that they tell nothing of category or popularity."""
        categories = list(config.categories)
        size = len(categories) * len(PRICE_BANDS) * config.items_per_band
        brand_names = _brand_names(config.brands)
        brands = [brand_names[place] for place in rng.integers(0, config.brands, size)]
        qualities = [_QUALITIES[place] for place in rng.integers(0, len(_QUALITIES), size)]
        category = np.arange(size) // (len(PRICE_BANDS) * config.items_per_band)
        words = [categories[place].split("/")[1].replace("_", " ") for place in category]
        order = rng.permutation(size)
        return cls(
            categories=categories,
            items_per_band=config.items_per_band,
            ids=[f"i{100_000 + number}" for number in order],
            prices_cents=_prices(rng, len(categories), config.items_per_band),
            brands=brands,
            titles=[
                f"{brand} {quality} {word} {number % 1000:03d}"
                for brand, quality, word, number in zip(brands, qualities, words, order, strict=True)
            ],
            rank_steps=_zipf_steps(config.items_per_band, config.zipf_exponent),
            category_steps=_zipf_steps(len(categories), config.zipf_exponent / 2),
        )

    def item(self, category: Ints, band: Ints, chance: Floats) -> Ints:
        """The item of this category and band at popularity quantile ``chance``, in [0, 1)."""
        rank = np.searchsorted(self.rank_steps, chance, side="right")
        return np.asarray((category * len(PRICE_BANDS) + band) * self.items_per_band + rank)

    def category(self, chance: Floats) -> Ints:
        """The category at popularity quantile ``chance``, in [0, 1)."""
        return np.asarray(np.searchsorted(self.category_steps, chance, side="right"))

    def category_of(self, item: Ints) -> Ints:
        """The category of each item."""
        return np.asarray(item // (len(PRICE_BANDS) * self.items_per_band))

    def table(self, currency: str) -> pa.Table:
        """The items as the shop's own file holds them, ordered by id."""
        category = self.category_of(np.arange(len(self.ids)))
        columns: dict[str, Any] = {
            "item_id": self.ids,
            "category": [self.categories[place] for place in category],
            "brand": self.brands,
            "price": price_array(self.prices_cents),
            "currency": [currency] * len(self.ids),
            "title": self.titles,
        }
        return pa.table(columns).sort_by("item_id")


def price_array(cents: Ints) -> pa.Array:
    """Integer cents as decimal(12, 2), digit for digit: the cents are the decimal's unscaled value."""
    words = np.empty((cents.size, 2), dtype="<i8")
    words[:, 0] = cents
    words[:, 1] = np.where(cents < 0, -1, 0)
    return pa.Array.from_buffers(pa.decimal128(12, 2), cents.size, [None, pa.py_buffer(words.tobytes())])


def _prices(rng: np.random.Generator, categories: int, items_per_band: int) -> Ints:
    lowest, highest = np.log(_TYPICAL_PRICE_CENTS)
    typical = np.exp(rng.uniform(lowest, highest, size=(categories, 1, 1)))
    low, high = np.array(_BAND_FACTORS).T[:, None, :, None]
    factors = low + (high - low) * rng.random((categories, len(PRICE_BANDS), items_per_band))
    return np.asarray(np.round(typical * factors / 10).astype(np.int64).ravel() * 10)


def _zipf_steps(size: int, exponent: float) -> Floats:
    weights = 1.0 / np.arange(1, size + 1) ** exponent
    return np.asarray((weights.cumsum() / weights.sum())[:-1])


def _brand_names(count: int) -> list[str]:
    pairs = [first + second for second in _SYLLABLES for first in _SYLLABLES if first != second]
    names = [pair.capitalize() for pair in pairs]
    names += [f"{pair.capitalize()}{first}" for pair in pairs for first in _SYLLABLES]
    return names[:count]
