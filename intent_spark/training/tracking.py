"""What MLflow is told: a run for each training, a version for each model, and the aliases as they are.

The store is a database in the models' folder, or the server that ``registry.tracking_uri`` names. Scoring never asks
it: which model is live stands in ``aliases.json``, and no job but those that change that waits for a server.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.log import LOGGER
from intent_spark.config.settings import RegistrySettings
from intent_spark.models.directory import CALIBRATED, CROSS_FITTED, TrainedModel, load_model
from intent_spark.models.registry import read_aliases
from intent_spark.reports import plots

STORE, ARTIFACTS = "mlflow.db", "mlflow"
VERSION_TAG, FOLDER = "intent_spark.model_version", "model"


class Tracker:
    """One experiment and one registered model of an MLflow store."""

    def __init__(self, models_dir: Path, settings: RegistrySettings) -> None:
        """Reach the store, making experiment and registered model where they are not there.

        Raises:
            UsageError: the store cannot be reached.
        """
        # A server that is down is to be told within seconds, not after MLflow's minutes of trying again.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        for chatty in ("mlflow", "alembic"):  # their import sets a level
            logging.getLogger(chatty).setLevel(logging.WARNING)
        models_dir.mkdir(parents=True, exist_ok=True)
        self._models_dir, self._name = models_dir.resolve(), settings.model_name
        uri = settings.tracking_uri or f"sqlite:///{self._models_dir / STORE}"
        artifacts = None if settings.tracking_uri else (self._models_dir / ARTIFACTS).as_uri()
        try:
            self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            known = self._client.get_experiment_by_name(settings.experiment)
            self._experiment = (
                known.experiment_id if known else self._client.create_experiment(settings.experiment, artifacts)
            )
            if not self._client.search_registered_models(f"name = '{self._name}'"):
                self._client.create_registered_model(self._name)
        except MlflowException as error:
            raise UsageError(
                f"MLflow at {uri} cannot be used ({str(error).splitlines()[0]}): mend registry.tracking_uri, or set "
                "registry.record=false."
            ) from error

    def record(self, model_dir: Path, model: TrainedModel, tags: dict[str, str]) -> None:
        """A run with parameters, metrics, plots and the model's files, and the model version made of it."""
        from mlflow.entities import RunTag

        if model_dir.name in self._versions():
            return
        run = self._client.create_run(self._experiment, run_name=model_dir.name, tags={VERSION_TAG: model_dir.name})
        run_id = run.info.run_id
        told = {"champion": model.champion} | tags
        self._client.log_batch(
            run_id, _metrics(model), _parameters(model), [RunTag(key, value) for key, value in told.items()]
        )
        self._client.log_artifacts(run_id, str(model_dir), FOLDER)
        for name, candidate in model.candidates.items():
            if candidate.history:
                drawn = plots.to_svg(plots.training_curves(candidate.history), name, f"Training of {name}")
                self._client.log_text(run_id, drawn, f"plots/training_{name}.svg")
        self._client.set_terminated(run_id)
        source = f"{run.info.artifact_uri}/{FOLDER}"
        self._client.create_model_version(self._name, source, run_id, tags={VERSION_TAG: model_dir.name})

    def show_aliases(self) -> None:
        """Make MLflow's aliases those of the file; a model that was trained without MLflow is recorded now."""
        aliases = read_aliases(self._models_dir)
        for alias, model_version in (("champion", aliases.champion), ("challenger", aliases.challenger)):
            if model_version:
                try:
                    self.record(self._models_dir / model_version, load_model(self._models_dir / model_version), {})
                except ContractError as error:
                    LOGGER.warning("step=train_intent.mlflow alias %s is not shown: %s", alias, error)
                    continue
                self._client.set_registered_model_alias(self._name, alias, self._versions()[model_version])
            elif alias in self._client.get_registered_model(self._name).aliases:
                self._client.delete_registered_model_alias(self._name, alias)

    def _versions(self) -> dict[str | None, str]:
        """MLflow's number of each of our model versions."""
        found = self._client.search_model_versions(f"name = '{self._name}'")
        return {version.tags.get(VERSION_TAG): version.version for version in found}


def _metrics(model: TrainedModel) -> list[Any]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    found = [
        Metric(f"{name}.{stage}.{metric}", value, now, 0)
        for name, candidate in model.candidates.items()
        for stage in (CALIBRATED, CROSS_FITTED)
        for metric, value in candidate.metrics.get(stage, {}).items()
    ]
    epochs = [(name, epoch) for name, candidate in model.candidates.items() for epoch in candidate.history]
    for name, epoch in epochs:
        number = int(epoch["epoch"])
        found += [Metric(f"{name}.{key}", float(value), now, number) for key, value in epoch.items() if key != "epoch"]
    best = model.best.metrics.get(CALIBRATED, {})
    return found + [Metric(metric, value, now, 0) for metric, value in best.items()]


def _parameters(model: TrainedModel) -> list[Any]:
    from mlflow.entities import Param

    return [Param(key, str(value)) for key, value in model.config.model_dump().items()]
