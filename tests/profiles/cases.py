"""Random cases, drawn once: how many, and how."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("INTENT_SPARK_CASES", "500"))  # for each strategy; make test-long asks for more


def collected(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Cases of a strategy. One Spark run checks them all: a run a case would take minutes."""
    cases: list[Any] = []

    @settings(
        max_examples=count + count // 5, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(case: Any) -> None:
        cases.append(case)

    collect()
    assert len(cases) >= count, "the strategy gives too few"
    return cases[:count]
