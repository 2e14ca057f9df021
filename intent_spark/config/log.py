"""Structured logging: one ``key=value`` line per step, with its counts and seconds."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOGGER = logging.getLogger("intent_spark")
# Set by the launcher where a person watches.
TERMINAL = "INTENT_SPARK_TERMINAL"
BAR_SECONDS, LINE_SECONDS, BAR_WIDTH = 0.5, 5.0, 50
CLEAR_LINE = "\r\x1b[K"


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


class Progress:
    """How far a long loop is: a bar that moves on a terminal, else a line of the log every few seconds."""

    def __init__(self, name: str, **context: Any) -> None:
        self._name, self._context = name, context
        self._bar = bool(os.environ.get(TERMINAL))
        self._told = time.monotonic()

    def update(self, done: int, total: int, **figures: Any) -> None:
        """Tell that ``done`` of ``total`` steps are behind us, and the figures, if it is time to."""
        now = time.monotonic()
        if now - self._told < (BAR_SECONDS if self._bar else LINE_SECONDS):
            return
        self._told = now
        fields = " ".join(f"{key}={value}" for key, value in self._context.items())
        told = "".join(f" {key}={value:.6g}" for key, value in figures.items())
        if self._bar:
            filled = BAR_WIDTH * done // total
            drawn = "=" * filled + " " * (BAR_WIDTH - filled)
            sys.stderr.write(f"{CLEAR_LINE}{self._name} {fields} [{drawn}] {100 * done // total}%{told}")
            sys.stderr.flush()
        else:
            LOGGER.info("step=%s.progress %s done=%d%%%s", self._name, fields, 100 * done // total, told)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar:
            sys.stderr.write(CLEAR_LINE)
            sys.stderr.flush()


def _line(name: str, fields: dict[str, Any], started: float, status: str = "", error: str = "") -> str:
    pairs = [f"step={name}", *(f"{key}={_quoted(value)}" for key, value in fields.items())]
    if status:
        pairs += [f"status={status}", f"error={error}"]
    return " ".join([*pairs, f"seconds={time.monotonic() - started:.2f}"])


def _quoted(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return f'"{text}"' if " " in text or text == "" else text
