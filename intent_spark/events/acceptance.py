"""``ingest_events --accept-gate DAY:GATE --by NAME``: somebody lets a day pass that failed a gate, by name."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from intent_spark.events.quality import accept, wanted_acceptances
from intent_spark.lakehouse.job import MISSING, JobContext, Plan, PlanItem
from intent_spark.lakehouse.job_runs import Outcome


def add_acceptance_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--accept-gate", action="append", metavar="DAY:GATE",
        help="let a day pass that failed this gate, as 2026-04-01:low_volume; repeatable; reads no input",
    )  # fmt: skip
    parser.add_argument("--by", metavar="NAME", help="who accepts it; it is recorded")
    parser.add_argument("--because", metavar="TEXT", help="why")


def plan_acceptance(context: JobContext, options: Namespace) -> Plan:
    """The failed gates that are named.

    Raises:
        UsageError: no such gate waits.
    """
    gates = wanted_acceptances(context.lakehouse, options.accept_gate)
    items = [PlanItem(f"acceptance of {gate.describe()}", MISSING, f"by {options.by}") for gate in gates]
    return Plan(items, {"gates": gates})


def run_acceptance(context: JobContext, options: Namespace, plan: Plan) -> Outcome:
    """Record it."""
    gates = plan.inputs["gates"]
    accept(context, gates, options.by, options.because)
    told = "; ".join(gate.describe() for gate in gates)
    return Outcome(f"{options.by} accepted {told}", len(gates), len(gates))
