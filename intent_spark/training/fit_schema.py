"""The feature schema, fitted by Spark on the training split only. Every result collected here is bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pyspark.ml.functions import array_to_vector
from pyspark.ml.stat import Summarizer
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DoubleType, FloatType, LongType, StructField

from intent_spark.config.errors import ContractError
from intent_spark.config.log import LOGGER
from intent_spark.config.model import ModelConfig
from intent_spark.models.schema import CategoricalFeature, FeatureSchema, NumericFeature, SequenceFeature

# Spark adds doubles in the order in which partitions arrive: the last digits change from run to run.
DIGITS = 10


@dataclass(frozen=True)
class SplitCounts:
    """What a split of the examples holds."""

    rows: int
    positives: int
    weight: float

    @property
    def base_rate(self) -> float:
        """Share of positive rows."""
        return self.positives / self.rows if self.rows else 0.0


def columns_with_role(examples: DataFrame, role: str) -> list[StructField]:
    """Fields whose column metadata say ``{"role": role}``, in the table's order."""
    return [field for field in examples.schema.fields if field.metadata.get("role") == role]


def count_splits(examples: DataFrame) -> dict[str, SplitCounts]:
    """Counts by split name."""
    counted = examples.groupBy("split").agg(
        F.count(F.lit(1)).alias("rows"),
        F.sum(F.col("label").cast("long")).alias("positives"),
        F.sum(F.col("weight").cast("double")).alias("weight"),
    )
    return {
        row["split"]: SplitCounts(int(row["rows"]), int(row["positives"]), _rounded(row["weight"]))
        for row in sorted(counted.collect(), key=lambda row: str(row["split"]))
    }


def fit_schema(examples: DataFrame, config: ModelConfig) -> FeatureSchema:
    """Statistics and vocabularies of the columns that have a role, from rows with ``split = 'train'``.

    Raises:
        ContractError: no column has a role, or a number is NaN or infinite.
    """
    train = examples.where(F.col("split") == "train")
    numeric, categorical, sequences = (
        columns_with_role(examples, role) for role in ("numeric", "categorical", "sequence")
    )
    if not (numeric or categorical or sequences):
        raise ContractError(
            "No column of the examples has a role (numeric, categorical or sequence) in its metadata: "
            "build the examples again with build_examples."
        )
    _warn_of_unknown([field.name for field in sequences], config)
    return FeatureSchema(
        numeric=_fit_numeric(train, [field.name for field in numeric]),
        categorical=tuple(
            CategoricalFeature(field.name, _vocabulary(train, F.col(field.name), config.vocabulary_cap))
            for field in categorical
        ),
        sequences=tuple(_fit_sequence(train, field, config) for field in sequences),
        max_length=config.max_length,
    )


def _warn_of_unknown(sequences: list[str], config: ModelConfig) -> None:
    """Columns of the sequence are declared, and may have been renamed since the model's settings named them."""
    named = {"hashed_sequences": config.hashed_sequences, "gap_sequence": [config.gap_sequence]}
    for key, names in named.items():
        if unknown := sorted(set(names) - set(sequences)) if sequences else []:
            LOGGER.warning(
                "step=train_intent.schema model.%s names %s, which the examples lack: the sequence has %s.",
                key, ", ".join(unknown), ", ".join(sequences),
            )  # fmt: skip


def _fit_numeric(train: DataFrame, names: list[str]) -> tuple[NumericFeature, ...]:
    """One pass over all columns as one vector: hundreds of aggregates take Spark a minute to compile."""
    if not names:
        return ()
    values = [f"coalesce({_scaled(name)}, 0.0D)" for name in names]
    known = [f"cast(`{name}` is not null as double)" for name in names]
    vectors = train.select(array_to_vector(F.expr(f"array({', '.join(values + known)})")).alias("vector"))
    summary = Summarizer.metrics("count", "sum", "normL2").summary(F.col("vector")).alias("s")
    fitted = vectors.select(summary).select("s.*").first()
    assert fitted is not None
    count, width = int(fitted["count"]), len(names)
    sums, counts = fitted["sum"].toArray()[:width], fitted["sum"].toArray()[width:]
    squares = fitted["normL2"].toArray()[:width] ** 2
    return tuple(
        _numeric_feature(name, float(sums[i]), float(squares[i]), int(counts[i]), count) for i, name in enumerate(names)
    )


def _scaled(name: str) -> str:
    value = f"cast(`{name}` as double)"
    return f"(signum({value}) * log1p(abs({value})))"


def _numeric_feature(name: str, total: float, squares: float, known: int, rows: int) -> NumericFeature:
    _check_finite(name, total, squares)
    mean, square = total / max(known, 1), squares / max(known, 1)
    variance = square - mean**2
    # What rounding leaves of a constant's variance is no variance.
    std = math.sqrt(variance) if variance > 1e-10 * square else 0.0
    return NumericFeature(name, _rounded(mean), _rounded(std), nullable=known < rows)


def _check_finite(name: str, *sums: float) -> None:
    if not all(math.isfinite(value) for value in sums):
        raise ContractError(f"Column {name} of the examples holds NaN or infinity: write null where it is not known.")


def _fit_sequence(train: DataFrame, field: StructField, config: ModelConfig) -> SequenceFeature:
    if field.name in config.hashed_sequences:
        return SequenceFeature(field.name, "hash", buckets=config.hash_buckets)
    values = train.select(F.explode(field.name).alias("value"))
    element = field.dataType.elementType if isinstance(field.dataType, ArrayType) else None
    if isinstance(element, (LongType, FloatType, DoubleType)):
        scaled = F.expr(_scaled("value"))
        fitted = values.agg(F.avg(scaled).alias("mean"), F.stddev_pop(scaled).alias("std")).first()
        assert fitted is not None
        _check_finite(field.name, *(value or 0.0 for value in fitted))
        return SequenceFeature(field.name, "number", mean=_rounded(fitted["mean"]), std=_rounded(fitted["std"]))
    return SequenceFeature(field.name, "vocabulary", _vocabulary(values, F.col("value"), config.vocabulary_cap))


def _vocabulary(rows: DataFrame, column: Column, cap: int) -> tuple[str, ...]:
    """The most frequent values as text, equally frequent ones by name."""
    counted = rows.groupBy(column.cast("string").alias("value")).count().where(F.col("value").isNotNull())
    top = counted.orderBy(F.desc("count"), F.asc("value")).limit(cap).collect()
    return tuple(row["value"] for row in top)


def _rounded(value: float | None) -> float:
    return float(f"{value or 0.0:.{DIGITS}g}")
