"""One rank of a training, from its task to its result in the scratch folder on the shared store."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import traceback
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from intent_spark.config.errors import EXIT_DONE, ContractError
from intent_spark.config.leaving import leave
from intent_spark.config.log import configure_logging, step
from intent_spark.config.model import BLEND
from intent_spark.models.candidates import BLEND_FILE
from intent_spark.training.bootstrap import end_with_parent
from intent_spark.training.checkpoint import CHECKPOINTS, Checkpoints, Keeper
from intent_spark.training.collective import Collective, HorovodRanks, OneRank
from intent_spark.training.feed import ExampleTable, SplitRows
from intent_spark.training.fitting import FitData, Fitted, fit_candidate, log_left_out, without_impossible
from intent_spark.training.gate import against_champion
from intent_spark.training.heads import best_heads
from intent_spark.training.refit import refit
from intent_spark.training.selection import Selection, select
from intent_spark.training.stream import rank_rows
from intent_spark.training.task import RankTask
from intent_spark.training.tuning import tune

ENTRY = "intent_spark.training.rank:run"
RESULT, FILES = "result.json", "candidates"


def run(payload: str) -> int:
    """Train this rank's part and return its number; a failure is written to the scratch folder and raised."""
    configure_logging(logging.INFO if _rank_of_environment() == 0 else logging.ERROR)
    task = RankTask.from_json(payload)
    try:
        return _run(task)
    except BaseException as error:
        _report(error, Path(task.scratch))
        raise


def _run(task: RankTask) -> int:
    if task.elastic:
        from intent_spark.training.elastic_net import run_elastic

        return run_elastic(task, train_rank)
    collective = HorovodRanks(task.horovod) if task.distributed else OneRank()
    train_rank(task, collective, Checkpoints(Path(task.scratch) / CHECKPOINTS, task.checkpoints, collective))
    return collective.rank


def train_rank(task: RankTask, collective: Collective, keeper: Keeper) -> None:
    """Fit every candidate, choose among them; rank 0 writes what was found to the scratch folder."""
    from intent_spark.models.intent_net import configure_threads

    configure_threads(task.config.cores_per_rank)
    table = ExampleTable(task.examples, task.version)
    with step("train_intent.count_rows", rank=collective.rank) as counts:
        place = (collective.rank, collective.size, collective.sum)
        sources = [SplitRows.of(table, split, task.schema, *place) for split in ("train", "validation")]
        train, validation = (rank_rows(source, task.feed, collective) for source in sources)
        counts |= {"train_rows": train.rows, "validation_rows": validation.rows, "in_memory": train.whole}
    data = FitData(task.schema, task.config, task.horizon_days, train, validation, collective, task.feed, keeper)
    trials: list[dict[str, Any]] = []
    names, left_out = without_impossible(task.candidates, data)
    if collective.rank == 0:
        log_left_out(left_out)
    if task.tuning:
        config, trials = tune(names, data, task.tuning)
        data = replace(data, config=config)
    fitted: dict[str, Fitted] = {}
    for name in names:
        if name != BLEND:
            with step(f"train_intent.{name}", rank=collective.rank):
                fitted[name] = fit_candidate(name, data)
    learnt = {"config": data.config.model_dump(), "study": trials, "left_out": left_out}
    _choose(task, table, data, fitted, learnt)


def _choose(
    task: RankTask, table: ExampleTable, data: FitData, fitted: dict[str, Fitted], learnt: dict[str, Any]
) -> None:
    """The champion, the comparison with the live model, the second fit; then rank 0 writes."""
    collective, validation = data.collective, data.validation
    logits = {name: candidate.validation_logits for name, candidate in fitted.items()}
    with step("train_intent.select", rank=collective.rank) as counts:
        chosen = select(logits, validation, data.config, BLEND in task.candidates, collective)
        counts["champion"] = chosen.champion
    further = {name: candidate.head_logits for name, candidate in fitted.items()}
    heads = best_heads(further, validation, data.config, collective)
    apart = None
    if task.live_model:
        with step("train_intent.gate", rank=collective.rank, against=Path(task.live_model).name):
            apart = against_champion(chosen.losses[chosen.champion], data, table, Path(task.live_model))
    if task.config.refit:
        fitted, chosen, heads = refit(fitted, chosen, data, table, heads)
    if collective.rank == 0:
        told = {"against_live": asdict(apart) if apart else None}
        told["heads"] = {name: head.to_tree() for name, head in heads.items()}
        _write(fitted, chosen, learnt | told, Path(task.scratch))


def _write(fitted: dict[str, Fitted], chosen: Selection, learnt: dict[str, Any], scratch: Path) -> None:
    """Each candidate's files in a folder of its name, and last what was found out about them all."""
    files = {name: candidate.files for name, candidate in fitted.items()}
    if chosen.blend:
        files[BLEND] = {BLEND_FILE: chosen.blend.to_json()}
    for name, own in files.items():
        # An elastic training's first writer may have died here.
        (scratch / FILES / name).mkdir(parents=True, exist_ok=True)
        for file, content in own.items():
            (scratch / FILES / name / file).write_bytes(content)
    result = {
        "champion": chosen.champion,
        "calibrations": {name: calibration.to_tree() for name, calibration in chosen.calibrations.items()},
        "metrics": chosen.metrics,
        "histories": {name: candidate.history for name, candidate in fitted.items()},
        "best_epochs": {name: c.found.epochs for name, c in fitted.items() if c.found.epochs is not None},
    }
    unfinished = scratch / f".{RESULT}"
    unfinished.write_text(json.dumps(result | learnt), encoding="utf-8")
    unfinished.replace(scratch / RESULT)


def _report(error: BaseException, scratch: Path) -> None:
    rank = _rank_of_environment()
    report = {
        "rank": rank,
        "refused": isinstance(error, ContractError),
        "error": f"{error}" if isinstance(error, ContractError) else f"{type(error).__name__}: {error}",
        "traceback": traceback.format_exc(),
    }
    (scratch / f"error-{rank}.json").write_text(json.dumps(report), encoding="utf-8")


def _rank_of_environment() -> int:
    return int(os.environ.get("HOROVOD_RANK", "0"))


if __name__ == "__main__":
    # One that outlived its driver would write into the folder of the next training.
    end_with_parent(signal.SIGKILL)
    run(Path(sys.argv[1]).read_text(encoding="utf-8"))
    leave(EXIT_DONE)
