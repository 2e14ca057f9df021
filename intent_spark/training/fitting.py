"""Each candidate's fit on one rank, exact over all ranks or shared with them, and which candidates there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from intent_spark.config.errors import ContractError, UsageError
from intent_spark.config.log import LOGGER
from intent_spark.config.model import ALL, BASELINES, BLEND, ModelConfig, in_order
from intent_spark.config.training import FeedSettings
from intent_spark.models import bgnbd
from intent_spark.models.bayesian_ridge import Linear
from intent_spark.models.bgnbd import PurchaseHistory, fit_bgnbd, histories, is_customer
from intent_spark.models.candidates import WEIGHTS, Runtime, load_scorer, tree_files, weights_to_npz
from intent_spark.models.directory import Files
from intent_spark.models.gbdt import grow_boosters, trees_of
from intent_spark.models.logistic import FloatArray, LogisticModel, fit_logistic, pick_logistic
from intent_spark.models.naive_bayes import fit_naive_bayes
from intent_spark.models.profile_numbers import missing_numbers
from intent_spark.models.recency import FEATURES as RECENCY_FEATURES
from intent_spark.models.recency import fit_recency, recency_feature
from intent_spark.models.schema import FeatureSchema
from intent_spark.training.checkpoint import Keeper, NoKeeper
from intent_spark.training.collective import Collective
from intent_spark.training.feed import Share, read_pieces
from intent_spark.training.heads import head_start
from intent_spark.training.stream import RankRows, train_feed
from intent_spark.training.windows import all_pieces, sample_of


@dataclass(frozen=True)
class Found:
    """What a fit was told by rows that it held back, and what a refit is given instead of such rows.

    The penalty of logistic regression, the trees of each booster, the epochs of a network.
    """

    l2: float | None = None
    trees: tuple[int, ...] = ()
    epochs: int | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A candidate's files, the same on every rank, and its log odds of this rank's validation rows [n].

    ``head_logits`` [n] are those of its further heads that it had rows to learn, by their names.
    """

    files: Files
    validation_logits: FloatArray
    history: list[dict[str, Any]] = field(default_factory=list)
    found: Found = Found()
    head_logits: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class FitData:
    """What a rank fits candidates on.

    Of a candidate in ``found`` nothing is decided by validation or held-back rows any more. ``on_epoch`` is told of
    each epoch of a network, and may end its training by raising.
    """

    schema: FeatureSchema
    config: ModelConfig
    horizon_days: int
    training: RankRows
    validation: RankRows
    collective: Collective
    feed: FeedSettings = FeedSettings()
    keeper: Keeper = field(default_factory=NoKeeper)
    found: Mapping[str, Found] = field(default_factory=dict)
    on_epoch: Callable[[int, float], None] | None = None
    _logistic: list[LogisticModel] = field(default_factory=list, init=False)

    @property
    def train(self) -> Share:
        """The training rows that are in memory at a time: all of them, if ``feed.memory_mb`` allows it."""
        return self.training.held()

    @property
    def logistic(self) -> LogisticModel:
        """Logistic regression: a candidate itself, and what every network begins as. Fitted once."""
        # No cached_property: until Python 3.12 its lock is the class's, and ranks in threads would wait for each other.
        if not self._logistic:
            self._logistic.append(self._fit_logistic())
        return self._logistic[0]

    @property
    def head_starts(self) -> dict[str, Linear]:
        """What the configured further heads begin as, by their names; not those whose targets are not known."""
        l2, total = self.logistic.l2, self.collective.sum
        found = {head.name: head_start(head, self.train, l2, total) for head in self.config.head_weights}
        return {name: start for name, start in found.items() if start}

    def _fit_logistic(self) -> LogisticModel:
        total = self.collective.sum
        known = next((found.l2 for found in self.found.values() if found.l2 is not None), None)
        if known is not None:
            return fit_logistic(self.train.labelled(), known, total)
        strengths = self.config.logistic_l2
        return pick_logistic(self.train.labelled(), self.validation.held().labelled(), strengths, total)[0]


def choose_candidates(config: ModelConfig, schema: FeatureSchema) -> tuple[list[str], dict[str, str]]:
    """The candidates to fit, simplest first, and why the others of ``all`` are left out.

    Raises:
        UsageError: one that was asked for by name needs what the examples lack.
    """
    if config.candidates != ALL:
        wanted = in_order(config.candidates)
        for name in wanted:
            if reason := _lacks(name, schema):
                raise UsageError(f"candidate {name} cannot be trained: {reason}; declare it, or leave {name} out.")
        return wanted, {}
    everything = in_order([*BASELINES, config.encoder, BLEND])
    left_out = {name: reason for name in everything if (reason := _lacks(name, schema))}
    kept = [name for name in everything if name not in left_out]
    return [name for name in kept if name != BLEND or len(kept) > 2], left_out


def _lacks(name: str, schema: FeatureSchema) -> str:
    """What a candidate needs and the examples do not have; empty where it has all."""
    if name == "bgnbd" and (missing := missing_numbers(schema, bgnbd.FEATURES)):
        return f"the examples have no feature {', '.join(missing)}"
    if name == "recency" and recency_feature(schema) is None:
        return f"the examples have no feature {' or '.join(RECENCY_FEATURES)}"
    if name == "gbdt" and not schema.inputs:
        return "the examples have no numeric or categorical feature"
    return ""


def customers(data: FitData, chosen: npt.NDArray[np.bool_] | None = None) -> float:
    """The weight of this rank's training rows, or of some of them, whose user has bought before."""
    bought = is_customer(data.train.encoded, data.schema)
    return float(data.train.weights @ (bought if chosen is None else bought * chosen))


def without_impossible(names: list[str], data: FitData) -> tuple[list[str], dict[str, str]]:
    """Of all candidates those that the rows allow, and why the others are left out; none of those asked for by name."""
    if data.config.candidates != ALL or "bgnbd" not in names:
        return names, {}
    if data.collective.sum(np.array([customers(data)]))[0] > 0:
        return names, {}
    return [name for name in names if name != "bgnbd"], {"bgnbd": "no user of the training split has bought before"}


def log_left_out(left_out: Mapping[str, str]) -> None:
    """Say which candidates are not fitted, and why."""
    for name, reason in left_out.items():
        LOGGER.info('step=train_intent.candidates left_out=%s reason="%s"', name, reason)


def fit_candidate(name: str, data: FitData) -> Fitted:
    """Fit one candidate; all ranks call this in the same order.

    Raises:
        ContractError: the rows do not allow it, or a loss diverged.
    """
    return _network(name, data) if name not in _FITS else _scored(name, _FITS[name](data), data)


def _scored(name: str, files: Files, data: FitData) -> Fitted:
    """The candidate read back from its files, as scoring will read it."""
    runtime = Runtime(data.schema, data.config, data.config.cores_per_rank, data.config.batch_size)
    learnt = {"logistic": lambda: Found(data.logistic.l2), "gbdt": lambda: Found(trees=trees_of(files))}
    found = learnt.get(name, Found)()
    return Fitted(files, data.validation.score(load_scorer(name, files, runtime)), found=found)


def _recency(data: FitData) -> Files:
    train = data.train
    model = fit_recency(train.encoded, data.schema, train.labels, train.weights, data.collective.sum)
    return {"recency.json": model.to_json()}


def _naive_bayes(data: FitData) -> Files:
    model = fit_naive_bayes(data.train.labelled(), data.config.naive_bayes_bins, data.collective.sum)
    return {"naive_bayes.json": model.to_json(data.schema.inputs)}


def _logistic(data: FitData) -> Files:
    return {"logistic.json": data.logistic.to_json(data.schema.inputs)}


def _bgnbd(data: FitData) -> Files:
    train, total = data.train, data.collective.sum
    customers = is_customer(train.encoded, data.schema)
    strangers = train.weights * ~customers
    known, others, bought = total(np.array([train.weights @ customers, strangers.sum(), strangers @ train.labels]))
    if known <= 0:
        raise ContractError(
            "candidate bgnbd needs users who have bought before, and the training split has none: leave it out of "
            "model.candidates, or train on later dates."
        )
    model = fit_bgnbd(histories(train.encoded, data.schema, train.weights), total)
    rate = (bought + 1.0) / (others + 2.0)
    return {"bgnbd.json": PurchaseHistory(model, data.horizon_days, float(rate)).to_json()}


def _gbdt(data: FitData) -> Files:
    """Rank 0 reads a bounded sample and grows the trees; the others are given their texts."""
    texts: list[str] = []
    if data.collective.rank == 0:
        source = data.training.source.profile_alone()
        sample = read_pieces(source, sample_of(all_pieces(source.counts), data.config.gbdt_max_rows))
        trees = data.found["gbdt"].trees if "gbdt" in data.found else ()
        texts = list(grow_boosters(sample.labelled(), sample.buckets, data.config, trees))
    shared = [share_text(texts[n] if texts else "", data.collective) for n in range(data.config.gbdt_bag)]
    return tree_files(shared)


def share_text(text: str, collective: Collective) -> str:
    """Rank 0's text on every rank; the others' is not looked at."""
    own = np.frombuffer(text.encode(), np.uint8) if collective.rank == 0 else np.zeros(0, np.uint8)
    length = int(collective.sum(np.array([float(len(own))]))[0])
    padded = np.pad(own, (0, length - len(own))).astype(np.float64)
    return collective.sum(padded).astype(np.uint8).tobytes().decode()


def _network(name: str, data: FitData) -> Fitted:
    from intent_spark.training.loop_net import (
        RankData,
        fit_network,
        new_network,
        start_from_logistic,
        start_head,
    )

    config = data.config.model_copy(update={"encoder": name})
    logistic, starts = data.logistic, data.head_starts
    network = new_network(data.schema, config)
    start_from_logistic(network, logistic)
    for head, start in starts.items():
        start_head(network, head, start)
    data.training.release()
    feed = train_feed(data.training, config, data.feed, data.collective)
    shares = RankData(feed, data.validation, data.feed.prefetch)
    epochs = data.found[name].epochs if name in data.found else None
    trained = fit_network(network, shares, config, data.collective, data.keeper, epochs, data.on_epoch)
    heads = {head.name: trained.validation_heads[:, n] for n, head in enumerate(config.head_weights, start=1)}
    return Fitted(
        files={WEIGHTS: weights_to_npz(trained.weights)},
        validation_logits=trained.validation_logits,
        history=[asdict(epoch) for epoch in trained.epochs],
        found=Found(logistic.l2, epochs=trained.best_epoch),
        head_logits={name: logits for name, logits in heads.items() if name in starts},
    )


_FITS: dict[str, Callable[[FitData], Files]] = {
    "recency": _recency,
    "naive_bayes": _naive_bayes,
    "bgnbd": _bgnbd,
    "logistic": _logistic,
    "gbdt": _gbdt,
}
