"""The whole configuration of a run, typed: what the YAML files under ``conf/`` may say."""

from __future__ import annotations

from pydantic import Field, PositiveInt, model_validator

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


class RetentionSettings(Strict):
    """How long what was replaced stays readable at its version: both must outlive the oldest training set in use."""

    deleted_files_days: PositiveInt = Field(default=400, description="files of replaced rows are kept this long")
    log_days: PositiveInt = Field(default=400, description="commits, with what they were made from, this long")

    @model_validator(mode="after")
    def _log_outlives_files(self) -> RetentionSettings:
        """A version is read by its commit: files without one are of no use."""
        if self.log_days < self.deleted_files_days:
            raise ValueError("keeps files longer than the log that reads them; log_days must not be the smaller")
        return self


class MaintenanceSettings(Strict):
    """What maintain_tables calls a small file, and how large it makes files."""

    small_file_mb: PositiveInt = Field(description="a file below this is small")
    small_files: int = Field(ge=2, description="a partition with as many small files is compacted")
    target_file_mb: PositiveInt = Field(description="files are compacted up to this size")
    longest_job_hours: PositiveInt = Field(description="vacuum spares what a job begun this long ago may read or write")

    @model_validator(mode="after")
    def _ends_compacted(self) -> MaintenanceSettings:
        """Of two small files one is made: else they would be compacted again with every run."""
        if self.target_file_mb < 2 * self.small_file_mb:
            raise ValueError("has a target_file_mb of less than twice small_file_mb: files would stay small for ever")
        return self


class EventsSettings(Strict):
    """How raw rows become clean events."""

    lookback_days: PositiveInt = Field(description="days around a batch in which a known event id is looked for")
    future_tolerance_hours: int = Field(ge=0, description="how far event_time may lie after ingest_time")
    horizon_days: PositiveInt | None = Field(description="how far event_time may lie before ingest_time; null: any")
    max_bad_share: float = Field(ge=0, le=1, description="share of refused rows above which a batch is refused whole")
    rows_per_file: PositiveInt = Field(description="about how many events one file of a day holds")


class ProfilesSettings(Strict):
    """How profiles are laid out, and what is made beside them."""

    statistics: bool = Field(description="measure each snapshot: quantiles, shares, stability; a pass over its rows")
    keep_states: PositiveInt = Field(description="dates whose states are kept, the newest, for later ones to roll from")
    rows_per_file: PositiveInt = Field(description="about how many rows one file of user_days holds")


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
    retention: RetentionSettings
    maintenance: MaintenanceSettings
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
