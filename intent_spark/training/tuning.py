"""``train_intent --tune N``: Optuna looks for better settings on validation, before the training itself.

The ranks hold their rows in memory and try one configuration after another on them. Rank 0 asks Optuna and tells the
others; what a trial is worth is the champion's cross-fitted log loss. A network that lies behind the median of the
earlier trials after as many epochs is given up. Each trial is written to a journal as it ends, so that a study that
was killed goes on, and asked for again with a larger N it is extended.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from intent_spark.config.errors import ContractError, UntrainableError
from intent_spark.config.log import LOGGER, step
from intent_spark.config.model import BLEND, ModelConfig, SearchRange, encoder_names
from intent_spark.models.directory import CROSS_FITTED
from intent_spark.training.checkpoint import NoKeeper
from intent_spark.training.collective import Collective
from intent_spark.training.fitting import FitData, Fitted, fit_candidate, share_text
from intent_spark.training.selection import select

# Trials before any is given up, and epochs of a trial before it may be.
STARTUP_TRIALS, STARTUP_EPOCHS = 4, 1
# How a trial ended, as Optuna keeps it with the trial.
ENDED = "ended"


@dataclass(frozen=True)
class Tuning:
    """How many trials there shall be in all, and where their journal lies; studies of one name are one."""

    trials: int
    journal: str
    study: str


class GivenUpError(Exception):
    """A trial that will not be among the good ones."""


def tune(names: list[str], data: FitData, tuning: Tuning) -> tuple[ModelConfig, list[dict[str, Any]]]:
    """The configuration with the best values found, and the study's trials; every rank returns the same.

    Raises:
        ContractError: every trial failed.
    """
    study = _Study(tuning, data.config) if data.collective.rank == 0 else None
    trials = _Trials(names, data)
    while asked := json.loads(share_text(json.dumps(study.ask()) if study else "", data.collective)):
        with step("train_intent.trial", rank=data.collective.rank, number=asked["number"], **asked["values"]) as counts:
            found = trials.run(asked["values"], study)
            counts |= found
        if study:
            study.tell(found)
    told = json.loads(share_text(json.dumps(study.told()) if study else "", data.collective))
    if not told["best"] and data.config.search:
        raise ContractError("every trial of --tune failed: narrow the ranges of model.search.")
    return _with(data.config, told["best"]), told["trials"]


class _Trials:
    """Fits of one configuration after another; what no searched setting touches is fitted once."""

    def __init__(self, names: list[str], data: FitData) -> None:
        self._names, self._data = names, data
        self._kept: dict[str, Fitted] = {}

    def run(self, values: dict[str, Any], study: _Study | None) -> dict[str, Any]:
        """State and loss, the same on every rank."""
        data, collective = self._data, self._data.collective
        config, pruning = _with(data.config, values), _Pruning(study, collective)
        trial = replace(data, config=config, on_epoch=pruning, keeper=NoKeeper())
        try:
            fitted = {name: self._fitted(name, trial) for name in self._names if name != BLEND}
            logits = {name: candidate.validation_logits for name, candidate in fitted.items()}
            chosen = select(logits, data.validation, trial.config, BLEND in self._names, collective)
        except GivenUpError:
            return {"state": "pruned", "loss": None}
        except UntrainableError as error:
            LOGGER.info('step=train_intent.trial failed="%s"', error)
            return {"state": "failed", "loss": None}
        loss = chosen.metrics[chosen.champion][CROSS_FITTED]["log_loss"]
        return {"state": "complete", "loss": loss, "champion": chosen.champion}

    def _fitted(self, name: str, trial: FitData) -> Fitted:
        if touched(name, set(self._data.config.search)):
            return fit_candidate(name, trial)
        if name not in self._kept:
            self._kept[name] = fit_candidate(name, replace(self._data, keeper=NoKeeper()))
        return self._kept[name]


@dataclass(frozen=True, eq=False)
class _Pruning:
    """Called after each epoch; rank 0 decides for all."""

    study: _Study | None
    collective: Collective

    def __call__(self, epoch: int, loss: float) -> None:
        given_up = float(self.study is not None and self.study.is_hopeless(epoch, loss))
        if self.collective.sum(np.array([given_up]))[0]:
            raise GivenUpError


@dataclass(eq=False)
class _Study:
    """Optuna's study, on rank 0."""

    tuning: Tuning
    config: ModelConfig
    trial: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        Path(self.tuning.journal).parent.mkdir(parents=True, exist_ok=True)
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(self.tuning.journal)),
            study_name=self.tuning.study,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(STARTUP_TRIALS, n_warmup_steps=STARTUP_EPOCHS),
        )
        states = optuna.trial.TrialState
        self._states = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
        for left in self._study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            # Its process was killed.
            self._study.tell(left.number, state=states.FAIL)
        waiting = self._study.get_trials(deepcopy=False, states=(states.WAITING,))
        if not self._ended() and not waiting:
            # What is configured is tried first: the study can only end with something better.
            configured = {key: getattr(self.config, key) for key in self.config.search}
            self._study.enqueue_trial({k: v for k, v in configured.items() if _has_place(self.config.search[k], v)})

    def ask(self) -> dict[str, Any] | None:
        """The next trial's number and values; None where there are as many as wanted."""
        from optuna.samplers import TPESampler

        ended = len(self._ended())
        if ended >= self.tuning.trials:
            return None
        # A draw depends on how many trials have ended, not on how often the study was interrupted.
        self._study.sampler = TPESampler(seed=self.config.seed + ended)
        ranges = {key: _distribution(of, getattr(self.config, key)) for key, of in self.config.search.items()}
        self.trial = self._study.ask(ranges)
        return {"number": self.trial.number, "values": dict(self.trial.params)}

    def _ended(self) -> list[Any]:
        """The trials that came to an end of their own; not those whose process was killed."""
        return [trial for trial in self._study.trials if ENDED in trial.user_attrs]

    def is_hopeless(self, epoch: int, loss: float) -> bool:
        """Whether the trial lies behind after this epoch."""
        self.trial.report(loss, epoch)
        return bool(self.trial.should_prune())

    def tell(self, found: dict[str, Any]) -> None:
        """How the trial ended."""
        self.trial.set_user_attr(ENDED, found["state"])
        self._study.tell(self.trial, found["loss"], state=self._states[found["state"]])

    def told(self) -> dict[str, Any]:
        """The best values and all trials."""
        trials = [
            {"trial": one.number, "state": one.state.name.lower(), "loss": one.value if one.values else None}
            | one.params
            for one in self._ended()
        ]
        known = [row for row in trials if row["state"] == "complete"]
        return {"best": self._study.best_params if known else {}, "trials": trials}


def touched(name: str, keys: set[str]) -> bool:
    """Whether a setting among ``keys`` changes a candidate's fit."""
    own = {key for key in keys if key.startswith(("gbdt_", "naive_bayes_"))}
    if name in encoder_names():
        return bool(keys - own - {"blend_l2", "calibration"})
    return any(key.startswith(f"{name}_") for key in own)


def _has_place(of: SearchRange, configured: Any) -> bool:
    """Whether what is configured can be tried; what is off, at 0, cannot on a scale of powers, and is drawn at once."""
    return of.choices is not None or not of.log or configured > 0


def _distribution(of: SearchRange, configured: Any) -> Any:
    """The range with what is configured in it, which is tried first."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if of.choices is not None:
        return CategoricalDistribution([*of.choices, *({configured} - set(of.choices))])
    assert of.low is not None and of.high is not None
    low, high = of.low, max(of.high, configured)
    if _has_place(of, configured):
        low = min(low, configured)
    if all(isinstance(value, int) for value in (of.low, of.high, configured)):
        return IntDistribution(int(low), int(high), log=of.log)
    return FloatDistribution(low, high, log=of.log)


def _with(config: ModelConfig, values: dict[str, Any]) -> ModelConfig:
    return ModelConfig.model_validate(config.model_dump() | values)
