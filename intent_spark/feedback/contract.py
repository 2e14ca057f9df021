"""The contracts of what feedback writes."""

from __future__ import annotations

from intent_spark.lakehouse.contract import Column, TableContract

OUTCOMES = TableContract(
    name="outcomes",
    row="one matured score and what happened",
    written_by="evaluate_scores",
    keys=("user_id", "as_of"),
    partition_by=("as_of",),
    owner="growth",
    columns=(
        Column("as_of", "date", "the snapshot's day", nullable=False),
        Column("user_id", "string", "the user", nullable=False),
        Column("model_version", "string", "the model that scored", nullable=False),
        Column("intent", "double", "the score"),
        Column("calibrated_intent", "double", "the score after calibration"),
        Column("candidates", "map<string,double>", "each candidate's score after calibration, by its name"),
        Column("label", "int", "1 where the user bought within the horizon"),
        Column("churn", "double", "the score for no event within the horizon"),
        Column("churned", "int", "1 where the user had no event within the horizon"),
        Column("spend", "double", "what the user was expected to spend within the horizon", "minor units"),
        Column("spent", "bigint", "what the user's purchases within the horizon came to", "minor units"),
        Column(
            "segments",
            "array<string>",
            "new (first event within 30 days), dormant (none within 30 days) or regular; "
            "activity by events of 30 days; the category met most, if it is one of the five commonest",
        ),
    ),
)

EVALUATIONS = TableContract(
    name="evaluations",
    row="one candidate's metrics at one as_of",
    written_by="evaluate_scores",
    keys=("as_of", "candidate", "segment"),
    partition_by=("as_of",),
    owner="growth",
    columns=(
        Column("as_of", "date", "the snapshot's day", nullable=False),
        Column(
            "candidate",
            "string",
            "a candidate of the model, the champion before calibration, a ceiling of the simulated shop, or churn: the "
            "head that tells who does not come back, measured on who did not",
            nullable=False,
        ),
        Column("champion", "boolean", "whether this candidate's probability was the score", nullable=False),
        Column("segment", "string", "all, or one of the outcomes' segments", nullable=False),
        Column("model_version", "string", "the model that scored"),
        Column("users", "bigint", "matured scores", "users"),
        Column("positives", "bigint", "of these who bought", "users"),
        Column("auc", "double", "area under the ROC curve"),
        Column("pr_auc", "double", "average precision"),
        Column("log_loss", "double", "mean negative log likelihood", "nats"),
        *(
            Column(f"{metric}_{end}", "double", f"{end} end of {metric}'s 95 % interval: bootstrap over users")
            for metric in ("auc", "pr_auc", "log_loss")
            for end in ("low", "high")
        ),
        Column("brier", "double", "mean squared error of the probability"),
        Column(
            "calibration_error",
            "double",
            "mean distance of the predicted from the observed rate over deciles",
        ),
        Column("expected_spend", "double", "sum of the scores' spend; told beside the champion alone", "minor units"),
        Column("spent", "bigint", "what these users' purchases came to; told beside the champion alone", "minor units"),
        Column("retrain", "boolean", "whether the evaluation asks for a new model"),
        Column("reasons", "array<string>", "why"),
    ),
)
