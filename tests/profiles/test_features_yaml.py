"""What conf/features.yaml may not say: one sentence with file, key and what is allowed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from intent_spark.config.errors import UsageError
from intent_spark.config.features import words
from intent_spark.config.loading import conf_dir, load_settings
from intent_spark.profiles.direct import _by_type_bit
from intent_spark.profiles.partials import event_condition
from tests.profiles.frames import column, derived, last_events, small_features, windowed


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
    top = windowed("t", "top", [7], value="category", places=3, weights={"watch": 1})
    assert "found 'watch'" in refused(conf, windowed=[top])


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        ({"derived": [derived("a", "1"), derived("a", "2")]}, "a"),
        ({"windowed": [windowed("n", "count", [7]), windowed("n", "count", [1, 7])], "derived": []}, "n_7d"),
        ({"windowed": [windowed("n", "count", [7])], "derived": [derived("n_7d", "1")]}, "n_7d"),
        ({"derived": [derived("purchase_interval_days_mean", "1")]}, "purchase_interval_days_mean"),
        ({"derived": [derived("top_category_90d_1", "1")]}, "top_category_90d_1"),
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
    assert "windowed.0.windows" in refused(conf, windowed=[windowed("n", "count", [999_999])])
    assert "sequence.window_days" in refused(conf, sequence=last_events(window_days=999_999))
    assert "windowed.0.aggregate" in refused(conf, windowed=[windowed("n", "median", [7])])
    assert "unknown key" in refused(conf, windowed=[windowed("n", "count", [7], window=7)])


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (windowed("n", "count", [7], cap=64), "aggregate count takes no cap"),
        (windowed("n", "distinct", [7], value="category"), "aggregate distinct needs cap"),
        (windowed("n", "top", [7], value="category"), "aggregate top needs places"),
        (windowed("n", "top", ["lifetime"], value="category", places=1), "aggregate top over the lifetime needs cap"),
        (
            windowed("n", "count", [7, "lifetime"], by="category"),
            "aggregate count by category over the lifetime needs cap",
        ),
        (windowed("n", "sum", [7], value="price", by="category", cap=64), "aggregate sum by category takes no cap"),
        (windowed("n", "decayed_sum", [7], value="price"), "aggregate decayed_sum needs half_life_days"),
        (windowed("n", "decayed_sum", ["lifetime"], value="price", half_life_days=7), "not the lifetime"),
        (windowed("n", "count", [7], weights={"view": 2}), "aggregate count takes no weights"),
        (
            windowed("n", "top", [7], value="category", places=1, event_types=["view"], weights={"view": 1, "cart": 2}),
            "weights name cart, which event_types leave out",
        ),
        (windowed("n", "mean", [7], value="price", by="category"), "by names one column of an event"),
        (windowed("n", "count", [7], by="upper(category)"), "by names one column of an event"),
    ],
)
def test_what_an_aggregate_does_not_take(conf: Path, declared: dict[str, Any], said: str) -> None:
    assert said in refused(conf, windowed=[declared])


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (column("seq_item", "item_id") | {"gap": True}, "has either a value or gap: true"),
        (column("seq_item") | {"gap": False}, "has either a value or gap: true"),
        (column("seq_gap") | {"type": "string"}, "a gap is of type bigint"),
        (column("view_count_7d", "item_id"), "declares two columns named view_count_7d"),
        (column("last_event_time", "event_time"), "last_event_time is the name under which the events' times are kept"),
        (column("seq_item", "item_id", "date"), "sequence.columns.0.type"),
    ],
)
def test_wrong_columns_of_the_sequence(conf: Path, declared: dict[str, Any], said: str) -> None:
    assert said in refused(conf, sequence=last_events(columns=[declared]))


def test_a_sequence_of_no_columns(conf: Path) -> None:
    assert "sequence.columns" in refused(conf, sequence=last_events(columns=[]))


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("category = 'men''s' and price > 1", {"category", "and", "price"}),
        (r"category = 'men\'s' and price > 1", {"category", "and", "price"}),
        ("""category = "men's" and item_brand = "Levi's" and price > 1""", {"category", "and", "item_brand", "price"}),
        ("""category = 'a "size" and' and price > 1""", {"category", "and", "price"}),
    ],
)
def test_texts_name_no_columns_and_hide_none(expression: str, named: set[str]) -> None:
    assert words(expression) == named


def test_a_type_said_twice_is_one() -> None:
    assert event_condition(["view", "view"]) == event_condition(["view"]) == "event_type in ('view')"
    assert _by_type_bit("event_type in ('cart', 'cart')") == _by_type_bit("event_type in ('cart')")


def test_features_that_need_one_another(conf: Path) -> None:
    circle = [derived("a", "b + 1"), derived("b", "c * 2"), derived("c", "a")]
    assert "derived features need one another: " in refused(conf, derived=circle)


def test_derived_features_in_any_order() -> None:
    features = small_features(derived=[derived("c", "b + n_7d"), derived("b", "n_7d / 'a'"), derived("a", "1")])
    assert [[d.name for d in level] for level in features.derived_in_levels()] == [["b", "a"], ["c"]]


def test_generated_names() -> None:
    days, since = windowed("n", "count", [7, "lifetime"]), windowed("since", "days_since_last", [30, "lifetime"])
    seen = windowed("seen", "count", [7], by="category")
    best = windowed("best", "top", [90], value="item_id", places=2)
    gap = windowed("gap", "intervals", ["lifetime"])
    features = small_features(windowed=[days, since, seen, best, gap], derived=[])
    names = [name for f in features.windowed for window in f.windows for name in f.columns(window)]
    assert names == [
        "n_7d", "n_lifetime", "since_30d", "since", "seen_7d_by_category", "best_90d_1", "best_90d_2",
        "gap_mean", "gap_std", "gap_min", "gap_max",
    ]  # fmt: skip
