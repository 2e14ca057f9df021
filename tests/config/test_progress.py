"""Progress on a terminal and elsewhere."""

from __future__ import annotations

import itertools
import logging

import pytest

from intent_spark.config.log import CLEAR_LINE, LOGGER, TERMINAL, Progress


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count(100.0, 2.0)
    monkeypatch.setattr("intent_spark.config.log.time.monotonic", lambda: next(ticks))


def run() -> None:
    progress = Progress("train_intent", epoch=2)
    for done in range(5):
        progress.update(done, 5)
    progress.close()


def test_a_line_every_five_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(TERMINAL, raising=False)
    monkeypatch.setattr(LOGGER, "propagate", True)
    monkeypatch.setattr(LOGGER, "handlers", [])  # a job that ran in this process left one
    with caplog.at_level(logging.INFO, logger="intent_spark"):
        run()
    assert [r.getMessage() for r in caplog.records] == ["step=train_intent.progress epoch=2 done=40%"]
    assert capsys.readouterr().err == ""


def test_a_bar_that_moves_and_goes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(TERMINAL, "1")
    run()
    first, *drawn, last = capsys.readouterr().err.split(CLEAR_LINE)
    assert (first, last) == ("", "")
    assert len(drawn) == 5
    assert drawn[2] == f"train_intent epoch=2 [{'=' * 20}{' ' * 30}] 40%"
