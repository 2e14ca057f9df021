"""docs/new-source.md, followed word for word."""

from __future__ import annotations

import re
import shlex
import shutil
import textwrap
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from intent_spark.config.log import LOGGER
from intent_spark.events.job import IngestEvents
from intent_spark.pipeline import cli

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def blocks() -> list[tuple[str, str]]:
    """The page's fenced blocks in order, as (language, text)."""
    page = (ROOT / "docs" / "new-source.md").read_text(encoding="utf-8")
    found = re.findall(r"^ *```(\w+)\n(.*?)^ *```$", page, flags=re.MULTILINE | re.DOTALL)
    return [(language, textwrap.dedent(text)) for language, text in found]


def test_the_page_word_for_word(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "configure_logging", lambda: None)
    monkeypatch.setattr(LOGGER, "propagate", True)
    monkeypatch.setenv("INTENT_SPARK_CONF", str(tmp_path / "conf"))
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    mapping = tmp_path / "conf" / "sources" / "corner_shop.yaml"
    (tmp_path / "raw").mkdir()
    shown, done = "", []
    caplog.set_level("INFO", logger=LOGGER.name)
    for language, text in blocks():
        done.append(language)
        if language == "csv":
            (tmp_path / "raw" / "receipts-2026-03-01.csv").write_text(text)
        elif language == "yaml" and mapping.exists():
            mapping.write_text(re.sub(r"^event_types: .*\n", text, mapping.read_text(), flags=re.MULTILINE))
        elif language == "yaml":
            mapping.write_text(text)
        elif language == "sh":
            caplog.clear()
            shown = run(text, capsys)
        elif language == "text":
            assert shown.strip() == text.strip()
        elif language == "log":
            said = caplog.records[-1].getMessage()
            assert re.sub(r"batch \w{16}:", "batch …:", said) == text.strip()
    assert done == ["csv", "yaml", "sh", "text", "sh", "log", "yaml", "sh", "log"]


def run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    launcher, job, *words = shlex.split(command)
    assert (launcher, job) == ("./spark-submit.sh", "ingest_events")
    # The tests' Java was started elsewhere: to it "raw" would be another folder.
    words = [str(Path.cwd() / word) if word == "raw" else word for word in words]
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        cli.main(IngestEvents(), words)
    shown, told = capsys.readouterr()
    assert left.value.code == 0, told
    return shown
