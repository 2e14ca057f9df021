"""The intent model and its training, typed: what ``conf/model.yaml`` may say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, field_validator, model_validator

from intent_spark.config.heads import HEADS, Head
from intent_spark.config.strict import Strict

# From the simplest to the most involved; the network under its encoder's name stands before the blend.
BASELINES = ("recency", "naive_bayes", "bgnbd", "logistic", "gbdt")
BLEND = "blend"
ALL = "all"


# What the rows are encoded by, what is trained and how the machine is used are no matter of tuning.
SEARCHABLE = frozenset(
    ("embedding_size", "hashed_embedding_size", "hidden_units", "attention_heads", "attention_blocks", "dropout",
     "embedding_dropout", "weight_decay", "batch_size", "learning_rate", "learning_rate_decay", "clip_norm",
     "positive_weight", "negative_rate", "focal_gamma", "naive_bayes_bins", "gbdt_bag", "gbdt_leaves",
     "gbdt_learning_rate", "gbdt_patience", "gbdt_tree_inputs", "gbdt_split_inputs", "blend_l2", "calibration")
)  # fmt: skip


class SearchRange(Strict):
    """What a setting may be: from ``low`` to ``high`` (whole if the setting is), or one of ``choices``."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = Field(False, description="as likely between 1 and 10 as between 10 and 100")
    choices: list[int | float | str] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> SearchRange:
        bounds = (self.low, self.high)
        if (self.choices is None) == (None in bounds) or (self.choices is not None and bounds != (None, None)):
            raise ValueError("needs either low and high, or choices")
        if self.low is not None and self.high is not None and (self.low > self.high or (self.log and self.low <= 0)):
            raise ValueError("needs a low no higher than high, above 0 where log is true")
        return self


class ModelConfig(Strict):
    """Inputs, network and optimisation. Sizes are numbers of units, rates are fractions.

    A key with a default here is one that models trained before it existed do not name; the default is what they did.
    """

    encoder: Literal["lstm", "gru", "cnn", "transformer", "din", "mlp"] = Field(
        description="what turns a sequence of events into one vector"
    )
    max_length: PositiveInt = Field(le=1000, description="newest events of a user that the encoder sees")
    hashed_sequences: list[str] = Field(description="sequence columns too varied for a vocabulary: hashed")
    hash_buckets: PositiveInt = Field(ge=2, description="embedding rows of a hashed sequence")
    vocabulary_cap: PositiveInt = Field(description="most frequent values of a column that are told apart")

    embedding_size: PositiveInt = Field(description="of a sequence column with a vocabulary")
    hashed_embedding_size: PositiveInt = Field(description="of a hashed sequence column")
    hidden_units: PositiveInt = Field(description="of the encoder")
    dense_units: list[PositiveInt] = Field(min_length=1, description="of each layer above both")
    attention_heads: PositiveInt = Field(2, description="of the transformer")
    attention_blocks: PositiveInt = Field(1, description="of the transformer, one above the other")
    gap_sequence: str = Field(
        "seq_gap_seconds", description="sequence column of seconds to the next event: ages for transformer and din"
    )

    dropout: float = Field(ge=0, lt=1, description="of the units of each layer")
    embedding_dropout: float = Field(0.0, ge=0, lt=1, description="of whole events")
    weight_decay: float = Field(0.0, ge=0, description="decoupled, on kernels")

    batch_size: PositiveInt = Field(description="examples of one step on one rank")
    learning_rate: PositiveFloat = Field(description="Adam's")
    learning_rate_decay: float = Field(gt=0, le=1, description="factor from each epoch to the next")
    learning_rate_scaling: Literal["none", "sqrt", "linear"] = Field(
        "none", description="how the rate grows with the batches that one update sums: ranks x accumulate_steps"
    )
    warmup_steps: int = Field(0, ge=0, description="first updates, over which the rate rises from nothing")
    clip_norm: float = Field(0.0, ge=0, description="largest norm of the gradient summed over ranks; 0: any")
    accumulate_steps: PositiveInt = Field(1, description="batches whose gradients are applied at once")
    mixed_precision: bool = Field(False, description="compute in bfloat16; weights and logits stay float32")
    max_epochs: PositiveInt
    patience: PositiveInt = Field(description="epochs without a better validation log loss before stopping")
    cores_per_rank: PositiveInt = Field(description="TensorFlow's threads in one rank")
    seed: int = Field(ge=0, description="of weights, dropout and shuffling")

    positive_weight: PositiveFloat = Field(1.0, description="of a positive example in the training loss")
    negative_rate: float = Field(1.0, gt=0, le=1, description="share of the negative examples trained on")
    focal_gamma: float = Field(0.0, ge=0, description="how far the training loss turns to hard examples")

    churn_weight: float = Field(
        0.0, ge=0, description="of the loss of a head for no event within the horizon; 0: no such head"
    )
    spend_weight: float = Field(
        0.0, ge=0, description="of the loss of a head for what a buyer spends within the horizon; 0: no such head"
    )

    candidates: Literal["all"] | list[str] = Field(
        description="what is trained and compared on validation; all: every one that the examples allow"
    )
    refit: bool = Field(False, description="fit what was chosen again, on all dates whose labels have matured")
    calibration: Literal["platt", "temperature", "isotonic"] = Field(description="of each candidate, on validation")
    logistic_l2: list[PositiveFloat] = Field(
        min_length=1, description="strengths of the logistic regression's penalty, picked on validation"
    )
    naive_bayes_bins: PositiveInt = Field(ge=2, le=256, description="quantile bins of an input of naive Bayes")
    gbdt_max_rows: PositiveInt = Field(description="training rows that rank 0 reads to grow trees on")
    gbdt_bag: PositiveInt = Field(description="boosters of different seeds whose log odds are averaged")
    gbdt_max_trees: PositiveInt = Field(description="trees of one booster, if nothing stops it")
    gbdt_patience: PositiveInt = Field(description="trees without a better loss on held-back users before stopping")
    gbdt_leaves: PositiveInt = Field(ge=2, description="of one tree")
    gbdt_learning_rate: PositiveFloat
    gbdt_tree_inputs: float = Field(0.5, gt=0, le=1, description="share of the inputs that a tree may read")
    gbdt_split_inputs: float = Field(
        1.0, gt=0, le=1, description="share of the tree's inputs that a split chooses from"
    )
    blend_l2: PositiveFloat = Field(description="strength of the penalty on the blend's weights")

    search: dict[str, SearchRange] = Field(
        default_factory=dict, description="the settings that train_intent --tune tries, and their ranges"
    )

    @model_validator(mode="after")
    def _searchable(self) -> ModelConfig:
        for key, of in self.search.items():
            if key not in SEARCHABLE:
                raise ValueError(f"search: '{key}' cannot be tuned; allowed are {', '.join(sorted(SEARCHABLE))}")
            values: list[int | float | str | None] = [*of.choices] if of.choices else [of.low, of.high]
            for value in values:
                try:
                    ModelConfig.model_validate(self.model_dump(exclude={"search"}) | {key: value})
                except ValidationError as error:
                    raise ValueError(f"search: '{key}' cannot be {value}: {error.errors()[0]['msg']}") from error
        return self

    @property
    def head_weights(self) -> dict[Head, float]:
        """The heads that the network has beside that of purchases, in their order, with the weights of their losses."""
        weights = {head: float(getattr(self, f"{head.name}_weight")) for head in HEADS}
        return {head: weight for head, weight in weights.items() if weight > 0}

    @field_validator("candidates")
    @classmethod
    def _known(cls, value: str | list[str]) -> str | list[str]:
        return value if isinstance(value, str) else in_order(value)


def encoder_names() -> tuple[str, ...]:
    """Every encoder that a network may have; as a candidate, a network goes by its encoder's name."""
    return get_args(ModelConfig.model_fields["encoder"].annotation)


def in_order(names: Iterable[str]) -> list[str]:
    """The named candidates, each once, simplest first.

    Raises:
        ValueError: a name is unknown, none is given, or the blend has fewer than two others to combine.
    """
    asked, allowed = set(names), (*BASELINES, *encoder_names(), BLEND)
    unknown = sorted(asked.difference(allowed))
    if unknown or not asked:
        named = f"candidate '{unknown[0]}' is unknown" if unknown else "no candidate is named"
        raise ValueError(f"names what cannot be trained: {named}; allowed are {', '.join(allowed)}")
    if BLEND in asked and len(asked) < 3:
        raise ValueError("names a blend of fewer than two: name two other candidates beside it")
    return [name for name in allowed if name in asked]
