"""What cannot be trained on ends in one sentence and registers nothing; what merely looks odd is trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyspark.sql import SparkSession

from intent_spark.config.errors import ContractError
from intent_spark.models.registry import model_versions, read_aliases
from intent_spark.training.train import TrainingRequest, train
from tests.training.synthetic import examples_table, write_examples
from tests.training.test_train import config

Change = Callable[[pa.Table], pa.Table]


def where(split: str, column: str, value: object, rows: int | None = None) -> Change:
    """The value in the first rows of a split, or in all of them."""

    def change(table: pa.Table) -> pa.Table:
        chosen = pc.equal(table["split"], split).to_numpy()
        chosen &= np.cumsum(chosen) <= (rows or table.num_rows)
        place, field = table.schema.get_field_index(column), table.schema.field(column)
        put = pc.if_else(pa.array(chosen), pa.scalar(value, field.type), table[column])
        return table.set_column(place, field, put)

    return change


def few(table: pa.Table) -> pa.Table:
    """One training row, and validation as it was."""
    train_rows = table.filter(pc.equal(table["split"], "train")).slice(0, 1)
    return pa.concat_tables([train_rows, table.filter(pc.equal(table["split"], "validation"))])


def asked(folder: Path, change: Change, **changes: object) -> TrainingRequest:
    version = write_examples(folder / "examples", change(examples_table(600)))
    settings = {"candidates": ["logistic", "gbdt", "lstm"], "max_epochs": 2, "refit": False} | changes
    return TrainingRequest(str(folder / "examples"), version, folder / "models", config(**settings), 7, ranks=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "settings", "sentence"),
    [
        (where("train", "days_since_purchase", float("nan"), 1), {}, "Column days_since_purchase .* holds NaN"),
        (where("train", "days_since_purchase", float("inf"), 1), {}, "Column days_since_purchase .* holds NaN or inf"),
        (where("validation", "days_since_purchase", float("nan"), 1), {}, "Column days_since_purchase holds NaN"),
        (where("validation", "label", 0), {}, "Split validation of the examples has .* no positive label"),
        (where("train", "label", 1), {}, "Split train of the examples has .* no negative label"),
        (where("train", "weight", 0.0), {}, "split train of the examples weigh 0.0"),
        (few, {}, "Split train of the examples has 1 rows and no"),
        (lambda table: table, {"learning_rate": 1e30}, r"Training diverged in epoch 1 .* lower model.learning_rate"),
    ],
)
def test_nothing_is_registered(
    spark: SparkSession, tmp_path: Path, change: Change, settings: dict[str, object], sentence: str
) -> None:
    request = asked(tmp_path, change, **settings)
    with pytest.raises(ContractError, match=sentence) as caught:
        train(spark, request)
    assert "\n" not in str(caught.value)
    assert model_versions(request.models_dir) == []
    assert read_aliases(request.models_dir).champion is None


@pytest.mark.slow
def test_a_vocabulary_of_one_word_is_trained_on(spark: SparkSession, tmp_path: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        for split in ("train", "validation", "test"):
            table = where(split, "city_tier", "1")(table)
        return table

    request = asked(tmp_path, change)
    model = train(spark, request).model
    figures = [value for one in model.candidates.values() for stage in one.metrics.values() for value in stage.values()]
    assert figures and np.isfinite(figures).all()
    assert model_versions(request.models_dir) == [p.name for p in request.models_dir.iterdir() if p.is_dir()]
