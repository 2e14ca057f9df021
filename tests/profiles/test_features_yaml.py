"""What conf/features.yaml may not say: one sentence with file, key and what is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from intent_spark.config.errors import UsageError
from intent_spark.config.loading import conf_dir, load_settings
from tests.profiles.frames import derived, small_features, windowed


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return Path(shutil.copytree(conf_dir(), tmp_path / "conf"))


def refused(conf: Path, **sections: Any) -> str:
    tree = yaml.safe_load((conf_dir() / "features.yaml").read_text(encoding="utf-8"))
    (conf / "features.yaml").write_text(yaml.safe_dump(tree | sections), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_settings(conf=conf)
    assert str(caught.value).startswith(f"{conf}/features.yaml: "), caught.value
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_event_types(conf: Path) -> None:
    allowed = "is no event type; allowed are view, search, cart, favourite, purchase, return"
    said = refused(conf, windowed=[windowed("n", "count", [7], event_types=["click"])])
    assert "found 'click'" in said and allowed in said and "windowed.0.event_types.0" in said
    assert allowed in refused(conf, intervals=[{"name": "gap", "event_types": ["buy"]}])
    weights = {"count": 3, "window_days": 5, "weights": {"watch": 1}}
    assert "found 'watch'" in refused(conf, preferred_categories=weights)


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        ({"derived": [derived("a", "1"), derived("a", "2")]}, "a"),
        ({"windowed": [windowed("n", "count", [7]), windowed("n", "count", [1, 7])], "derived": []}, "n_7d"),
        ({"windowed": [windowed("n", "count", [7])], "derived": [derived("n_7d", "1")]}, "n_7d"),
        ({"derived": [derived("purchase_interval_days_mean", "1")]}, "purchase_interval_days_mean"),
        ({"derived": [derived("top_category_1", "1")]}, "top_category_1"),
        ({"derived": [derived("label", "1")]}, "label"),
        ({"derived": [derived("seq_item", "1")]}, "seq_item"),
    ],
)
def test_two_columns_of_one_name(conf: Path, sections: dict[str, Any], name: str) -> None:
    assert f"declares two columns named {name}" in refused(conf, **sections)


def test_values_and_windows(conf: Path) -> None:
    assert "aggregate sum needs value" in refused(conf, windowed=[windowed("n", "sum", [7])])
    assert "aggregate count takes no value" in refused(conf, windowed=[windowed("n", "count", [7], value="price")])
    assert "windowed.0.windows" in refused(conf, windowed=[windowed("n", "count", [0])])
    assert "windowed.0.aggregate" in refused(conf, windowed=[windowed("n", "median", [7])])
    assert "unknown key" in refused(conf, windowed=[windowed("n", "count", [7], window=7)])


def test_generated_names() -> None:
    days, since = windowed("n", "count", [7, "lifetime"]), windowed("since", "days_since_last", [30, "lifetime"])
    features = small_features(windowed=[days, since], derived=[])
    names = [feature.column(window) for feature in features.windowed for window in feature.windows]
    assert names == ["n_7d", "n_lifetime", "since_30d", "since"]
