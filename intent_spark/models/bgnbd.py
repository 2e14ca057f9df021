"""BG/NBD: who buys again, from the number and the dates of purchases alone.

Fader, Hardie and Lee, "Counting Your Customers" the Easy Way, Marketing Science 24 (2005). While active a customer
buys at a rate that is gamma (r, alpha) over customers, and leaves after a purchase with a probability that is
beta (a, b). A customer is (x, t_x, T): repeat purchases, time of the last and time since the first; days here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, gammaln, psi

from intent_spark.models.encode import Encoded
from intent_spark.models.logistic import FloatArray, SumOverRanks, one_rank
from intent_spark.models.profile_numbers import profile_number
from intent_spark.models.schema import FeatureSchema

PURCHASE_DAYS, LAST, FIRST = "purchase_days_lifetime", "days_since_purchase", "days_since_first_purchase"
FEATURES = (PURCHASE_DAYS, LAST, FIRST)
# Of the parameters' logarithms; keeps them finite where the histories leave one of them open.
_RIDGE, _LARGEST = 1e-6, 10.0
# Never 0 or 1: a probability that one surprise would make infinitely wrong.
_LOWEST = 1e-6


@dataclass(frozen=True, eq=False)
class Histories:
    """Customers' x, t_x and T with weights, each float64 [n]."""

    repeats: FloatArray
    last: FloatArray
    age: FloatArray
    weights: FloatArray


@dataclass(frozen=True)
class BgNbd:
    """The four parameters with the time unit of a day."""

    r: float
    alpha: float
    a: float
    b: float

    def active(self, of: Histories) -> FloatArray:
        """Probability float64 [n] that a customer has not left by T."""
        left = np.log(self.a / (self.b + np.maximum(of.repeats, 1.0) - 1.0))
        odds = left + (self.r + of.repeats) * np.log((self.alpha + of.age) / (self.alpha + of.last))
        return np.asarray(np.where(of.repeats > 0, expit(-odds), 1.0))

    def buys(self, of: Histories, horizon: float) -> FloatArray:
        """Probability float64 [n] of at least one purchase in (T, T + horizon].

        One who is active has a rate that is gamma (r + x, alpha + T), whose probability of no purchase is a power.
        """
        silent = ((self.alpha + of.age) / (self.alpha + of.age + horizon)) ** (self.r + of.repeats)
        return np.asarray(self.active(of) * (1.0 - silent))


def fit_bgnbd(of: Histories, sum_over_ranks: SumOverRanks = one_rank) -> BgNbd:
    """Maximum likelihood over all ranks' customers; every rank returns the same, a rank may have none."""
    total, ages = sum_over_ranks(np.array([of.weights.sum(), of.weights @ of.age]))

    def objective(point: FloatArray) -> tuple[float, FloatArray]:
        parameters = np.exp(point)
        losses, gradient = likelihood_terms(parameters, of)
        summed = sum_over_ranks(np.append(of.weights @ losses, gradient @ of.weights)) / total
        value = -summed[0] + _RIDGE / 2 * point @ point
        return float(value), -summed[1:] * parameters + _RIDGE * point

    # The rate's scale is that of the time unit: begin at customers' mean age.
    start = np.array([0.0, np.log(max(ages / total, 1.0)), 0.0, 0.0])
    bounds = [(-_LARGEST, _LARGEST)] * 4
    options = {"maxiter": 1000, "ftol": 1e-13, "gtol": 1e-8}
    best = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return BgNbd(*(float(value) for value in np.exp(best)))


def likelihood_terms(parameters: FloatArray, of: Histories) -> tuple[FloatArray, FloatArray]:
    """Log likelihoods [n] and their derivatives by r, alpha, a and b [4, n].

    The likelihood is equation 6 of the paper, in the terms A1 to A4 of its appendix.
    """
    r, alpha, a, b = parameters
    x, repeated = of.repeats, of.repeats > 0
    left = np.maximum(x, 1.0)
    common = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    common += gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    stayed = -(r + x) * np.log(alpha + of.age)
    quit_ = np.where(repeated, np.log(a) - np.log(b + left - 1.0) - (r + x) * np.log(alpha + of.last), -np.inf)
    either = np.logaddexp(stayed, quit_)
    share = np.exp(quit_ - either)
    by_r = psi(r + x) - psi(r) + np.log(alpha)
    by_r -= (1.0 - share) * np.log(alpha + of.age) + share * np.log(alpha + of.last)
    by_alpha = r / alpha - (r + x) * ((1.0 - share) / (alpha + of.age) + share / (alpha + of.last))
    by_a = psi(a + b) - psi(a + b + x) + share / a
    by_b = psi(a + b) + psi(b + x) - psi(b) - psi(a + b + x) - share / (b + left - 1.0)
    return common + either, np.stack([by_r, by_alpha, by_a, by_b])


@dataclass(frozen=True)
class PurchaseHistory:
    """The fitted process as a candidate: customers by BG/NBD, users who never bought by how often such users buy."""

    model: BgNbd
    horizon_days: int
    first_purchase_rate: float

    def logits(self, encoded: Encoded, schema: FeatureSchema) -> FloatArray:
        """Log odds float64 [n] of a purchase within the horizon."""
        customers = is_customer(encoded, schema)
        score = np.full(encoded.rows, self.first_purchase_rate)
        score[customers] = self.model.buys(histories(encoded, schema), self.horizon_days)
        score = np.clip(score, _LOWEST, 1.0 - _LOWEST)
        return np.asarray(np.log(score) - np.log1p(-score))

    def to_json(self) -> bytes:
        """JSON text of the parameters."""
        return (json.dumps(asdict(self), indent=1) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> PurchaseHistory:
        """The model that :meth:`to_json` wrote."""
        tree = json.loads(content)
        return cls(BgNbd(**tree["model"]), tree["horizon_days"], tree["first_purchase_rate"])


def is_customer(encoded: Encoded, schema: FeatureSchema) -> FloatArray:
    """Whether each user has bought before, bool [n]."""
    known = [np.isfinite(profile_number(encoded, schema, name)) for name in (LAST, FIRST)]
    return np.asarray(known[0] & known[1] & (np.nan_to_num(profile_number(encoded, schema, PURCHASE_DAYS)) > 0.5))


def histories(encoded: Encoded, schema: FeatureSchema, weights: FloatArray | None = None) -> Histories:
    """x, t_x and T of the rows that are customers; a day with purchases counts as one purchase."""
    chosen = is_customer(encoded, schema)
    days, last, age = (profile_number(encoded, schema, name)[chosen] for name in FEATURES)
    repeats = np.maximum(np.round(days) - 1.0, 0.0)
    time = np.where(repeats > 0, np.clip(age - last, 0.0, age), 0.0)
    return Histories(repeats, time, age, np.ones(len(age)) if weights is None else weights[chosen])
