"""One rank of a training, from its task to its result in the scratch folder on the shared store."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from intent_spark.config.errors import ContractError
from intent_spark.config.log import configure_logging, step
from intent_spark.config.model import BLEND, ModelConfig
from intent_spark.models.candidates import BLEND_FILE
from intent_spark.models.schema import FeatureSchema
from intent_spark.training.collective import Collective, HorovodRanks, OneRank
from intent_spark.training.feed import ExampleTable, read_share
from intent_spark.training.fitting import FitData, Fitted, fit_candidate
from intent_spark.training.gate import against_champion
from intent_spark.training.refit import refit
from intent_spark.training.selection import Selection, select
from intent_spark.training.tuning import Tuning, tune

ENTRY = "intent_spark.training.rank:run"
RESULT, FILES = "result.json", "candidates"


@dataclass(frozen=True)
class RankTask:
    """What every rank is told. ``scratch`` must be one folder for all ranks and the driver."""

    examples: str
    version: int
    scratch: str
    schema: FeatureSchema
    config: ModelConfig
    candidates: list[str]
    horizon_days: int
    distributed: bool
    live_model: str | None = None
    tuning: Tuning | None = None

    def to_json(self) -> str:
        """JSON text, for a process that may not have this package on its path yet."""
        coded = {"schema": self.schema.to_json(), "config": self.config.model_dump()}
        coded["tuning"] = vars(self.tuning) if self.tuning else None
        return json.dumps(vars(self) | coded)

    @classmethod
    def from_json(cls, text: str) -> RankTask:
        """The task that :meth:`to_json` wrote."""
        tree: dict[str, Any] = json.loads(text)
        tree["schema"] = FeatureSchema.from_json(tree["schema"])
        tree["config"] = ModelConfig.model_validate(tree["config"])
        tree["tuning"] = Tuning(**tree["tuning"]) if tree["tuning"] else None
        return cls(**tree)


def run(payload: str) -> int:
    """Train this rank's part and return its number; a failure is written to the scratch folder and raised."""
    configure_logging(logging.INFO if _rank_of_environment() == 0 else logging.ERROR)
    task = RankTask.from_json(payload)
    # The number is known before Horovod is: an error while joining must be reported as well.
    collective: Collective | None = None
    try:
        collective = HorovodRanks() if task.distributed else OneRank()
        _train(task, collective)
        return collective.rank
    except BaseException as error:
        _report(error, Path(task.scratch), collective)
        raise


def _train(task: RankTask, collective: Collective) -> None:
    from intent_spark.models.intent_net import configure_threads

    configure_threads(task.config.cores_per_rank)
    table = ExampleTable(task.examples, task.version)
    place = (task.schema, collective.rank, collective.size, collective.sum)
    with step("train_intent.read_share", rank=collective.rank) as counts:
        train, total = read_share(table, "train", *place)
        validation, _ = read_share(table, "validation", *place)
        counts["train_rows"], counts["validation_rows"] = train.rows, validation.rows
    data = FitData(task.schema, task.config, task.horizon_days, table, train, validation, total, collective)
    trials: list[dict[str, Any]] = []
    if task.tuning:
        config, trials = tune(task.candidates, data, task.tuning)
        data = replace(data, config=config)
    fitted: dict[str, Fitted] = {}
    for name in task.candidates:
        if name != BLEND:
            with step(f"train_intent.{name}", rank=collective.rank):
                fitted[name] = fit_candidate(name, data)
    logits = {name: candidate.validation_logits for name, candidate in fitted.items()}
    with step("train_intent.select", rank=collective.rank) as counts:
        chosen = select(logits, validation, data.config, BLEND in task.candidates, collective)
        counts["champion"] = chosen.champion
    apart = None
    if task.live_model:
        with step("train_intent.gate", rank=collective.rank, against=Path(task.live_model).name):
            losses, cores = chosen.losses[chosen.champion], task.config.cores_per_rank
            apart = against_champion(losses, validation, table, Path(task.live_model), cores, collective)
    if task.config.refit:
        fitted, chosen = refit(fitted, chosen, data)
    if collective.rank == 0:
        learnt = {"config": data.config.model_dump(), "study": trials, "against_live": asdict(apart) if apart else None}
        _write(fitted, chosen, learnt, Path(task.scratch))


def _write(fitted: dict[str, Fitted], chosen: Selection, learnt: dict[str, Any], scratch: Path) -> None:
    """Each candidate's files in a folder of its name, and last what was found out about them all."""
    files = {name: candidate.files for name, candidate in fitted.items()}
    if chosen.blend:
        files[BLEND] = {BLEND_FILE: chosen.blend.to_json()}
    for name, own in files.items():
        (scratch / FILES / name).mkdir(parents=True)
        for file, content in own.items():
            (scratch / FILES / name / file).write_bytes(content)
    result = {
        "champion": chosen.champion,
        "calibrations": {name: calibration.to_tree() for name, calibration in chosen.calibrations.items()},
        "metrics": chosen.metrics,
        "histories": {name: candidate.history for name, candidate in fitted.items()},
        "best_epochs": {name: c.found.epochs for name, c in fitted.items() if c.found.epochs is not None},
    }
    (scratch / RESULT).write_text(json.dumps(result | learnt), encoding="utf-8")


def _report(error: BaseException, scratch: Path, collective: Collective | None) -> None:
    rank = collective.rank if collective else _rank_of_environment()
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
    run(Path(sys.argv[1]).read_text(encoding="utf-8"))
