"""What every rank of a training is told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from intent_spark.config.model import ModelConfig
from intent_spark.config.training import CheckpointSettings, FeedSettings, HorovodSettings
from intent_spark.models.schema import FeatureSchema
from intent_spark.training.tuning import Tuning


@dataclass(frozen=True)
class RankTask:
    """What every rank is told. ``scratch`` must be one folder for all ranks and the driver.

    ``live_model`` is to be compared with, ``tuning`` comes before the training.
    ``distributed`` ranks talk by Horovod; ``elastic`` ones may die or join.
    """

    examples: str
    version: int
    scratch: str
    schema: FeatureSchema
    config: ModelConfig
    candidates: list[str]
    horizon_days: int
    distributed: bool
    elastic: bool = False
    feed: FeedSettings = FeedSettings()
    checkpoints: CheckpointSettings = CheckpointSettings()
    horovod: HorovodSettings = HorovodSettings()
    live_model: str | None = None
    tuning: Tuning | None = None

    def to_json(self) -> str:
        """JSON text, for a process that may not have this package on its path yet."""
        settings = (self.config, self.feed, self.checkpoints, self.horovod)
        coded = dict(zip(("config", "feed", "checkpoints", "horovod"), (s.model_dump() for s in settings), strict=True))
        told = {"schema": self.schema.to_json(), "tuning": vars(self.tuning) if self.tuning else None}
        return json.dumps(vars(self) | told | coded)

    @classmethod
    def from_json(cls, text: str) -> RankTask:
        """The task that :meth:`to_json` wrote."""
        tree: dict[str, Any] = json.loads(text)
        tree["schema"] = FeatureSchema.from_json(tree["schema"])
        tree["tuning"] = Tuning(**tree["tuning"]) if tree["tuning"] else None
        tree["config"] = ModelConfig.model_validate(tree["config"])
        tree["feed"] = FeedSettings.model_validate(tree["feed"])
        tree["checkpoints"] = CheckpointSettings.model_validate(tree["checkpoints"])
        tree["horovod"] = HorovodSettings.model_validate(tree["horovod"])
        return cls(**tree)
