"""Splits by time, a horizon apart."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_spark.config.errors import UsageError
from intent_spark.examples.splits import default_dates, split_dates

D = date(2026, 2, 1)


def later(days: int) -> date:
    return D + timedelta(days=days)


def test_splits_a_horizon_apart() -> None:
    found = split_dates([later(3), D, D], later(10), later(17), 7)
    assert found == {D: "train", later(3): "train", later(10): "validation", later(17): "test"}
    assert split_dates([D], later(7), None, 7) == {D: "train", later(7): "validation"}


@pytest.mark.parametrize(
    ("train", "validation", "test", "sentence"),
    [
        ([], later(7), None, "no training date"),
        (
            [D, later(1)],
            later(7),
            None,
            "train date 2026-02-02 and validation date 2026-02-08 are less than the horizon of 7",
        ),
        ([D], D, None, "move them to at least 2026-02-08"),
        ([later(30)], later(7), None, "train date 2026-03-03 and validation date 2026-02-08"),
        ([D], later(7), later(13), "validation date 2026-02-08 and test date 2026-02-14"),
        ([D], later(7), D, "validation date 2026-02-08 and test date 2026-02-01"),
    ],
)
def test_overlaps_are_refused(train: list[date], validation: date, test: date | None, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        split_dates(train, validation, test, 7)


def test_default_dates_of_the_docstring() -> None:
    train, validation = default_dates(date(2026, 3, 1), 7, 7, 2)
    assert (train, validation) == ([date(2026, 2, 8), date(2026, 2, 15)], date(2026, 2, 22))


@given(st.integers(1, 120), st.integers(1, 60), st.integers(1, 8))
def test_default_dates_never_overlap(horizon: int, step: int, count: int) -> None:
    """No label's window of one split shares a day with another's, and the last one has closed at as_of."""
    train, validation = default_dates(D, horizon, step, count)
    splits = split_dates(train, validation, None, horizon)
    assert len(splits) == count + 1
    assert max(train) + timedelta(days=horizon) <= validation
    assert validation + timedelta(days=horizon) == D
