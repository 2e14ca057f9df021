"""Which snapshots train, which validate, which test: by time, a horizon apart."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from intent_spark.config.errors import UsageError

TRAIN, VALIDATION, TEST = "train", "validation", "test"


def split_dates(train: Iterable[date], validation: date, test: date | None, horizon_days: int) -> dict[date, str]:
    """The split of each date.

    With a horizon of 7 days, train 2026-02-01 and validation 2026-02-08 do not share a day of any label's window.

    Raises:
        UsageError: two splits are less than a horizon apart, or out of order.
    """
    horizon = timedelta(days=horizon_days)
    train_dates = sorted(set(train))
    if not train_dates:
        raise UsageError("no training date: give --train-as-of at least once.")
    if train_dates[-1] + horizon > validation:
        raise UsageError(_too_close(TRAIN, train_dates[-1], VALIDATION, validation, horizon_days))
    if test is not None and validation + horizon > test:
        raise UsageError(_too_close(VALIDATION, validation, TEST, test, horizon_days))
    splits = {day: TRAIN for day in train_dates} | {validation: VALIDATION}
    return splits | ({test: TEST} if test is not None else {})


def _too_close(early: str, first: date, late: str, second: date, horizon_days: int) -> str:
    return (
        f"{early} date {first} and {late} date {second} are less than the horizon of {horizon_days} days apart, so "
        f"their labels overlap; move them to at least {first + timedelta(days=horizon_days)}."
    )


def default_dates(as_of: date, horizon_days: int, step_days: int, train_dates: int) -> tuple[list[date], date]:
    """Training dates and the validation date for a model that is to score ``as_of``.

    The validation label has just matured at ``as_of``. With as_of 2026-03-01, a horizon and step of 7 and 2 dates:
    validation 2026-02-22, train 2026-02-08 and 2026-02-15.
    """
    validation = as_of - timedelta(days=horizon_days)
    newest = validation - timedelta(days=horizon_days)
    return sorted(newest - timedelta(days=step_days * n) for n in range(train_dates)), validation
