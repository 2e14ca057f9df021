"""The feature page: every declared feature with its lineage, its distribution and one user's value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from intent_spark.reports.page import fill, write_page

FILE_NAME = "features.html"


@dataclass(frozen=True)
class Bar:
    """One bin or value of a distribution: its label and its share of the users who have a value."""

    label: str
    share: float


@dataclass(frozen=True)
class FeatureCard:
    """What the page tells of one feature.

    ``made_of`` are event types or other features; ``read_by`` says what in the live model reads it, empty if nothing
    does. Shares are of the snapshot's users; ``stability`` are indices of population stability, each with what it is
    against; ``value`` is the sample user's, as text.
    """

    name: str
    description: str
    kind: str
    unit: str
    owner: str
    definition: str
    made_of: tuple[str, ...]
    read_by: str
    null_share: float | None
    median: str
    stability: tuple[tuple[str, float], ...]
    bars: tuple[Bar, ...]
    value: str


@dataclass(frozen=True)
class FeaturePage:
    """All that the page shows; ``sections`` are headings with their features, in the order of declaration."""

    shop: str
    as_of: date
    users: int
    sample_user: str
    model: str
    sections: tuple[tuple[str, tuple[FeatureCard, ...]], ...]

    @property
    def features(self) -> int:
        """How many features there are."""
        return sum(len(cards) for _, cards in self.sections)


def render(page: FeaturePage) -> str:
    """The page as HTML; equal pages give equal text."""
    return fill("features.html.j2", page=page)


def write(page: FeaturePage, folder: Path) -> Path:
    """Write ``features.html`` into ``folder`` in one step and give back its path."""
    return write_page(render(page), folder / FILE_NAME)
