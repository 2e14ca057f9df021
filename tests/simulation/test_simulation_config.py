from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from intent_spark.config.simulation import EVENT_TYPES, SimulationConfig


def _changed(settings: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(settings)
    *parents, key = path.split(".")
    section = changed
    for parent in parents:
        section = section[parent]
    section[key] = value
    return changed


def test_the_shipped_configuration_is_valid(settings: dict[str, Any]) -> None:
    config = SimulationConfig.model_validate(settings)
    assert config.time_zone == "Asia/Shanghai"
    assert len(config.catalogue.categories) >= 40
    assert len(config.user_types) * len(config.price_sensitivity) == 6
    assert EVENT_TYPES == ("view", "search", "cart", "favourite", "purchase")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("time_zone", "Asia/Atlantis", "is not a time zone"),
        ("currency", "yuan", "currency"),
        ("nonsense", 1, "Extra inputs are not permitted"),
        ("user_types.regular.share", 0.5, "shares of user_types must sum to 1, found 1.15"),
        ("user_types.regular.transitions.bought.dormant", 0.9, "next state must sum to 1, found 1.1"),
        ("user_types.regular.rates.bought.view", 0, "greater than 0"),
        ("price_sensitivity.careful.price_bands", [0.5, 0.5, 0.5], "price_bands must sum to 1"),
        ("price_sensitivity.careful.price_bands", [0.5, 0.5, 0.0], "must all be above 0"),
        ("demographics.gender.male.traits", {"frugal": 2}, "unknown traits ['frugal']"),
        ("demographics.gender.male.share", 0.1, "shares of gender must sum to 1"),
        ("imperfections.duplicate", 0.9, "less than or equal to 0.2"),
        ("catalogue.categories", ["a/b", "a/b"], "must not repeat"),
        ("truth.horizon_days", 0, "greater than or equal to 1"),
    ],
)
def test_a_wrong_value_is_refused_by_name(settings: dict[str, Any], path: str, value: Any, message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SimulationConfig.model_validate(_changed(settings, path, value))
    assert message in str(refused.value)
    assert path.split(".")[0] in str(refused.value) or "Value error" in str(refused.value)
