"""The whole configuration of a run, typed: what the YAML files under ``conf/`` may say."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from intent_spark.config.features import FeaturesConfig
from intent_spark.config.model import ModelConfig
from intent_spark.config.simulation import SimulationConfig
from intent_spark.config.strict import Strict
from intent_spark.config.training import TrainingSettings


class EnvironmentSettings(Strict):
    """Where to run: ``conf/env/<name>.yaml``."""

    master: str = Field(description="Spark's master URL")
    driver_memory: str = Field(pattern=r"^\d+[mg]$")
    executor_memory: str | None = Field(default=None, pattern=r"^\d+[mg]$")
    executor_cores: PositiveInt | None = None
    ship_package: bool = Field(description="send this package to the executors as a wheel")
    python: str | None = Field(default=None, description="the executors' Python; the driver's if not said")
    network_interface: str | None = Field(
        default=None, description="the one interface that ranks and driver share; the driver's own if not said"
    )
    conf: dict[str, str] = Field(default_factory=dict, description="further Spark settings")


class EventsSettings(Strict):
    """How raw rows become clean events."""

    lookback_days: PositiveInt = Field(description="days around a batch in which a known event id is looked for")
    future_tolerance_hours: int = Field(ge=0, description="how far event_time may lie after ingest_time")
    max_bad_share: float = Field(ge=0, le=1, description="share of refused rows above which a batch is refused whole")
    rows_per_file: PositiveInt = Field(description="about how many events one file of a day holds")


class ProfilesSettings(Strict):
    """What is made beside the profiles."""

    statistics: bool = Field(description="measure each snapshot: quantiles, shares, stability; a pass over its rows")


class ExamplesSettings(Strict):
    """Which snapshots make a training set when the job is not told."""

    label_event_types: list[str] = Field(min_length=1, description="what counts as a purchase")
    train_dates: PositiveInt = Field(description="how many snapshot dates to train on")
    step_days: PositiveInt | None = Field(
        default=None, description="days between them; a quarter of the horizon if not said"
    )


class RegistrySettings(Strict):
    """Where MLflow keeps runs, models and aliases."""

    record: bool = Field(description="tell MLflow of trainings and of changes of the live model")
    tracking_uri: str | None = Field(
        default=None, description="of an MLflow server; a database beside the models if not said"
    )
    experiment: str = Field(min_length=1)
    model_name: str = Field(min_length=1, description="the registered model; one for each shop on a shared server")


class ScoringSettings(Strict):
    """How the scoring job runs."""

    batch_rows: PositiveInt = Field(description="rows in one Arrow batch and one call of the model")
    threads: PositiveInt = Field(description="TensorFlow's threads in one Python worker")


class EvaluationSettings(Strict):
    """When an evaluation asks for a new model."""

    auc_drop: float = Field(ge=0, le=1, description="fall of AUC below validation's that asks for retraining")
    calibration_error: float = Field(ge=0, le=1, description="calibration error that asks for retraining")


class Settings(Strict):
    """Everything a job reads. Each section says in its own class what it holds."""

    warehouse: str
    environment: EnvironmentSettings
    events: EventsSettings
    profiles: ProfilesSettings
    examples: ExamplesSettings
    training: TrainingSettings
    registry: RegistrySettings
    scoring: ScoringSettings
    evaluation: EvaluationSettings
    features: FeaturesConfig
    model: ModelConfig
    simulation: SimulationConfig
