"""The pandas UDF that scores: one model a Python worker, loaded at the worker's first batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
import pandas as pd
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from intent_spark.config.heads import HEADS
from intent_spark.models.predictor import cached_predictor


def intent_udf(model_dir: str, candidates: Sequence[str], threads: int, batch_rows: int) -> Callable[[Column], Column]:
    """A UDF from a struct of profile columns to ``intent``, the further heads and one probability a candidate.

    Args:
        model_dir: a path that every executor sees.
        candidates: the model's, which name the struct's other fields.
        threads: a model's threads in one Python worker; one a task slot keeps a node from being oversubscribed.
        batch_rows: the fixed batch that the model is traced for.
    """

    def score(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        predictor = cached_predictor(model_dir, threads, batch_rows)
        for batch in batches:
            predicted = predictor.predict_frame(batch)
            told = dict.fromkeys(further, np.full(len(batch), np.nan)) | predicted.heads
            yield pd.DataFrame({"intent": predicted.intent} | told | predicted.candidates)

    further = [head.name for head in HEADS]
    fields = ", ".join(f"`{name}` double" for name in ("intent", *further, *candidates))
    udf: Callable[[Column], Column] = pandas_udf(score, fields)  # type: ignore[call-overload]
    return udf


def score_columns(score: str, candidates: Sequence[str], champion: str) -> list[Column]:
    """The columns of ``scores`` that the UDF's struct, in the column ``score``, holds."""
    pairs = chain.from_iterable((F.lit(name), F.col(f"{score}.{name}")) for name in candidates)
    return [
        F.col(f"{score}.intent"),
        F.col(f"{score}.{champion}").alias("calibrated_intent"),
        F.create_map(*pairs).alias("candidates"),
        # Of a head that a model lacks it says NaN.
        *(F.nanvl(f"{score}.{head.name}", F.lit(None).cast("double")).alias(head.name) for head in HEADS),
    ]
