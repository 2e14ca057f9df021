"""One rank of a training, from its task to its result in the scratch folder on the shared store."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intent_spark.config.errors import ContractError
from intent_spark.config.log import configure_logging, step
from intent_spark.config.model import ModelConfig
from intent_spark.models.calibration import fit_platt
from intent_spark.models.logistic import LogisticModel, pick_logistic
from intent_spark.models.schema import FeatureSchema
from intent_spark.training.collective import Collective, HorovodRanks, OneRank
from intent_spark.training.feed import ExampleTable, Share, read_share
from intent_spark.training.validation import validation_metrics

ENTRY = "intent_spark.training.rank:run"
RESULT, WEIGHTS = "result.json", "weights.npz"


@dataclass(frozen=True)
class RankTask:
    """What every rank is told. ``scratch`` must be one folder for all ranks and the driver."""

    examples: str
    version: int
    scratch: str
    schema: FeatureSchema
    config: ModelConfig
    distributed: bool

    def to_json(self) -> str:
        """JSON text, for a process that may not have this package on its path yet."""
        plain = {name: getattr(self, name) for name in ("examples", "version", "scratch", "distributed")}
        return json.dumps(plain | {"schema": self.schema.to_json(), "config": self.config.model_dump()})

    @classmethod
    def from_json(cls, text: str) -> RankTask:
        """The task that :meth:`to_json` wrote."""
        tree: dict[str, Any] = json.loads(text)
        tree["schema"] = FeatureSchema.from_json(tree["schema"])
        tree["config"] = ModelConfig.model_validate(tree["config"])
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
    from intent_spark.training.loop_net import RankData, fit_network, new_network, start_from_logistic

    network = new_network(task.schema, task.config)
    table = ExampleTable(task.examples, task.version)
    place = (task.schema, collective.rank, collective.size, collective.sum)
    with step("train_intent.read_share", rank=collective.rank) as counts:
        train, total = read_share(table, "train", *place)
        validation, _ = read_share(table, "validation", *place)
        counts["train_rows"], counts["validation_rows"] = train.rows, validation.rows
    with step("train_intent.logistic", rank=collective.rank) as counts:
        strengths = task.config.logistic_l2
        logistic, counts["validation_loss"] = pick_logistic(
            train.labelled(), validation.labelled(), strengths, collective.sum
        )
    start_from_logistic(network, logistic)
    trained = fit_network(network, RankData(train, validation, total), task.config, collective)
    result = _measured(trained.validation_logits, logistic, validation, collective)
    result["history"] = [asdict(epoch) for epoch in trained.epochs]
    result["best_epoch"] = trained.best_epoch
    if collective.rank == 0:
        np.savez(Path(task.scratch) / WEIGHTS, **trained.weights)
        (Path(task.scratch) / RESULT).write_text(json.dumps(result), encoding="utf-8")


def _measured(logits: Any, logistic: LogisticModel, validation: Share, collective: Collective) -> dict[str, Any]:
    """Calibration, logistic regression and the validation metrics of both, over all ranks."""
    labels, weights = validation.labels, validation.weights
    platt = fit_platt(logits, labels, weights, collective.sum)
    scores = {
        "model": platt.probabilities(logits),
        "model_uncalibrated": 1.0 / (1.0 + np.exp(-logits)),
        "logistic": logistic.probabilities(validation.encoded.numeric),
    }
    return {
        "calibration": asdict(platt),
        "logistic": {
            "coefficients": logistic.coefficients.tolist(),
            "intercept": logistic.intercept,
            "l2": logistic.l2,
        },
        "metrics": {
            name: validation_metrics(values, labels, weights, collective.sum) for name, values in scores.items()
        },
    }


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
