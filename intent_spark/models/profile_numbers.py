"""Numbers of a profile as they were before they were encoded: what models of days and counts read."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from intent_spark.models.encode import Encoded
from intent_spark.models.logistic import FloatArray
from intent_spark.models.schema import FeatureSchema


def missing_numbers(schema: FeatureSchema, names: Iterable[str]) -> list[str]:
    """The names that are no numeric feature of the schema."""
    known = {feature.name for feature in schema.numeric}
    return [name for name in names if name not in known]


def profile_number(encoded: Encoded, schema: FeatureSchema, name: str) -> FloatArray:
    """A numeric feature's values float64 [n], NaN where it was null, right to float32's six digits."""
    feature = next(feature for feature in schema.numeric if feature.name == name)
    column = schema.inputs.index(name)
    scaled = encoded.numeric[:, column].astype(np.float64) * feature.std + feature.mean
    values = np.sign(scaled) * np.expm1(np.abs(scaled))
    if feature.nullable:
        values[encoded.numeric[:, column + 1] > 0] = np.nan
    return np.asarray(values)
