"""``simulate_events``: daily raw files of a shop whose purchase probabilities are known."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import ClassVar

from intent_spark.lakehouse.job import MISSING, Job, JobContext, Plan, PlanItem, iso_day, positive
from intent_spark.lakehouse.job_runs import Outcome
from intent_spark.simulation.simulate import simulate


class SimulateEvents(Job):
    """The simulated shop; the same arguments give the same events on any cluster."""

    name: ClassVar[str] = "simulate_events"
    description: ClassVar[str] = (
        "Write daily raw files of a simulated shop, and the true probabilities apart from them."
    )

    def add_options(self, parser: ArgumentParser) -> None:
        """Declare the job's own options."""
        parser.add_argument("--users", type=positive, required=True, help="customers")
        parser.add_argument("--days", type=positive, required=True, help="simulated days")
        parser.add_argument("--start-date", type=iso_day, required=True, help="the first of them")
        parser.add_argument("--seed", type=int, default=1, help="another seed is another shop (default: 1)")
        parser.add_argument("--output", required=True, help="folder for events/, users/, items/ and truth/")
        parser.add_argument("--format", choices=("jsonl", "csv", "parquet"), default="jsonl", help="default: jsonl")

    def plan(self, context: JobContext, options: Namespace) -> Plan:
        """One shop; whether its files are complete is found while making it."""
        what = f"{options.output}: {options.users} users, {options.days} days from {options.start_date}"
        return Plan([PlanItem(what, MISSING)])

    def run(self, context: JobContext, options: Namespace, plan: Plan) -> Outcome:
        """Make the files, or complete them."""
        made = simulate(
            context.spark, context.settings.simulation, options.users, options.days, options.start_date,
            options.seed, options.output, options.format,
        )  # fmt: skip
        faults = ", ".join(f"{name} {count}" for name, count in sorted(made.imperfections.items()))
        return Outcome(f"{made.events} events of {made.users} users in {made.rows} rows; {faults}", 0, made.rows)
