"""What ``--dry-run --sample`` shows; docs/new-source.md has a whole one."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from intent_spark.config.errors import UsageError
from intent_spark.events.job import IngestEvents
from intent_spark.lakehouse.job import JobContext, Plan
from intent_spark.pipeline.options import build_parser
from tests.events.test_ingest import line

WriteTill = Callable[..., Path]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("till")]


def sample(context: JobContext, path: Path, *words: str) -> Plan:
    options: Namespace = build_parser(IngestEvents()).parse_args(["--source", "till", "--input", str(path), *words])
    IngestEvents().check_options(options)
    return IngestEvents().plan(context, options)


def test_a_sample_looks_into_three_files_and_writes_nothing(context: JobContext, write_till: WriteTill) -> None:
    """The first rows of the first, the middle and the last."""
    for number in range(5):
        rows = [line(f"{number}-{n}", what="sale" if n else "pay") for n in range(60)]
        folder = write_till(f"{number}.csv", line(f"{number}-first", price="dear"), *rows).parent
    plan = sample(context, folder, "--dry-run", "--sample", "30")
    told = plan.report.split("\n\n")
    assert told[0] == "sample: 27 rows of 3 files: 21 fit (0 of them copies), 6 would be refused, 0 are left out"
    assert [block.splitlines()[0] for block in told[1:]] == [
        "as events:", "types that event_types does not name:", "would be refused:"
    ]  # fmt: skip
    shown = [row.split()[0] for row in told[1].splitlines()[3:]]
    assert shown == [*(f"0-{n}" for n in range(1, 8)), "2-1", "2-2", "2-3"]
    assert told[2].splitlines()[-1].split() == ["pay", "3"]
    refused = {row.split()[0]: row.split()[1] for row in told[3].splitlines()[3:]}
    assert refused == {"bad_price": "3", "unknown_event_type": "3"}
    assert "0-first" in told[3]
    assert [item.what for item in plan.items] == ["5 files"]
    assert not Path(context.lakehouse.root).exists()


def test_a_sample_is_for_a_dry_run(context: JobContext, write_till: WriteTill) -> None:
    with pytest.raises(UsageError, match="--sample only shows: use it with --dry-run"):
        sample(context, write_till("1.csv", line("a")), "--sample", "3")


def test_a_sample_of_nothing(context: JobContext, write_till: WriteTill) -> None:
    write_till("1.csv").write_text("")
    plan = sample(context, write_till("2.csv"), "--dry-run", "--sample", "9")
    assert plan.report == "sample: no rows in the files that were looked into"
