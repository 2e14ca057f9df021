"""Which candidates are trained, and what rank 0 alone does for the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from intent_spark.config.errors import UsageError
from intent_spark.config.model import ModelConfig, encoder_names
from intent_spark.config.training import FeedSettings
from intent_spark.models.bgnbd import FEATURES
from intent_spark.models.schema import FeatureSchema, NumericFeature, SequenceFeature
from intent_spark.pipeline.options import build_parser
from intent_spark.training.feed import ExampleTable, SplitRows
from intent_spark.training.fitting import FitData, choose_candidates, fit_candidate, share_text
from intent_spark.training.job import TrainIntent
from intent_spark.training.stream import rank_rows
from tests.models.lockstep import ThreadRank, in_lockstep
from tests.training.synthetic import examples_table, write_examples

TREE = yaml.safe_load((Path(__file__).resolve().parents[2] / "conf" / "model.yaml").read_text())


def config(**changes: object) -> ModelConfig:
    return ModelConfig.model_validate(TREE | changes)


def schema(*names: str) -> FeatureSchema:
    return FeatureSchema(tuple(NumericFeature(name, 0.0, 1.0, True) for name in names), (), (), 4)


def test_all_is_what_the_examples_allow() -> None:
    found, left_out = choose_candidates(config(encoder="gru"), schema(*FEATURES))
    assert (found, left_out) == (["recency", "naive_bayes", "bgnbd", "logistic", "gbdt", "gru", "blend"], {})
    found, left_out = choose_candidates(config(), schema("views"))
    assert found == ["naive_bayes", "logistic", "gbdt", "lstm", "blend"]
    assert left_out == {
        "recency": "the examples have no feature days_since_event or days_since_purchase",
        "bgnbd": f"the examples have no feature {', '.join(FEATURES)}",
    }
    sequence = FeatureSchema((), (), (SequenceFeature("gaps", "number"),), 4)
    assert "gbdt" in choose_candidates(config(), sequence)[1]


def test_one_asked_for_by_name_is_refused_where_it_lacks_something() -> None:
    named = config(candidates=["bgnbd", "logistic"])
    assert choose_candidates(named, schema(*FEATURES))[0] == ["bgnbd", "logistic"]
    with pytest.raises(
        UsageError, match="candidate bgnbd cannot be trained: the examples have no feature purchase_days"
    ):
        choose_candidates(named, schema("days_since_purchase"))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            "logistic,nonsense",
            "candidate 'nonsense' is unknown; allowed are recency, naive_bayes, bgnbd, logistic, gbdt, ",
        ),
        ("", "candidate '' is unknown"),
        ("blend,logistic", "blend of fewer than two"),
    ],
)
def test_unknown_names_are_refused(names: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        build_parser(TrainIntent()).parse_args(["--candidates", names])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert len(told.splitlines()) == 1
    with pytest.raises(ValidationError, match=sentence):
        config(candidates=names.split(","))


def test_names_are_put_in_order() -> None:
    options = build_parser(TrainIntent()).parse_args(["--candidates", "lstm, logistic,lstm,gbdt"])
    assert options.candidates == ["logistic", "gbdt", "lstm"]
    assert set(encoder_names()) >= {"lstm", "gru"}


def test_rank_0_tells_the_others() -> None:
    text = "trees of grün\n" * 1000

    def run(own: str, rank: ThreadRank) -> str:
        return share_text(own, rank)

    assert in_lockstep(run, [text, "", "not this"]) == [text] * 3


@pytest.mark.parametrize("name", ["recency", "naive_bayes", "gbdt"])
def test_ranks_hold_the_same_candidate_as_one_alone(name: str, tmp_path: Path) -> None:
    version = write_examples(tmp_path / "examples", examples_table(1200), row_group_rows=100)
    found = FeatureSchema(
        (NumericFeature("view_count_7d", 1.7, 0.4), NumericFeature("days_since_purchase", 3.4, 1.0, True)), (), (), 8
    )
    table, small = ExampleTable(str(tmp_path / "examples"), version), config(gbdt_bag=2, gbdt_max_rows=500)

    def fit(_: int, rank: ThreadRank) -> tuple[dict[str, bytes], np.ndarray]:
        place = (found, rank.rank, rank.size, rank.sum)
        train, validation = (
            rank_rows(SplitRows.of(table, split, *place), FeedSettings(), rank) for split in ("train", "validation")
        )
        fitted = fit_candidate(name, FitData(found, small, 7, train, validation, rank))
        return fitted.files, fitted.validation_logits

    [(alone, logits)] = in_lockstep(fit, [0])
    (one, first), (other, second) = in_lockstep(fit, [0, 1])
    assert one == other
    if name != "recency":  # counts and rank 0's rows are the same whatever the ranks; sums of floats nearly
        assert one == alone
    np.testing.assert_allclose(np.concatenate([first, second]), logits, atol=1e-5)
