from __future__ import annotations

import logging
import re

import pytest

from intent_spark.config.log import LOGGER, configure_logging, step


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(LOGGER, "propagate", True)
    caplog.set_level(logging.INFO, logger=LOGGER.name)
    return caplog


def test_a_step_logs_one_line_with_its_counts(logged: pytest.LogCaptureFixture) -> None:
    with step("ingest.map", batch="b1") as counts:
        counts |= {"rows": 3, "share": 1 / 3, "note": "two words", "empty": ""}
    [line] = logged.messages
    assert re.fullmatch(
        r'step=ingest\.map batch=b1 rows=3 share=0\.333333 note="two words" empty="" seconds=\d+\.\d\d', line
    )


def test_a_failing_step_says_so_and_lets_the_error_through(logged: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError), step("ingest.map"):
        raise ZeroDivisionError
    [line] = logged.messages
    assert re.fullmatch(r"step=ingest\.map status=failed error=ZeroDivisionError seconds=\d+\.\d\d", line)


def test_configuring_twice_keeps_one_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("handlers", "level", "propagate"):
        monkeypatch.setattr(LOGGER, name, getattr(LOGGER, name) if name != "handlers" else [])
    configure_logging()
    configure_logging(logging.ERROR)
    assert len(LOGGER.handlers) == 1
    assert LOGGER.level == logging.ERROR
