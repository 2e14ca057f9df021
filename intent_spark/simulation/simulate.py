"""The simulation as a whole: blocks spread over Spark's tasks, and a manifest of what was made."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from intent_spark.config.errors import UsageError
from intent_spark.config.log import step
from intent_spark.config.simulation import FileFormat, SimulationConfig
from intent_spark.simulation.block import write_block
from intent_spark.simulation.chunk import Shop, ShopPlan
from intent_spark.simulation.day_files import write_snapshot
from intent_spark.simulation.imperfections import Fault

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MANIFEST = "manifest.json"
_RESULT_SCHEMA = "block long, counts string"
_MOST_USERS = 900_000_000
_MOST_DAYS = 800  # a task keeps one file per delivery day open, and 1,024 is the usual limit


@dataclass(frozen=True)
class SimulationSummary:
    """What a simulation made; the same as its ``manifest.json``.

    ``events`` are the true ones, ``rows`` all delivered rows. ``imperfections`` counts rows by fault, and
    ``bots`` and ``bot_events``. Once every file is read: accepted = events, duplicates = duplicate + resent,
    quarantined = malformed + missing_user + unknown_type + clock_skew. ``base_rate`` is the share of users
    who bought within the horizon, over all as_of dates whose horizon lies within the simulated days.
    """

    status: str
    arguments: dict[str, Any]
    users: int
    items: int
    events: int
    rows: int
    events_by_type: dict[str, int]
    imperfections: dict[str, int]
    truth: dict[str, Any]
    base_rate: float | None
    first_delivery: str | None
    last_delivery: str | None


def simulate(
    spark: SparkSession,
    config: SimulationConfig,
    users: int,
    days: int,
    start_date: date,
    seed: int,
    output: str | Path,
    file_format: FileFormat,
    blocks: int | None = None,
) -> SimulationSummary:
    """Write a simulated shop's raw files, its truth apart from them, and ``manifest.json``.

    ``output`` is a folder that the driver and all executors see under the same path. The events depend on
    the arguments alone; ``blocks`` only says into how many files each day is cut. A folder that already holds
    this very shop is left as it is; one whose making was cut short is completed.
    Raises ``UsageError`` if the arguments make no shop, or ``output`` holds something else.
    """
    plan = ShopPlan(config, users, days, start_date, seed, file_format)
    _check_plan(plan)
    cuts = block_chunks(plan, blocks)
    root = Path(output).absolute()
    arguments = _arguments(plan, len(cuts))
    finished = _claim(root, arguments)
    if finished is not None:
        return finished
    with step("simulate_events", users=users, days=days, format=file_format) as counts:
        catalogue = Shop(plan).catalogue
        items = catalogue.table(config.currency)
        write_snapshot(root / "items" / f"snapshot.{file_format}", items, file_format)
        made = _run_blocks(spark, plan, cuts, root)
        counts.update({name: made[name] for name in ("users", "events", "rows")})
    summary = _summary(plan, arguments, made, len(catalogue.ids), root)
    _write_manifest(root, asdict(summary))
    return summary


def block_chunks(plan: ShopPlan, blocks: int | None = None) -> list[list[int]]:
    """The chunks of each block, people and bots spread evenly; independent of the cluster unless told."""
    if blocks is None:
        blocks = max(plan.config.minimum_blocks, -(-plan.people_chunks // plan.config.chunks_per_block))
    count = max(1, min(blocks, plan.people_chunks))
    edges = [plan.people_chunks * place // count for place in range(count + 1)]
    people = [list(range(begin, end)) for begin, end in pairwise(edges)]
    bots = [list(range(plan.people_chunks + place, plan.chunks, count)) for place in range(count)]
    return [chunks + extra for chunks, extra in zip(people, bots, strict=True)]


def read_manifest(output: str | Path) -> SimulationSummary:
    """The summary of the shop in this folder; raises ``UsageError`` where there is none or half of one."""
    path = Path(output) / MANIFEST
    if not path.is_file():
        raise UsageError(f"{output} holds no simulated shop (no {MANIFEST}): run simulate_events first")
    content = json.loads(path.read_text())
    if content["status"] != "done":
        raise UsageError(f"the simulated shop in {output} is unfinished: run the same simulate_events again")
    return SimulationSummary(**content)


def _check_plan(plan: ShopPlan) -> None:
    if not 1 <= plan.users <= _MOST_USERS:
        raise UsageError(f"--users must be between 1 and {_MOST_USERS}, found {plan.users}")
    if not 1 <= plan.days <= _MOST_DAYS:
        raise UsageError(f"--days must be between 1 and {_MOST_DAYS}, found {plan.days}")
    if not 0 <= plan.seed < 2**63:
        raise UsageError(f"--seed must be between 0 and 2^63 - 1, found {plan.seed}")
    if plan.file_format not in ("jsonl", "csv", "parquet"):
        raise UsageError(f"--format must be jsonl, csv or parquet, found {plan.file_format!r}")
    if not 1971 <= plan.start_date.year <= 2200:
        raise UsageError(f"--start-date must lie in the years 1971 to 2200, found {plan.start_date}")


def _arguments(plan: ShopPlan, blocks: int) -> dict[str, Any]:
    definition = plan.config.model_dump_json()
    return {
        "users": plan.users,
        "days": plan.days,
        "start_date": plan.start_date.isoformat(),
        "seed": plan.seed,
        "format": plan.file_format,
        "blocks": blocks,
        "time_zone": plan.config.time_zone,
        "configuration_sha256": hashlib.sha256(definition.encode()).hexdigest(),
    }


def _claim(root: Path, arguments: dict[str, Any]) -> SimulationSummary | None:
    """Take the folder for these arguments, or return what it already holds of them."""
    path = root / MANIFEST
    if not path.is_file():
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise UsageError(f"{root} holds no simulated shop but other files: choose another --output")
        _write_manifest(root, {"status": "unfinished", "arguments": arguments})
        return None
    held = json.loads(path.read_text())
    if held["arguments"] != arguments:
        differing = {key: value for key, value in held["arguments"].items() if arguments.get(key) != value}
        other = ", ".join(f"{key} {value}" for key, value in differing.items())
        raise UsageError(f"{root} holds another simulated shop ({other}): choose another --output")
    return SimulationSummary(**held) if held["status"] == "done" else None


def _write_manifest(root: Path, content: dict[str, Any]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    unfinished = root / f".{MANIFEST}.tmp"
    unfinished.write_text(json.dumps(content, indent=2) + "\n")
    unfinished.replace(root / MANIFEST)


def _run_blocks(spark: SparkSession, plan: ShopPlan, cuts: list[list[int]], root: Path) -> Counter[str]:
    blocks = spark.range(0, len(cuts), 1, numPartitions=len(cuts))
    results = blocks.mapInArrow(_block_task(plan, cuts, root), _RESULT_SCHEMA).collect()
    made: Counter[str] = Counter()
    for result in results:
        made.update(json.loads(result["counts"]))
    return made


def _block_task(
    plan: ShopPlan, cuts: list[list[int]], root: Path
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        shop = Shop(plan)
        for batch in batches:
            for block in batch.column(0).to_pylist():
                counts = write_block(shop, block, cuts[block], root)
                yield pa.RecordBatch.from_pydict({"block": [block], "counts": [json.dumps(counts)]})

    return run


def _summary(
    plan: ShopPlan, arguments: dict[str, Any], made: Counter[str], items: int, root: Path
) -> SimulationSummary:
    delivered = sorted(path.name.removeprefix("date=") for path in (root / "events").glob("date=*"))
    faults = [fault.name.lower() for fault in Fault if fault]
    return SimulationSummary(
        status="done",
        arguments=arguments,
        users=made["users"],
        items=items,
        events=made["events"],
        rows=made["rows"],
        events_by_type=_named(made, "type."),
        imperfections={fault: made[f"fault.{fault}"] for fault in faults}
        | {"bots": made["bots"], "bot_events": made["bot_events"]},
        truth={"path": "truth", "horizon_days": plan.config.truth.horizon_days, "rows": made["truth_rows"]},
        base_rate=made["purchased"] / made["matured"] if made["matured"] else None,
        first_delivery=delivered[0] if delivered else None,
        last_delivery=delivered[-1] if delivered else None,
    )


def _named(made: Counter[str], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in made.items() if name.startswith(prefix)}
