"""Splits by time, a horizon apart."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intent_spark.config.errors import UsageError
from intent_spark.examples.splits import default_splits, split_dates

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


def test_a_refit_date_closes_before_validation_does() -> None:
    found = split_dates([D], later(10), later(17), 7, [later(5), later(9)])
    assert found == {D: "train", later(5): "refit", later(9): "refit", later(10): "validation", later(17): "test"}
    with pytest.raises(UsageError, match="refit date 2026-02-11 is not before validation date 2026-02-11"):
        split_dates([D], later(10), None, 7, [later(5), later(10)])


def test_default_dates_of_the_docstring() -> None:
    days = {"train": ["15", "12"], "refit": ["19", "16"], "validation": ["22"]}
    wanted = {date.fromisoformat(f"2026-02-{day}"): split for split, of in days.items() for day in of}
    assert default_splits(date(2026, 3, 1), D, 7, 3, 2) == wanted


def test_only_dates_with_a_history_train() -> None:
    found = default_splits(later(20), D, 7, 2, 8)
    assert sorted(day for day, split in found.items() if split == "train") == [later(2), later(4), later(6)]
    with pytest.raises(UsageError, match="leaves no training date after 2026-02-01"):
        default_splits(later(14), D, 7, 2, 8)


@given(st.integers(1, 120), st.one_of(st.none(), st.integers(1, 60)), st.integers(1, 8))
def test_default_dates_never_overlap(horizon: int, step: int | None, count: int) -> None:
    """No label's window of training shares a day with validation's, and none is open at as_of."""
    found = default_splits(D, date(2000, 1, 1), horizon, step, count)
    by_split = {split: [day for day in found if found[day] == split] for split in ("train", "refit", "validation")}
    [validation] = by_split["validation"]
    window = timedelta(days=horizon)
    assert len(by_split["train"]) == count
    assert max(by_split["train"]) + window <= validation
    assert validation + window == D == max(found) + window
    assert all(max(by_split["train"]) < day < validation for day in by_split["refit"])
    if step is None and horizon > 1:
        assert 1 <= len(by_split["refit"]) <= 6
