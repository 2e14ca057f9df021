"""Who or what is not in a dimension has the declared defaults, and only they."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from intent_spark.config.features import UserFeature
from intent_spark.profiles.items import ITEM_COLUMNS, ROWS, EventFrames, no_items, with_items, without_known_item
from intent_spark.profiles.profile import with_user_features
from tests.profiles.frames import at, events_frame, small_features
from tests.profiles.naive_oracle import Event

AS_OF = date(2026, 3, 5)


def attribute(name: str, role: str, default: Any) -> dict[str, Any]:
    return {
        "name": name,
        "expression": name,
        "role": role,
        "default": default,
        "unit": "",
        "description": "",
        "owner": "",
    }


def test_a_user_who_is_not_known_is_not_one_who_did_not_say(spark: SparkSession) -> None:
    declared = [attribute("age", "numeric", -1), attribute("gender", "categorical", "nobody knows"), attribute("tier", "categorical", None)]  # fmt: skip
    features = small_features(user=declared)
    profiles = spark.createDataFrame([("ann",), ("bob",)], "user_id string")
    users = spark.createDataFrame([("ann", 30, None, "1")], "user_id string, age int, gender string, tier string")
    found = {row["user_id"]: row[1:] for row in with_user_features(profiles, users, features, AS_OF).collect()}
    assert found == {"ann": (30.0, None, "1"), "bob": (-1.0, "nobody knows", None)}
    nobody = with_user_features(profiles, None, features, AS_OF).collect()
    assert {row[1:] for row in nobody} == {(-1.0, "nobody knows", None)}


def test_an_item_that_is_not_known_on_the_day(spark: SparkSession) -> None:
    items = spark.createDataFrame(
        [("i", date(2026, 3, 1), date(2026, 3, 4), None, "t", 5, "c")],
        ROWS,
    )
    events = [Event("u", f"{n}", "view", at(f"2026-03-0{n}"), "c", item) for n, item in ((3, "i"), (4, "i"), (5, None))]
    frame = events_frame(spark, events, "UTC")
    described = with_items(
        frame, items, [date(2026, 3, 3), date(2026, 3, 5)], {"item_brand": "unknown", "item_list_price": 0}
    )
    found = {
        row["event_id"]: (row["item_brand"], row["item_list_price"], row["item_title"]) for row in described.collect()
    }
    assert found == {"3": (None, 5, "t"), "4": ("unknown", 0, None), "5": (None, None, None)}
    assert [row["event_id"] for row in without_known_item(frame, items).collect()] == ["4"]
    # A warehouse whose first batch has not come in yet has no days: nothing is known, and nothing fails.
    nothing = with_items(frame, items, []).select("item_list_price", "item_price_level").collect()
    assert [tuple(row) for row in nothing] == [(None, None)] * 3


def test_only_what_reads_an_item_looks_for_it(spark: SparkSession) -> None:
    bare = events_frame(spark, [Event("u", "e", "view", at("2026-03-03"))], "UTC")
    frames = EventFrames(with_items(bare, no_items(spark), [date(2026, 3, 3)]), bare)
    assert frames.reading(["price * quantity", "item_id = 'item_brand'"]) is bare
    assert frames.reading(["price", "if(ITEM_BRAND is null, 1, 0)"]) is frames.described
    assert set(frames.where(F.col("price") > 0).described.columns).issuperset(ITEM_COLUMNS)
    assert not ITEM_COLUMNS & set(frames.where(F.col("price") > 0).bare.columns)


@pytest.mark.parametrize(("role", "default"), [("numeric", "none"), ("categorical", 3)])
def test_a_default_of_another_type_is_refused(role: str, default: Any) -> None:
    with pytest.raises(ValidationError, match=f"role {role} does not fit default"):
        UserFeature.model_validate(attribute("age", role, default))


def test_an_unknown_items_columns_are_of_their_types() -> None:
    with pytest.raises(ValidationError, match="unknown item's item_list_price the value 'dear'"):
        small_features(unknown_item={"item_list_price": "dear"})
    with pytest.raises(ValidationError, match="unknown item's item_brand the value 3"):
        small_features(unknown_item={"item_brand": 3})
    with pytest.raises(ValidationError, match="unknown item's item_price_level the value 3000000000, which is out of"):
        small_features(unknown_item={"item_price_level": 3_000_000_000})
