"""Which snapshots train, which validate, which test: by time, a horizon apart.

Dates between the last training date and validation look at days that validation looks at too. They are of no use for
choosing a model, but a model that has been chosen is fitted again on them all: split ``refit``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from intent_spark.config.errors import UsageError

TRAIN, REFIT, VALIDATION, TEST = "train", "refit", "validation", "test"


def split_dates(
    train: Iterable[date], validation: date, test: date | None, horizon_days: int, refit: Iterable[date] = ()
) -> dict[date, str]:
    """The split of each date.

    With a horizon of 7 days, train 2026-02-01 and validation 2026-02-08 do not share a day of any label's window.

    Raises:
        UsageError: two splits are less than a horizon apart, or out of order; a refit date is not before validation.
    """
    horizon = timedelta(days=horizon_days)
    train_dates = sorted(set(train))
    if not train_dates:
        raise UsageError("no training date: give --train-as-of at least once.")
    if train_dates[-1] + horizon > validation:
        raise UsageError(_too_close(TRAIN, train_dates[-1], VALIDATION, validation, horizon_days))
    if test is not None and validation + horizon > test:
        raise UsageError(_too_close(VALIDATION, validation, TEST, test, horizon_days))
    later = [day for day in refit if day >= validation]
    if later:
        # A window that closes after validation's could reach into the test window, or past what is scored.
        raise UsageError(f"{REFIT} date {min(later)} is not before validation date {validation}; take an earlier one.")
    splits = {day: REFIT for day in refit} | {day: TRAIN for day in train_dates} | {validation: VALIDATION}
    return splits | ({test: TEST} if test is not None else {})


def _too_close(early: str, first: date, late: str, second: date, horizon_days: int) -> str:
    return (
        f"{early} date {first} and {late} date {second} are less than the horizon of {horizon_days} days apart, so "
        f"their labels overlap; move them to at least {first + timedelta(days=horizon_days)}."
    )


def default_splits(as_of: date, first: date, horizon_days: int, step_days: int | None, count: int) -> dict[date, str]:
    """The dates of a model that is to score ``as_of``, none before the day after ``first``, the first with events.

    The validation label has just matured at ``as_of``. Training dates go back from a horizon before validation, refit
    dates lie between; both are ``step_days`` apart (a quarter of the horizon if not said). With as_of 2026-03-01, a
    horizon of 7, a step of 3 and 2 dates: validation 2026-02-22, refit 02-19 and 02-16, train 02-15 and 02-12.

    Raises:
        UsageError: no training date is left after ``first``.
    """
    step = timedelta(days=step_days or max(1, round(horizon_days / 4)))
    validation = as_of - timedelta(days=horizon_days)
    newest = validation - timedelta(days=horizon_days)
    train = [day for n in range(count) if (day := newest - n * step) > first]
    if not train:
        raise UsageError(f"--as-of {as_of} leaves no training date after {first}; ingest earlier days or move it.")
    between = [day for n in range(1, horizon_days) if (day := validation - n * step) > newest]
    return split_dates(train, validation, None, horizon_days, between)
