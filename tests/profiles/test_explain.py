"""What notebooks call: features tried before they are declared, and the events behind a value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from intent_spark.config.errors import UsageError
from intent_spark.lakehouse.lakehouse import Lakehouse
from intent_spark.profiles import explain, known_at, preview
from intent_spark.profiles.explain import parse_features
from tests.profiles.frames import add_events, at
from tests.profiles.naive_oracle import Event

TRIED = """
windowed:
  - {name: looks, aggregate: count, event_types: [view], windows: [2, lifetime], unit: views, owner: t, description: d}
  - {name: seen, aggregate: count, by: category, windows: [7], unit: events, owner: t, description: d}
derived:
  - {name: share, expression: "try_divide(looks_2d, looks_lifetime)", unit: ratio, owner: t, description: d}
"""
EVENTS = [
    Event("ann", "1", "view", at("2026-03-01"), "shoes", "i1", 100),
    Event("ann", "2", "view", at("2026-03-03"), "hats", "i2", 250),
    Event("ann", "3", "purchase", at("2026-03-03", "13:00:00"), "hats", "i2", 250, 2),
    Event("bob", "4", "view", at("2026-03-04"), "hats", "i2", 250),
]


@pytest.fixture(scope="module")
def warehouse(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    lakehouse = Lakehouse(spark, str(tmp_path_factory.mktemp("explain") / "warehouse"))
    add_events(lakehouse, EVENTS, "b1", "Asia/Shanghai")
    yield lakehouse.root


@pytest.mark.slow
def test_preview_builds_a_few_users_and_writes_nothing(warehouse: str) -> None:
    before = sorted(Path(warehouse).rglob("*"))
    found = preview(TRIED, users=["ann", "bob", "nobody"], as_of="2026-03-04", warehouse=warehouse)
    assert found.to_dict("records") == [
        {
            "user_id": "ann",
            "looks_2d": 1,
            "looks_lifetime": 2,
            "seen_7d_by_category": {"hats": 2, "shoes": 1},
            "share": 0.5,
        }
    ]
    assert sorted(Path(warehouse).rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("windowed: [{name: n}]", "features: windowed.0.aggregate: Field required"),
        ("windows: []", "features: windows: Extra inputs are not permitted"),
        ("[1, 2]", "features: no YAML with sections"),
        ("a: [", "features: no YAML with sections"),
    ],
)
def test_wrong_declarations_are_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_features(text)
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_explain_shows_the_events_behind_each_value(warehouse: str) -> None:
    found = explain("ann", "2026-03-04", warehouse=warehouse).set_index("feature")
    spent = found.loc["spend_sum_1d"]
    assert (spent["value"], spent["events"], str(spent["from"]), str(spent["to"])) == (
        500,
        1,
        "2026-03-03",
        "2026-03-04",
    )
    assert spent["behind"] == ["2026-03-03 21:00:00 purchase hats 250"]
    assert found.loc["view_count_lifetime", "behind"] == [
        "2026-03-03 20:00:00 view hats 250", "2026-03-01 20:00:00 view shoes 100",
    ]  # fmt: skip
    assert found.loc["days_since_first_event", "behind"][0] == "2026-03-01 20:00:00 view shoes 100"
    assert found.loc["view_price_min_7d", "behind"][0] == "2026-03-01 20:00:00 view shoes 100"
    assert found.loc["view_price_max_7d", "behind"][0] == "2026-03-03 20:00:00 view hats 250"
    assert (found.loc["seq_item", "events"], found.loc["seq_item", "value"]) == (3, ["i1", "i2", "i2"])
    assert found.loc["age", "behind"] == ["age"]
    assert found.loc["purchase_per_view_7d", "behind"] == ["purchase_count_7d", "view_count_7d"]
    counted = found[found.index.str.contains(r"_count_(?:\d+d|lifetime)$")]
    assert (counted["value"] == counted["events"]).all(), "a count is the number of events behind it"
    assert not pd.isna(found.loc["days_since_purchase", "value"])
    with pytest.raises(UsageError, match="user stranger has no event before 2026-03-04"):
        explain("stranger", "2026-03-04", warehouse=warehouse)


@pytest.mark.slow
def test_profiles_as_known_at_an_instant(spark: SparkSession, tmp_path: Path) -> None:
    """An event of 2026-03-01 that came in on 2026-03-09: known on the tenth, not on the fifth."""
    lakehouse = Lakehouse(spark, str(tmp_path / "warehouse"))
    add_events(lakehouse, EVENTS, "b1", learned=at("2026-03-04", "18:00:00"))
    late = Event("ann", "late", "purchase", at("2026-03-01"), "bags", "i9", 900, 1)
    add_events(lakehouse, [late, Event("new", "l2", "view", at("2026-03-02"))], "b2", learned=at("2026-03-09"))
    spent = {}
    for instant in (at("2026-03-05"), at("2026-03-10")):
        rows = known_at("2026-03-04", instant, warehouse=lakehouse.root).select("user_id", "spend_sum_7d").collect()
        spent[instant.day] = {row["user_id"]: row["spend_sum_7d"] for row in rows}
    assert spent == {5: {"ann": 500}, 10: {"ann": 1400, "new": 0}}
    with pytest.raises(UsageError, match="has no zone"):
        known_at("2026-03-04", datetime(2026, 3, 5), warehouse=lakehouse.root)
