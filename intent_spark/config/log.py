"""Structured logging: one ``key=value`` line per step, with its counts and seconds."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOGGER = logging.getLogger("intent_spark")


def configure_logging(level: int = logging.INFO) -> None:
    """Send the package's log to standard error, one line a record, in UTC."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level)
    LOGGER.propagate = False


@contextmanager
def step(name: str, **context: Any) -> Iterator[dict[str, Any]]:
    """Time a step; what the body puts into the yielded dictionary is logged with it, once, at its end.

    Example: ``with step("build_profiles.user_days", day=day) as counts: counts["rows"] = 10``
    """
    counts: dict[str, Any] = {}
    started = time.monotonic()
    try:
        yield counts
    except BaseException as error:
        LOGGER.error(_line(name, context | counts, started, "failed", type(error).__name__))
        raise
    LOGGER.info(_line(name, context | counts, started))


def _line(name: str, fields: dict[str, Any], started: float, status: str = "", error: str = "") -> str:
    pairs = [f"step={name}", *(f"{key}={_quoted(value)}" for key, value in fields.items())]
    if status:
        pairs += [f"status={status}", f"error={error}"]
    return " ".join([*pairs, f"seconds={time.monotonic() - started:.2f}"])


def _quoted(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f'"{text}"' if " " in text or text == "" else text
