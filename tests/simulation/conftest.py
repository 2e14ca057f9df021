from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from intent_spark.config.simulation import SimulationConfig
from intent_spark.simulation.chunk import ShopPlan

CONFIGURATION = Path(__file__).parents[2] / "conf" / "simulation.yaml"


@pytest.fixture(scope="session")
def settings() -> dict[str, Any]:
    return dict(yaml.safe_load(CONFIGURATION.read_text()))


@pytest.fixture(scope="session")
def make_plan(settings: dict[str, Any]) -> Callable[..., ShopPlan]:
    """A plan from the shipped configuration; ``sections`` replace single keys of nested sections."""

    def make(users: int = 300, days: int = 21, seed: int = 5, file_format: Any = "jsonl", **sections: Any) -> ShopPlan:
        changed = {key: settings[key] | value if isinstance(value, dict) else value for key, value in sections.items()}
        config = SimulationConfig.model_validate(settings | {"chunk_users": 100} | changed)
        return ShopPlan(config, users, days, date(2026, 3, 1), seed, file_format)

    return make
