"""The pandas UDF that scores: one model a Python worker, loaded at the worker's first batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
from pyspark.sql import Column
from pyspark.sql.pandas.functions import pandas_udf

from intent_spark.models.predictor import cached_predictor

SCORE_TYPE = "intent double, calibrated_intent double, logistic_intent double"


def intent_udf(model_dir: str, threads: int, batch_rows: int) -> Callable[[Column], Column]:
    """A UDF from a struct of profile columns to the three probabilities.

    Args:
        model_dir: a path that every executor sees.
        threads: TensorFlow's threads in one Python worker; one a task slot keeps a node from being oversubscribed.
        batch_rows: the fixed batch that the model is traced for.
    """

    def score(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        predictor = cached_predictor(model_dir, threads, batch_rows)
        for batch in batches:
            yield pd.DataFrame(predictor.predict_frame(batch)._asdict())

    udf: Callable[[Column], Column] = pandas_udf(score, SCORE_TYPE)  # type: ignore[call-overload]
    return udf
