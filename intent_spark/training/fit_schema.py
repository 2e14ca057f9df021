"""The feature schema, fitted by Spark on the training split only. Every result collected here is bounded."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DoubleType, FloatType, LongType, StructField

from intent_spark.config.errors import ContractError
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
    return FeatureSchema(
        numeric=_fit_numeric(train, [field.name for field in numeric]),
        categorical=tuple(
            CategoricalFeature(field.name, _vocabulary(train, F.col(field.name), config.vocabulary_cap))
            for field in categorical
        ),
        sequences=tuple(_fit_sequence(train, field, config) for field in sequences),
        max_length=config.max_length,
    )


def _fit_numeric(train: DataFrame, names: list[str]) -> tuple[NumericFeature, ...]:
    if not names:
        return ()
    fitted = train.agg(
        F.count(F.lit(1)).alias("rows"),
        *(part for number, name in enumerate(names) for part in _statistics(F.col(name), number)),
    ).first()
    assert fitted is not None
    return tuple(_numeric_feature(fitted, name, number) for number, name in enumerate(names))


def _statistics(column: Column, number: int) -> list[Column]:
    value = column.cast("double")
    scaled = F.signum(value) * F.log1p(F.abs(value))
    return [
        F.count(value).alias(f"known_{number}"),
        F.avg(scaled).alias(f"mean_{number}"),
        F.stddev_pop(scaled).alias(f"std_{number}"),
    ]


def _numeric_feature(fitted: Row, name: str, number: int) -> NumericFeature:
    mean, std = _rounded(fitted[f"mean_{number}"]), _rounded(fitted[f"std_{number}"])
    if not abs(mean) < float("inf") or not std < float("inf"):
        raise ContractError(f"Column {name} of the examples holds NaN or infinity: write null where it is not known.")
    return NumericFeature(name, mean, std, nullable=fitted[f"known_{number}"] < fitted["rows"])


def _fit_sequence(train: DataFrame, field: StructField, config: ModelConfig) -> SequenceFeature:
    if field.name in config.hashed_sequences:
        return SequenceFeature(field.name, "hash", buckets=config.hash_buckets)
    values = train.select(F.explode(field.name).alias("value"))
    element = field.dataType.elementType if isinstance(field.dataType, ArrayType) else None
    if isinstance(element, (LongType, FloatType, DoubleType)):
        (numeric,) = _fit_numeric(values, ["value"])
        return SequenceFeature(field.name, "number", mean=numeric.mean, std=numeric.std)
    return SequenceFeature(field.name, "vocabulary", _vocabulary(values, F.col("value"), config.vocabulary_cap))


def _vocabulary(rows: DataFrame, column: Column, cap: int) -> tuple[str, ...]:
    """The most frequent values as text, equally frequent ones by name."""
    counted = rows.groupBy(column.cast("string").alias("value")).count().where(F.col("value").isNotNull())
    top = counted.orderBy(F.desc("count"), F.asc("value")).limit(cap).collect()
    return tuple(row["value"] for row in top)


def _rounded(value: float | None) -> float:
    return float(f"{value or 0.0:.{DIGITS}g}")
