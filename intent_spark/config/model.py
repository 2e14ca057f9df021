"""The intent model and its training, typed: what ``conf/model.yaml`` may say."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from intent_spark.config.strict import Strict


class ModelConfig(Strict):
    """Inputs, network and optimisation. Sizes are numbers of units, rates are fractions."""

    encoder: Literal["lstm", "gru"] = Field(description="what turns a sequence of events into one vector")
    max_length: PositiveInt = Field(le=1000, description="newest events of a user that the encoder sees")
    hashed_sequences: list[str] = Field(description="sequence columns too varied for a vocabulary: hashed")
    hash_buckets: PositiveInt = Field(ge=2, description="embedding rows of a hashed sequence")
    vocabulary_cap: PositiveInt = Field(description="most frequent values of a column that are told apart")

    embedding_size: PositiveInt = Field(description="of a sequence column with a vocabulary")
    hashed_embedding_size: PositiveInt = Field(description="of a hashed sequence column")
    hidden_units: PositiveInt = Field(description="of the encoder")
    dense_units: list[PositiveInt] = Field(min_length=1, description="of each layer above both")
    dropout: float = Field(ge=0, lt=1)

    batch_size: PositiveInt = Field(description="examples of one step on one rank")
    learning_rate: PositiveFloat = Field(description="Adam's")
    learning_rate_decay: float = Field(gt=0, le=1, description="factor from each epoch to the next")
    max_epochs: PositiveInt
    patience: PositiveInt = Field(description="epochs without a better validation log loss before stopping")
    cores_per_rank: PositiveInt = Field(description="TensorFlow's threads in one rank")
    seed: int = Field(ge=0, description="of weights, dropout and shuffling")

    logistic_l2: list[PositiveFloat] = Field(
        min_length=1, description="strengths of the logistic regression's penalty, picked on validation"
    )
