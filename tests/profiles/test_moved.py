"""What is told of a rebuilt snapshot: whoever moved, and by how much, from nothing too."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from intent_spark.profiles.late import Moved, moved
from tests.profiles.frames import small_features, windowed

FEATURES = small_features(
    windowed=[windowed("n", "count", [7]), windowed("dearest", "max", [7], value="price")], derived=[]
)
Rows = dict[str, tuple[int, int | None]]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"ann": (1, 500)}, {"ann": (1, 500)}, Moved(0, 0, "none")),
        ({"ann": (10, 500)}, {"ann": (15, 600)}, Moved(1, 2, "n_7d by 0.5")),
        ({"ann": (1, None), "bob": (2, 100)}, {"ann": (2, 700), "bob": (2, 100)}, Moved(1, 2, "dearest_7d by 700")),
        ({"ann": (1, 700)}, {"ann": (1, None)}, Moved(1, 1, "dearest_7d by 1")),
        ({"ann": (1, 500)}, {"ann": (1, 500), "eve": (3, None)}, Moved(1, 1, "n_7d by 3")),
    ],
)
def test_moved(spark: SparkSession, before: Rows, after: Rows, expected: Moved) -> None:
    old, new = (
        spark.createDataFrame(
            [(user, *row) for user, row in rows.items()], "user_id string, n_7d long, dearest_7d long"
        )
        for rows in (before, after)
    )
    assert moved(old, new, FEATURES) == expected
