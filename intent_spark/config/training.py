"""How a training is run, typed: ranks, launcher, feed, checkpoints, Horovod. What is learnt is ``conf/model.yaml``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from intent_spark.config.strict import Strict

LauncherName = Literal["auto", "single", "spark", "horovodrun", "elastic"]


class FeedSettings(Strict):
    """How examples get from the table's files to a rank."""

    memory_mb: PositiveInt = Field(1024, description="encoded rows of one split that a rank holds at most")
    readers: PositiveInt = Field(1, description="threads that read and encode row groups")
    prefetch: PositiveInt = Field(2, description="batches that are made ready while a step is computed")


class CheckpointSettings(Strict):
    """What a killed training goes on from."""

    every_seconds: PositiveFloat = Field(60.0, description="between two checkpoints")
    every_steps: int = Field(0, ge=0, description="updates of the weights between two checkpoints; 0: seconds alone")
    keep: int = Field(2, ge=0, description="the last ones that are kept for each network; 0 writes none")


class HorovodSettings(Strict):
    """Horovod's own settings; what is not said is left to Horovod."""

    fp16: bool = Field(False, description="dense gradients travel as 16-bit floats")
    fusion_threshold_mb: int | None = Field(None, ge=0, description="gradients that are sent together; 0: none are")
    cycle_time_ms: PositiveFloat | None = Field(None, description="how long gradients wait for others to go with them")
    autotune: bool = Field(False, description="let Horovod look for threshold and cycle time while it trains")
    autotune_log: str | None = Field(None, description="file for what autotune tried")
    timeline: str | None = Field(None, description="file for a trace that Chrome's about:tracing shows")
    commit_steps: PositiveInt = Field(20, description="elastic: updates that are repeated at most when a worker dies")

    def environment(self) -> dict[str, str]:
        """The variables that Horovod reads when it starts."""
        known = {
            "HOROVOD_FUSION_THRESHOLD": None if self.fusion_threshold_mb is None else self.fusion_threshold_mb * 2**20,
            "HOROVOD_CYCLE_TIME": self.cycle_time_ms,
            "HOROVOD_AUTOTUNE": 1 if self.autotune else None,
            "HOROVOD_AUTOTUNE_LOG": self.autotune_log,
            "HOROVOD_TIMELINE": self.timeline,
        }
        return {name: str(value) for name, value in known.items() if value is not None}


class TrainingSettings(Strict):
    """How the training job runs."""

    ranks: PositiveInt
    launcher: LauncherName
    hosts: str | None = Field(
        None, pattern=r"^[^:,\s]+:\d+(,[^:,\s]+:\d+)*$", description="HOST:SLOTS,…; this machine if not said"
    )
    min_ranks: PositiveInt = Field(1, description="elastic: workers below which a training waits for more")
    max_ranks: PositiveInt | None = Field(None, description="elastic: with so many none joins; ranks if not said")
    host_discovery_script: str | None = Field(None, description="elastic: prints HOST:SLOTS lines; hosts if not said")
    feed: FeedSettings = FeedSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    horovod: HorovodSettings = HorovodSettings()
