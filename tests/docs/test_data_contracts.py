"""The documents made from code are those that the code makes."""

from __future__ import annotations

from pathlib import Path

from intent_spark.config.loading import load_settings
from intent_spark.profiles.catalogue import catalogue
from tools.write_contracts import page

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "data-contracts.md").read_text(encoding="utf-8") == page(), "run 'make contracts'"


def test_the_catalogue_is_up_to_date() -> None:
    features = load_settings().features
    assert (ROOT / "docs" / "features.md").read_text(encoding="utf-8") == catalogue(features), "run 'make catalogue'"
    declared = [*features.windowed, *features.derived, *features.user]
    assert all(feature.description and feature.owner for feature in declared)
