"""What ``show_status`` tells a person of a warehouse."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from intent_spark.config.errors import UsageError
from intent_spark.events.quality_contract import DAY_FIGURES
from intent_spark.lakehouse.job import JobContext, execute
from intent_spark.lakehouse.job_runs import Outcome, record_run
from intent_spark.pipeline.options import build_parser
from intent_spark.pipeline.status import LAST_RUNS, ShowStatus


def show(context: JobContext) -> None:
    execute(ShowStatus(), context, build_parser(ShowStatus()).parse_args([]))


def test_an_empty_warehouse_is_refused_and_not_made(context: JobContext) -> None:
    with pytest.raises(UsageError, match=r"warehouse .* has no table 'job_runs'; run a job first\."):
        show(context)
    assert not Path(context.lakehouse.root).exists()


def test_rows_days_and_holes_of_each_table_and_the_last_runs(
    context: JobContext, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = context.spark.createDataFrame(
        [("ann", date(2026, 3, day)) for day in (1, 1, 1, 2, 6, 6)], "user_id string, event_date date"
    )
    rows.write.format("delta").partitionBy("event_date").save(context.lakehouse.path("events"))
    context.lakehouse.drop("events", "event_date", [date(2026, 3, 2)])
    now = datetime(2026, 3, 7, tzinfo=UTC)
    figures = [
        {"event_date": date(2026, 3, day), "source": source, "batch_id": "b", "events_version": 1, "measured_at": now}
        for day in (1, 6) for source in ("shop", "till")
    ]  # fmt: skip
    context.lakehouse.append_rows(figures, DAY_FIGURES)
    for minute in range(LAST_RUNS + 2):
        started = datetime(2026, 3, 7, 8, minute, tzinfo=UTC)
        record_run(context.lakehouse, f"job_{minute}", {}, started, Outcome("done"))
    show(context)
    shown = capsys.readouterr().out
    told = {line.split()[0]: line.split() for line in shown.splitlines() if line}
    assert told["events"][1:6] == ["1", "5", "2", "2026-03-01", "2026-03-06"]
    assert "2026-03-02, 2026-03-03, 2026-03-04 and 1 more" in shown
    assert told["day_figures"][1:6] == ["1", "4", "2", "2026-03-01", "2026-03-06"]
    runs = re.findall(r"2026-03-07 (08:\d\d) +(job_\d+) +succeeded", shown)
    assert runs == [(f"08:{n:02}", f"job_{n}") for n in reversed(range(2, LAST_RUNS + 2))]
    assert shown.rstrip().endswith("live model: none")
