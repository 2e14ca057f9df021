from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, ClassVar

import pytest

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.dimensions.contract import ITEMS
from intent_spark.events.contract import EVENTS
from intent_spark.lakehouse.job import (
    MISSING,
    STALE,
    THERE,
    Job,
    JobContext,
    Plan,
    PlanItem,
    day_range,
    execute,
    iso_day,
)
from intent_spark.lakehouse.job_runs import JOB_RUNS, Cost, Outcome, code_version, last_costs, record_run


class Sell(Job):
    """A job that does what the test says."""

    name: ClassVar[str] = "sell"
    description: ClassVar[str] = "Sell."

    def __init__(self, state: str = MISSING, act: Callable[[], Any] = lambda: None) -> None:
        self.state, self.act = state, act

    def add_options(self, parser: ArgumentParser) -> None:
        """None."""

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """One item."""
        return Plan([PlanItem("sales of a day", self.state)])

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Do it."""
        self.act()
        return Outcome("sold", rows_in=3, rows_out=2, inputs={"items": 4})


OPTIONS = Namespace(as_of=date(2026, 3, 1), source="shop", nothing=None)


def runs(context: JobContext) -> list[dict[str, Any]]:
    return [row.asDict() for row in context.lakehouse.read("job_runs").orderBy("started_at").collect()]


def failing(error: BaseException) -> Sell:
    def act() -> None:
        raise error

    return Sell(act=act)


def test_success_is_recorded(context: JobContext) -> None:
    outcome = execute(Sell(), context, OPTIONS)
    [run] = runs(context)
    assert outcome == Outcome("sold", 3, 2, {"items": 4})
    assert (run["job"], run["status"], run["message"]) == ("sell", "succeeded", "sold")
    assert (run["rows_in"], run["rows_out"], run["input_versions"]) == (3, 2, {"items": 4})
    assert json.loads(run["arguments"]) == {"as_of": "2026-03-01", "source": "shop"}
    assert run["seconds"] > 0
    assert run["code_version"] == code_version()


def test_what_the_last_runs_cost_is_known_newest_first(context: JobContext) -> None:
    """Also where the first run was of a version that did not keep it, and another job ran between."""
    older = replace(JOB_RUNS, columns=tuple(c for c in JOB_RUNS.columns if c.name != "costs"))
    assert last_costs(context.lakehouse, "sell") == []
    values = dict.fromkeys([column.name for column in older.columns])
    context.lakehouse.append_rows([values | {"job": "sell", "started_at": datetime(2026, 3, 1, tzinfo=UTC)}], older)
    assert last_costs(context.lakehouse, "sell") == []
    days, roll, merge = Cost("days", 10, 1.0), Cost("roll", 20, 2.0), Cost("merge", 20, 3.0)
    for day, job, costs in ((2, "sell", [days, roll]), (4, "sell", [days, merge]), (3, "buy", [roll])):
        record_run(context.lakehouse, job, {}, datetime(2026, 3, day, tzinfo=UTC), Outcome(costs=costs))
    assert last_costs(context.lakehouse, "sell") == [days, merge, days, roll]


def test_nothing_to_do_is_recorded_and_not_run(context: JobContext) -> None:
    outcome = execute(Sell(THERE, act=lambda: pytest.fail("must not run")), context, OPTIONS)
    [run] = runs(context)
    assert outcome.status == run["status"] == "nothing_to_do"
    assert run["message"] == "nothing to do: 1 wanted, all there"
    assert execute(Sell(STALE), context, OPTIONS).status == "succeeded"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ContractError("no"), "refused"),
        (RuntimeError("broke\nin two lines"), "failed"),
        (KeyboardInterrupt("stopped"), "failed"),
    ],
)
def test_failures_are_recorded_and_raised(context: JobContext, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)):
        execute(failing(error), context, OPTIONS)
    [run] = runs(context)
    assert run["status"] == status
    assert run["message"] == f"{type(error).__name__}: {error}"


def test_wrong_usage_is_recorded_only_in_a_warehouse_that_exists(context: JobContext) -> None:
    with pytest.raises(UsageError):
        execute(failing(UsageError("typo")), context, OPTIONS)
    assert not context.lakehouse.exists("job_runs")
    context.lakehouse.create(EVENTS)
    with pytest.raises(UsageError):
        execute(failing(UsageError("typo")), context, OPTIONS)
    assert [run["status"] for run in runs(context)] == ["usage"]


def test_a_ledger_that_cannot_be_written_does_not_hide_the_first_error(context: JobContext) -> None:
    context.lakehouse.create(ITEMS)
    blocked = JobContext(context.settings, context.spark, context.lakehouse)
    blocked.lakehouse.root = "/dev/null/warehouse"
    with pytest.raises(RuntimeError, match="the first"):
        execute(failing(RuntimeError("the first")), blocked, OPTIONS)


def test_plan_lines_are_aligned() -> None:
    plan = Plan([PlanItem("a", MISSING, "new"), PlanItem("long name", THERE)])
    assert plan.lines() == ["missing  a          new", "there    long name"]
    assert [item.what for item in plan.todo] == ["a"]


def test_iso_day() -> None:
    assert iso_day("2026-03-31") == date(2026, 3, 31)
    for text in ("2026-02-30", "31.3.2026", "today", "", "2026-03-31T00:00"):
        with pytest.raises(UsageError, match=f"'{text}' is not a day; write it as 2026-03-31"):
            iso_day(text)


def test_day_range_is_half_open() -> None:
    first, end = date(2026, 2, 27), date(2026, 3, 2)
    assert day_range(first, end) == [first, date(2026, 2, 28), date(2026, 3, 1)]
    assert day_range(first, end, 2) == [first, date(2026, 3, 1)]
    for reversed_end in (first, date(2026, 2, 1)):
        with pytest.raises(UsageError, match="is not before --end-date"):
            day_range(first, reversed_end)
