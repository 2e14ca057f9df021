from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from intent_spark.config.loading import conf_dir
from intent_spark.config.source import SourceMapping
from intent_spark.events.job import IngestEvents
from intent_spark.lakehouse.job import JobContext, execute
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.pipeline.options import build_parser

TILL = """
description: the till of a test
shop: {time_zone: Europe/London, currency: GBP, horizon_days: 7}
format: csv
text: {header: true}
daily_path: "{date}.csv"
event_types: {sale: purchase, look: view}
fields:
  event_id: id
  user_id: who
  event_type: what
  item_id: item
  quantity: quantity
  price: {value: price, currency: currency}
  event_time: {value: at, format: "yyyy-MM-dd HH:mm:ss", zone: Europe/London}
"""
HEADER = "id,who,what,item,quantity,price,currency,at"


def till_mapping(**changes: Any) -> SourceMapping:
    """The mapping above; ``changes`` replace fields of its ``fields``, ``shop`` or of itself."""
    import yaml

    tree = yaml.safe_load(TILL)
    for key, value in changes.items():
        tree[key] = tree[key] | value if isinstance(value, dict) and key in tree else value
    return SourceMapping.model_validate(tree)


@pytest.fixture(scope="session")
def make_mapping() -> Callable[..., SourceMapping]:
    return till_mapping


@pytest.fixture
def till(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source ``till`` beside the shipped ones; its file."""
    conf = tmp_path / "conf"
    shutil.copytree(conf_dir(), conf)
    monkeypatch.setenv("INTENT_SPARK_CONF", str(conf))
    file = conf / "sources" / "till.yaml"
    file.write_text(TILL)
    return file


@pytest.fixture
def ingest_into() -> Callable[..., Outcome]:
    """Run ``ingest_events`` on a path, into the warehouse of a context."""

    def run(context: JobContext, source: str, path: Path, *words: str) -> Outcome:
        job = IngestEvents()
        options: Namespace = build_parser(job).parse_args(["--source", source, "--input", str(path), *words])
        job.check_options(options)
        return execute(job, context, options)

    return run


@pytest.fixture
def ingest(context: JobContext, ingest_into: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Run ``ingest_events`` on a path."""

    def run(source: str, path: Path, *words: str) -> Outcome:
        return ingest_into(context, source, path, *words)

    return run


@pytest.fixture
def write_till(tmp_path: Path) -> Callable[..., Path]:
    """Write lines below the till's header into a file under ``raw``."""

    def write(name: str, *lines: str) -> Path:
        file = tmp_path / "raw" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join([HEADER, *lines]) + "\n")
        return file

    return write
