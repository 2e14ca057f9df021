"""The second fit, and the search before the first; on two ranks in threads, without TensorFlow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import yaml
from pydantic import ValidationError

from intent_spark.config.model import ModelConfig
from intent_spark.config.training import FeedSettings
from intent_spark.models.gbdt import trees_of
from intent_spark.models.logistic import LogisticModel, fit_logistic
from intent_spark.models.schema import FeatureSchema, NumericFeature
from intent_spark.training.checkpoint import NoKeeper
from intent_spark.training.collective import OneRank
from intent_spark.training.feed import ExampleTable, Share, SplitRows, Splits
from intent_spark.training.fitting import FitData, Fitted, Found, fit_candidate
from intent_spark.training.heads import best_heads
from intent_spark.training.refit import as_often, refit
from intent_spark.training.selection import Selection, select
from intent_spark.training.stream import rank_rows
from intent_spark.training.tuning import GivenUpError, Tuning, _Pruning, touched, tune
from tests.models.lockstep import ThreadRank, in_lockstep
from tests.training.synthetic import examples_table, write_examples

TREE = yaml.safe_load((Path(__file__).resolve().parents[2] / "conf" / "model.yaml").read_text())
SCHEMA = FeatureSchema((NumericFeature("view_count_7d", 1.7, 0.4), NumericFeature("spend_cents_30d", 8, 1)), (), (), 8)
NAMES = ["logistic", "gbdt"]


def config(**changes: object) -> ModelConfig:
    small = {"gbdt_bag": 2, "gbdt_max_trees": 20, "gbdt_patience": 5, "logistic_l2": [0.01], "candidates": NAMES}
    return ModelConfig.model_validate(TREE | small | changes)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ExampleTable:
    """A third of the training rows is for the refit alone."""
    path = tmp_path_factory.mktemp("refit") / "examples"
    rows = examples_table(2000)
    later = pa.array(np.arange(rows.num_rows) % 3 == 0)
    split = pc.if_else(pc.and_(pc.equal(rows["split"], "train"), later), "refit", rows["split"])
    rows = rows.set_column(rows.column_names.index("split"), rows.schema.field("split"), split)
    return ExampleTable(str(path), write_examples(path, rows, row_group_rows=150))


def fit_data(table: ExampleTable, rank: Any, **changes: object) -> FitData:
    place = (SCHEMA, rank.rank, rank.size, rank.sum)
    sources = [SplitRows.of(table, split, *place) for split in ("train", "validation")]
    train, validation = (rank_rows(source, FeedSettings(), rank) for source in sources)
    return FitData(SCHEMA, config(**changes), 7, train, validation, rank)


def share(table: ExampleTable, split: Splits, half: int | None = None) -> Share:
    source = SplitRows.of(table, split, SCHEMA)
    if half is not None:
        source = source.half_of(half, 0, 1, lambda counts: counts)
    return rank_rows(source, FeedSettings(), OneRank()).held()


def both_fits(table: ExampleTable, rank: Any) -> tuple[dict[str, Fitted], Selection, dict[str, Fitted], Selection]:
    data = fit_data(table, rank)
    first = {name: fit_candidate(name, data) for name in NAMES}
    logits = {name: fitted.validation_logits for name, fitted in first.items()}
    chosen = select(logits, data.validation, data.config, True, rank)
    return (first, chosen, *refit(first, chosen, data, table, {})[:2])


def test_a_refit_is_the_fit_of_all_dates_with_what_was_found(table: ExampleTable) -> None:
    first, chosen, second, final = both_fits(table, OneRank())
    everything = share(table, ("train", "refit", "validation"))
    parts = [share(table, split).rows for split in ("train", "refit", "validation")]
    assert everything.rows == sum(parts) > parts[0] > parts[1] > 0
    wanted = fit_logistic(everything.labelled(), first["logistic"].found.l2 or 0.0)
    found = LogisticModel.from_json(second["logistic"].files["logistic.json"])
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-6)
    assert trees_of(second["gbdt"].files) == trees_of(first["gbdt"].files) == first["gbdt"].found.trees
    assert second["gbdt"].files != first["gbdt"].files
    assert (final.champion, final.metrics) == (chosen.champion, chosen.metrics)


@pytest.mark.parametrize(
    ("epochs", "now", "wanted"), [(4, 8, 2), (4, 4, 4), (4, 5, 3), (1, 20, 1), (0, 8, 0), (None, 8, None)]
)
def test_over_more_dates_a_network_sees_a_user_as_often(epochs: int | None, now: int, wanted: int | None) -> None:
    assert as_often(Found(l2=0.1, epochs=epochs), 4, now) == Found(l2=0.1, epochs=wanted)


def test_the_second_heads_calibration_is_that_of_the_network_that_scores(
    table: ExampleTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first fit's log odds were twice as sure: what the second fit's need is twice the slope."""
    data = fit_data(table, OneRank())
    churned = (np.arange(data.validation.rows) % 3 == 0).astype(np.float64)
    held = replace(data.validation.held(), targets=np.column_stack([churned, np.full(len(churned), np.nan)]))
    data = replace(data, validation=held)
    logits = np.random.default_rng(1).normal(size=len(churned)) + churned

    def fitted(name: str, data: FitData, scale: float = 1.0) -> Fitted:
        return replace(fit_candidate(name, data), head_logits={"churn": scale * logits} if name == "logistic" else {})

    first = {name: fitted(name, data, 2.0) for name in NAMES}
    heads = best_heads({name: one.head_logits for name, one in first.items()}, held, data.config, OneRank())
    chosen = select({n: f.validation_logits for n, f in first.items()}, held, data.config, True, OneRank())
    monkeypatch.setattr("intent_spark.training.refit.fit_candidate", fitted)
    [head], [again] = heads.values(), refit(first, chosen, data, table, heads)[2].values()
    assert (again.candidate, again.metrics) == (head.candidate, head.metrics)
    np.testing.assert_allclose(again.calibration.logits(logits), head.calibration.logits(2.0 * logits), atol=1e-3)


def test_halves_are_of_users(table: ExampleTable) -> None:
    """Every row is in one of them, with its own label and inputs."""
    everything = share(table, ("train", "validation"))
    for half in (0, 1):
        found, wanted = share(table, ("train", "validation"), half), np.flatnonzero(everything.buckets % 2 == half)
        np.testing.assert_array_equal(found.labels, everything.labels[wanted])
        np.testing.assert_array_equal(found.encoded.numeric, everything.encoded.numeric[wanted])
        np.testing.assert_array_equal(found.buckets, everything.buckets[wanted])


def test_calibrations_are_of_users_whom_the_fit_did_not_see(table: ExampleTable) -> None:
    from intent_spark.models.calibration import fit_platt

    final = both_fits(table, OneRank())[3]
    validation = share(table, "validation")
    logits = np.zeros(validation.rows)
    for half in (0, 1):
        model = fit_logistic(share(table, ("train", "refit", "validation"), half).labelled(), 0.01)
        others = validation.buckets % 2 != half
        logits[others] = model.logits(validation.encoded.numeric[others])
    wanted = fit_platt(logits, validation.labels, validation.weights).to_tree()
    assert final.calibrations["logistic"].to_tree() == pytest.approx(wanted, abs=1e-4)


def test_ranks_refit_the_same(table: ExampleTable) -> None:
    def run(_: int, rank: ThreadRank) -> tuple[dict[str, Fitted], Selection]:
        return both_fits(table, rank)[2:]

    [(alone, chosen)] = in_lockstep(run, [0])
    (one, first), (other, second) = in_lockstep(run, [0, 1])
    assert one["gbdt"].files == other["gbdt"].files == alone["gbdt"].files
    assert one["logistic"].files == other["logistic"].files
    for name, calibration in chosen.calibrations.items():
        assert first.calibrations[name].to_tree() == pytest.approx(calibration.to_tree(), abs=1e-4)
        assert second.calibrations[name] == first.calibrations[name]


def test_a_setting_touches_what_it_is_read_by() -> None:
    assert touched("gbdt", {"gbdt_leaves"}) and not touched("gbdt", {"dropout", "blend_l2"})
    assert touched("lstm", {"dropout"}) and not touched("lstm", {"gbdt_leaves", "naive_bayes_bins", "calibration"})
    assert touched("naive_bayes", {"naive_bayes_bins"}) and not touched("logistic", {"gbdt_leaves", "dropout"})


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ({"max_length": {"low": 1, "high": 5}}, "'max_length' cannot be tuned; allowed are attention_blocks"),
        ({"dropout": {"low": 0.1, "high": 3}}, "'dropout' cannot be 3: Input should be less than 1"),
        ({"dropout": {"low": 0.5}}, "either low and high, or choices"),
        ({"dropout": {"low": 0.5, "high": 0.1}}, "a low no higher than high"),
    ],
)
def test_a_search_space_that_cannot_be_is_refused(search: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        config(search=search)


def test_a_study_goes_on_and_its_best_is_taken(table: ExampleTable, tmp_path: Path) -> None:
    search = {"gbdt_leaves": {"low": 2, "high": 20}, "calibration": {"choices": ["platt", "temperature"]}}
    data = fit_data(table, OneRank(), search=search)

    def run(trials: int) -> tuple[ModelConfig, list[dict[str, Any]]]:
        return tune([*NAMES, "blend"], data, Tuning(trials, str(tmp_path / "studies" / "a.journal"), "a"))

    _, before = run(2)
    assert before[0] | {"gbdt_leaves": data.config.gbdt_leaves, "calibration": "platt"} == before[0]
    found, trials = run(4)
    assert trials[:2] == before
    assert [row["trial"] for row in trials] == [0, 1, 2, 3]
    best = min(trials, key=lambda row: row["loss"])
    assert (found.gbdt_leaves, found.calibration) == (best["gbdt_leaves"], best["calibration"])
    assert run(4) == (found, trials)
    assert tune([*NAMES, "blend"], data, Tuning(4, str(tmp_path / "b.journal"), "b"))[1] == trials, "uninterrupted"


def test_settings_that_are_off_are_searched_by_powers_too(table: ExampleTable, tmp_path: Path) -> None:
    """What is configured has no place on such a scale, or lies between the whole numbers that bound it."""
    search = {
        "weight_decay": {"low": 1e-6, "high": 0.01, "log": True},
        "positive_weight": {"low": 1, "high": 10, "log": True},
        "clip_norm": {"low": 1, "high": 4},
        "calibration": {"choices": ["platt", "isotonic"], "log": True},
    }
    data = fit_data(table, OneRank(), search=search, positive_weight=0.5)
    _, trials = tune(NAMES, data, Tuning(3, str(tmp_path / "a.journal"), "a"))
    assert trials[0]["positive_weight"] == 0.5 and trials[0]["clip_norm"] == 0.0
    assert all(1e-6 <= row["weight_decay"] <= 0.01 and 0.5 <= row["positive_weight"] <= 10 for row in trials)


def test_a_trial_that_was_killed_does_not_count(table: ExampleTable, tmp_path: Path) -> None:
    """Killed in its first trial, a study begins with what is configured again."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(tmp_path / "a.journal")))
    optuna.create_study(storage=storage, study_name="a").ask()
    data = fit_data(table, OneRank(), search={"gbdt_leaves": {"low": 2, "high": 20}})
    _, trials = tune(NAMES, data, Tuning(2, str(tmp_path / "a.journal"), "a"))
    assert [row["state"] for row in trials] == ["complete", "complete"]
    assert trials[0]["gbdt_leaves"] == data.config.gbdt_leaves


def test_a_refit_keeps_each_of_its_fits_in_its_own_place(table: ExampleTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is killed in it goes on in it: no fit takes another's snapshots for its own."""
    places: list[str] = []

    class Listening(NoKeeper):
        def restore(self, name: str) -> None:
            places.append(name)

    def listened(name: str, data: FitData) -> Fitted:
        data.keeper.restore(name)
        return fit_candidate(name, data)

    data = replace(fit_data(table, OneRank()), keeper=Listening())
    first = {name: fit_candidate(name, data) for name in NAMES}
    chosen = select({n: f.validation_logits for n, f in first.items()}, data.validation, data.config, True, OneRank())
    monkeypatch.setattr("intent_spark.training.refit.fit_candidate", listened)
    refit(first, chosen, data, table, {})
    assert places == [f"{stage}-{name}" for stage in ("refit", "refit-half-0", "refit-half-1") for name in NAMES]


def test_ranks_try_the_same(table: ExampleTable, tmp_path: Path) -> None:
    def run(_: int, rank: ThreadRank) -> ModelConfig:
        data = fit_data(table, rank, search={"gbdt_leaves": {"low": 2, "high": 20}})
        return tune(NAMES, data, Tuning(3, str(tmp_path / f"{rank.size}.journal"), "a"))[0]

    [alone] = in_lockstep(run, [0])
    one, other = in_lockstep(run, [0, 1])
    assert one == other
    assert one.gbdt_leaves == alone.gbdt_leaves


def test_all_ranks_give_up_together() -> None:
    class Hopeless:
        def is_hopeless(self, epoch: int, loss: float) -> bool:
            return epoch == 2

    def run(_: int, rank: ThreadRank) -> int:
        pruning = _Pruning(Hopeless() if rank.rank == 0 else None, rank)  # type: ignore[arg-type]
        for epoch in (1, 2, 3):
            try:
                pruning(epoch, 0.5)
            except GivenUpError:
                return epoch
        return 0

    assert in_lockstep(run, [0, 1]) == [2, 2]
