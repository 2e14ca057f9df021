"""The second fit: what was found best on validation, on every date whose label has matured.

The first fit leaves out validation, and the dates before it whose labels reach into it: the newest there are. Once
penalty, trees and epochs are known, no row needs to be held back to find them, and the candidates are fitted again on
all dates. Calibrations and blend have to be those of the models that score. They are found by cross-fitting: on the
odd half of the users to judge the even half's validation rows, and the other way round. Which candidate is the champion
was decided before, and its metrics stay those of the first fit, which had not seen validation. Where users are too few
for halves, the calibrations of the first fit stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from intent_spark.config.log import step
from intent_spark.models.directory import FurtherHead
from intent_spark.models.logistic import FloatArray
from intent_spark.training.checkpoint import Named
from intent_spark.training.feed import ExampleTable, SplitRows
from intent_spark.training.fitting import FitData, Fitted, Found, customers, fit_candidate
from intent_spark.training.heads import recalibrated_heads
from intent_spark.training.selection import Selection, recalibrated
from intent_spark.training.stream import rank_rows

SPLITS = ("train", "refit", "validation")
HALVES = (0, 1)


def refit(
    first: Mapping[str, Fitted],
    chosen: Selection,
    data: FitData,
    table: ExampleTable,
    heads: dict[str, FurtherHead],
) -> tuple[dict[str, Fitted], Selection, dict[str, FurtherHead]]:
    """The candidates fitted on all dates, with their calibrations and blend; every rank calls this.

    Args:
        first: the candidates of the first fit, which say what was found best.
        chosen: the champion and the metrics, which stay.
        data: of the first fit.
        table: where all dates are read.
        heads: the further heads of the first fit; their networks and metrics stay.
    """
    rank, collective = data.collective.rank, data.collective
    with step("train_intent.refit_rows", rank=rank) as counts:
        source = SplitRows.of(table, SPLITS, data.schema, rank, collective.size, collective.sum)
        rows = rank_rows(source, data.feed, collective)
        counts["rows"] = rows.rows
    before, now = (table.dates(those.counts) for those in (data.training.source, source))
    known = {name: as_often(one.found, before, now) for name, one in first.items()}
    everything = replace(data, training=rows, keeper=Named(data.keeper, "refit-"), found=known)
    refitted: dict[str, Fitted] = {}
    for name, candidate in first.items():
        with step(f"train_intent.refit_{name}", rank=rank):
            again = fit_candidate(name, everything)
            refitted[name] = replace(again, history=candidate.history, found=candidate.found)
    if not _can_be_halved(everything, first):
        return refitted, chosen, heads
    with step("train_intent.refit_calibration", rank=rank):
        wanted = {name: head.candidate for name, head in heads.items()}
        logits, head_logits = _cross_fitted(list(first), everything, source, wanted)
        final = recalibrated(chosen, logits, data.validation, data.config, collective)
        heads = recalibrated_heads(heads, head_logits, data.validation, data.config, collective.sum)
    return refitted, final, heads


def as_often(found: Found, before: int, now: int) -> Found:
    """What a fit on so many dates ``before`` found, for one on so many ``now``.

    The dates of a user resemble each other: on twice the dates as many epochs would show a network each user twice as
    often, and it learns them by heart. Twice the dates, half the epochs; but at least one. More rows of one date are
    other users, and change nothing.
    """
    if not found.epochs:
        return found
    return replace(found, epochs=max(1, round(found.epochs * before / now)))


def _can_be_halved(data: FitData, names: Collection[str]) -> bool:
    """Whether each half of the users has both kinds of label, to be fitted on and judged, and customers if needed."""
    counts = [
        float((share.labels[share.buckets % 2 == half] == kind).sum())
        for share in (data.training, data.validation)
        for half in HALVES
        for kind in (0, 1)
    ]
    if "bgnbd" in names:
        counts += [customers(data, data.train.buckets % 2 == half) for half in HALVES]
    return bool(data.collective.sum(np.array(counts)).min() > 0)


def _cross_fitted(
    names: list[str], data: FitData, source: SplitRows, wanted: Mapping[str, str]
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Log odds of this rank's validation rows [n], each by candidates fitted on the other half of the users.

    Beside them those of the further heads, by the networks that are ``wanted`` of each; without a head that half of the
    users told too little of.
    """
    judged, heads = ({name: np.zeros(data.validation.rows) for name in several} for several in (names, wanted))
    collective = data.collective
    for half in HALVES:
        fewer = source.half_of(half, collective.rank, collective.size, collective.sum)
        keeper = Named(data.keeper, f"half-{half}-")
        part = replace(data, training=rank_rows(fewer, data.feed, collective), keeper=keeper)
        others = data.validation.buckets % 2 != half
        for name in names:
            fitted = fit_candidate(name, part)
            judged[name][others] = fitted.validation_logits[others]
            for head in [head for head, network in wanted.items() if network == name and head in heads]:
                if head in fitted.head_logits:
                    heads[head][others] = fitted.head_logits[head][others]
                else:
                    del heads[head]
    return judged, heads
