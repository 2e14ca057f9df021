"""Recency alone: the fewer days since a user was last seen, or last bought, the likelier a purchase."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from intent_spark.models.encode import Encoded
from intent_spark.models.logistic import FloatArray, Labelled, LogisticModel, SumOverRanks, fit_logistic, one_rank
from intent_spark.models.profile_numbers import missing_numbers, profile_number
from intent_spark.models.schema import FeatureSchema

# The first of these that a profile has.
FEATURES = ("days_since_event", "days_since_purchase")
NEVER = "never"
_RIDGE = 1e-6


@dataclass(frozen=True, eq=False)
class Recency:
    """Log odds that fall with ``log(1 + days)``, at a level of their own where there is no such day."""

    feature: str
    line: LogisticModel

    def logits(self, encoded: Encoded, schema: FeatureSchema) -> FloatArray:
        """Log odds float64 [n]."""
        return self.line.logits(_inputs(encoded, schema, self.feature))

    def to_json(self) -> bytes:
        """JSON text of the line."""
        return self.line.to_json([self.feature, NEVER])

    @classmethod
    def from_json(cls, content: bytes) -> Recency:
        """The model that :meth:`to_json` wrote."""
        return cls(next(iter(json.loads(content)["coefficients"])), LogisticModel.from_json(content))


def recency_feature(schema: FeatureSchema) -> str | None:
    """The feature that recency reads, if the schema has one."""
    return next((name for name in FEATURES if not missing_numbers(schema, [name])), None)


def fit_recency(
    encoded: Encoded,
    schema: FeatureSchema,
    labels: FloatArray,
    weights: FloatArray,
    sum_over_ranks: SumOverRanks = one_rank,
) -> Recency:
    """Fit the line on all ranks' rows, never rising with the days."""
    feature = recency_feature(schema)
    if feature is None:
        raise ValueError(f"The schema has none of {', '.join(FEATURES)}.")
    rows = Labelled(_inputs(encoded, schema, feature), labels, weights)
    bounds = [(None, 0.0), (None, None), (None, None)]
    return Recency(feature, fit_logistic(rows, _RIDGE, sum_over_ranks, bounds=bounds))


def _inputs(encoded: Encoded, schema: FeatureSchema, feature: str) -> FloatArray:
    days = profile_number(encoded, schema, feature)
    never = np.isnan(days)
    return np.stack([np.log1p(np.maximum(np.where(never, 0.0, days), 0.0)), never.astype(np.float64)], axis=1)
