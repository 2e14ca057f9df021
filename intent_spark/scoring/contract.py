"""The contract of the scores."""

from __future__ import annotations

from intent_spark.lakehouse.contract import Column, TableContract

_PROBABILITY = "between 0 and 1"

SCORES = TableContract(
    name="scores",
    row="one user's intent at one as_of, by one model",
    written_by="score_users",
    keys=("user_id", "as_of"),
    partition_by=("as_of",),
    checks={"probability": "intent between 0 and 1 and calibrated_intent between 0 and 1"},
    owner="growth",
    columns=(
        Column("as_of", "date", "the snapshot's day", nullable=False),
        Column("user_id", "string", "the user", nullable=False),
        Column("model_version", "string", "hash of the model's contents", nullable=False),
        Column(
            "intent",
            "double",
            "probability of a purchase within the horizon, as the model's champion says it",
            nullable=False,
        ),
        Column("calibrated_intent", "double", "the same after calibration on validation", nullable=False),
        Column(
            "candidates",
            "map<string,double>",
            "each candidate's calibrated probability by its name, the champion's among them",
            nullable=False,
        ),
        Column(
            "churn",
            "double",
            "calibrated probability of no event at all within the horizon; null: no network of the model tells it",
        ),
        Column(
            "spend",
            "double",
            "what the user is expected to spend within the horizon: calibrated_intent times what such a buyer spends; "
            "null: no network of the model tells it",
            "minor units",
        ),
        Column("horizon_days", "int", "days after as_of that the probabilities are of", "days", nullable=False),
    ),
)
