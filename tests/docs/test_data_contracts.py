"""The documented contracts are those in the code."""

from __future__ import annotations

from pathlib import Path

from tools.write_contracts import page

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "data-contracts.md").read_text(encoding="utf-8") == page(), "run 'make contracts'"
