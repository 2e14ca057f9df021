"""A model directory with random weights, small enough to score ten users in a test."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from intent_spark.config.heads import CHURN, SPEND
from intent_spark.config.loading import load_settings
from intent_spark.models.blend import Blend
from intent_spark.models.calibration import IDENTITY, PlattScaling, Smearing
from intent_spark.models.candidates import BLEND_FILE, WEIGHTS, weights_to_npz
from intent_spark.models.directory import CALIBRATED, Candidate, FurtherHead, TrainedModel, save_model
from intent_spark.models.intent_net import build_network, get_weights
from intent_spark.models.logistic import LogisticModel
from intent_spark.models.registry import promote
from intent_spark.models.schema import CategoricalFeature, FeatureSchema, NumericFeature, SequenceFeature

SCHEMA = FeatureSchema(
    numeric=(NumericFeature("n_7d", 1.0, 2.0),),
    categorical=(CategoricalFeature("top_category_5d_1", ("c",)),),
    sequences=(
        SequenceFeature("seq_event_type", "vocabulary", ("view", "purchase")),
        SequenceFeature("seq_gap_seconds", "number", mean=5.0, std=2.0),
    ),
    max_length=8,
)


def register(
    models: Path, definition: str, horizon: int = 3, auc: float = 0.7, seed: int = 1, head_weight: float = 0.2
) -> Path:
    """Save a model of ``SCHEMA`` and make it the live one."""
    sizes = {
        "embedding_size": 2,
        "hidden_units": 2,
        "dense_units": [8],
        "max_length": 8,
        "hashed_sequences": [],
        "churn_weight": head_weight,
        "spend_weight": head_weight,
    }
    config = load_settings().model.model_copy(update=sizes)
    lineage = {
        "definition_hash": definition, "horizon_days": horizon, "splits": {"2026-03-01": "train", "2026-03-04": "validation"}, "table_versions": {"events": 0},
        "label_event_types": ["purchase"],
        "code_version": "0",
    }  # fmt: skip
    keras.utils.set_random_seed(seed)  # by chance all units may be dead, and all users alike
    metrics = {CALIBRATED: {"auc": auc}}
    logistic = LogisticModel(np.linspace(-1, 1, len(SCHEMA.inputs)), -1.0, 0.01).to_json(SCHEMA.inputs)
    network = weights_to_npz(get_weights(build_network(SCHEMA, config)))
    blend = Blend({"logistic": 0.25, "lstm": 0.75}, 0.1).to_json()
    candidates = {
        "logistic": Candidate({"logistic.json": logistic}, PlattScaling(0.8, 0.0), metrics),
        "lstm": Candidate({WEIGHTS: network}, PlattScaling(0.9, 0.1), metrics),
        "blend": Candidate({BLEND_FILE: blend}, IDENTITY, metrics),
    }
    manifest = {"lineage": lineage, "examples": {"version": 0}, "auc": auc}
    calibrations = {CHURN: PlattScaling(0.7, 0.2), SPEND: Smearing(0.1, -50.0, 50.0)}
    heads = {h.name: FurtherHead("lstm", calibrations[h], {"auc": 0.6}) for h in config.head_weights}
    model = TrainedModel(SCHEMA, config, candidates, champion="lstm", manifest=manifest, heads=heads)
    return promote(models, save_model(model, models).name)
