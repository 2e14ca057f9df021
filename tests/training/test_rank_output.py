"""What the ranks write, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from intent_spark.training.launch import RankOutput

LINES = [
    "[0]<stderr>:2026-03-01T00:00:00Z INFO step=train_intent.progress epoch=2 done=40%\n",
    "[0]<stderr>:2026-03-01T00:00:05Z INFO step=train_intent.progress epoch=2 done=100%\n",
    "[1]<stdout>:another line\n",
]


class Screen(io.StringIO):
    """A stream that may say it is a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def shown(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    screen = Screen(terminal)
    monkeypatch.setattr("sys.stderr", screen)
    output = RankOutput()
    for line in LINES:
        output.write(line)
    return screen.getvalue()


def test_in_a_file_every_step_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(False, monkeypatch) == "".join(line.split(">:", 1)[1] for line in LINES)


def test_on_a_terminal_progress_is_a_bar_that_the_next_line_wipes(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, line = shown(True, monkeypatch).split("\r\x1b[K")
    assert first == f"[{'=' * 20}{' ' * 30}] epoch 2, 40 %"
    assert second == f"[{'=' * 50}] epoch 2, 100 %"
    assert line == "another line\n"
