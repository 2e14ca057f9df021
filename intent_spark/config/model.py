"""The intent model and its training, typed: what ``conf/model.yaml`` may say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from intent_spark.config.strict import Strict

# From the simplest to the most involved; the network under its encoder's name stands before the blend.
BASELINES = ("recency", "naive_bayes", "bgnbd", "logistic", "gbdt")
BLEND = "blend"
ALL = "all"


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

    candidates: Literal["all"] | list[str] = Field(
        description="what is trained and compared on validation; all: every one that the examples allow"
    )
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
    blend_l2: PositiveFloat = Field(description="strength of the penalty on the blend's weights")

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
