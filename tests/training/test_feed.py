"""The table's files become batches: each row once, whatever the files, ranks, memory and threads."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
import yaml
from deltalake import WriterProperties, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from intent_spark.config.errors import ContractError
from intent_spark.config.model import ModelConfig
from intent_spark.config.training import FeedSettings
from intent_spark.models.schema import FeatureSchema, NumericFeature, SequenceFeature
from intent_spark.training.collective import OneRank
from intent_spark.training.feed import ExampleTable, SplitRows, batch_of, read_pieces, row_bytes
from intent_spark.training.stream import Place, RankRows, TrainFeed, capacity_of, rank_rows, train_feed
from intent_spark.training.windows import Scattered, Slice, all_pieces, share_of
from tests.training.synthetic import examples_table, write_examples

SCHEMA = FeatureSchema(
    numeric=(NumericFeature("number", 0.0, 1.0),),
    categorical=(),
    sequences=(SequenceFeature("gaps", "number"),),
    max_length=4,
)
TREE = yaml.safe_load((Path(__file__).resolve().parents[2] / "conf" / "model.yaml").read_text())


def config(**changes: object) -> ModelConfig:
    return ModelConfig.model_validate(TREE | changes)


def write(path: Path, sizes: list[int], row_group_rows: int) -> int:
    """One file a day of the given size; a row's weight is its number + 1, every third row is validation."""
    done = 0
    for day, size in enumerate(sizes):
        numbers = np.arange(done, done + size)
        table = pa.table(
            {
                "user_id": pa.array([f"u{n}" for n in numbers], pa.string()),
                "as_of": pa.array([date(2024, 1, 1) + timedelta(days=day)] * size, pa.date32()),
                "number": pa.array(numbers, pa.int64()),
                "gaps": pa.array([[int(n)] * (n % 4) for n in numbers], pa.list_(pa.int64())),
                "label": pa.array(numbers % 2, pa.int32()),
                "weight": pa.array(numbers + 1, pa.float64()),
                "split": pa.array(["validation" if n % 3 == 2 else "train" for n in numbers], pa.string()),
            }
        )
        properties = WriterProperties(max_row_group_size=row_group_rows)
        write_deltalake(str(path), table, mode="append", partition_by=["as_of"], writer_properties=properties)
        done += size
    return len(sizes) - 1


def rows_of_split(path: Path, version: int, split: str) -> SplitRows:
    return SplitRows.of(ExampleTable(str(path), version), split, SCHEMA)


def feed(source: SplitRows, rank: int, ranks: int, capacity: int, settings: ModelConfig, readers: int = 1) -> TrainFeed:
    pieces = share_of(all_pieces(source.counts), rank, ranks)
    return TrainFeed(RankRows(source, pieces, capacity, readers), settings, rank, ranks)


def numbers(batches: list) -> list[int]:
    """The rows of batches by the weight that tells them; padding weighs nothing."""
    return [int(weight) - 1 for _, _, weights in batches for weight in weights if weight]


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    row_group_rows=st.integers(1, 5),
    ranks=st.integers(1, 5),
    capacity=st.integers(1, 30),
    batch_size=st.integers(1, 6),
)
def test_an_epoch_of_all_ranks_has_each_row_once(
    sizes: list[int], row_group_rows: int, ranks: int, capacity: int, batch_size: int
) -> None:
    with TemporaryDirectory() as folder:
        path, small = Path(folder) / "examples", config(batch_size=batch_size)
        version = write(path, sizes, row_group_rows)
        for split, wanted in (
            ("train", [n for n in range(sum(sizes)) if n % 3 != 2]),
            ("validation", [n for n in range(sum(sizes)) if n % 3 == 2]),
            ("test", []),
        ):
            source = rows_of_split(path, version, split)
            feeds = [feed(source, rank, ranks, capacity, small) for rank in range(ranks)]
            place = Place(epoch=1)
            of_ranks = [list(one.batches(place)) for one in feeds]
            assert sorted(number for batches in of_ranks for number in numbers(batches)) == wanted
            assert {len(batches) for batches in of_ranks} == {feeds[0].steps(place)}, "no rank waits for another"
            for inputs, labels, weights in (batch for batches in of_ranks for batch in batches):
                real = weights > 0
                assert len(labels) == batch_size
                np.testing.assert_array_equal(labels[real], (weights[real] - 1) % 2)
                np.testing.assert_array_equal(inputs["mask"].sum(axis=1), np.where(real, (weights - 1) % 4, 0))
                assert not inputs["numeric"][~real].any()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SplitRows:
    path = tmp_path_factory.mktemp("feed") / "examples"
    return rows_of_split(path, write(path, [70, 50, 90], 16), "train")


@pytest.mark.parametrize("capacity", [1000, 60])
def test_a_feed_goes_on_at_any_step(source: SplitRows, capacity: int) -> None:
    small = config(batch_size=8)
    one = feed(source, 0, 1, capacity, small)
    whole = list(one.batches(Place(2)))
    for step in range(len(whole) + 1):
        rest = list(one.batches(Place(2, step)))
        assert len(rest) == len(whole) - step
        for (_, labels, weights), (_, wanted_labels, wanted_weights) in zip(rest, whole[step:], strict=True):
            np.testing.assert_array_equal(labels, wanted_labels)
            np.testing.assert_array_equal(weights, wanted_weights)


def test_the_order_does_not_depend_on_reader_threads(source: SplitRows) -> None:
    small = config(batch_size=8)
    orders = [numbers(list(feed(source, 0, 1, 60, small, readers).batches(Place()))) for readers in (1, 2, 5)]
    assert orders[0] == orders[1] == orders[2]
    assert orders[0] != sorted(orders[0])


def test_other_ranks_take_over_what_is_left(source: SplitRows) -> None:
    small = config(batch_size=8)
    began = [list(feed(source, rank, 2, 60, small).batches(Place()))[:4] for rank in range(2)]
    place = Place(0, 0, ((2, 4),))
    alone = list(feed(source, 0, 1, 60, small).batches(place))
    seen = [number for batches in (*began, alone) for number in numbers(batches)]
    assert sorted(seen) == [n for n in range(210) if n % 3 != 2]


def test_no_more_rows_are_in_memory_than_allowed(source: SplitRows, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one window is consumed the next one is read: two thirds of the rows that may be held."""
    one = feed(source, 0, 1, 60, config(batch_size=8))
    alive: list[int] = []
    ahead = RankRows.ahead

    def watched(rows: RankRows, windows: object) -> object:
        for share in ahead(rows, windows):
            alive.append(share.rows)
            yield share

    monkeypatch.setattr(RankRows, "ahead", watched)
    assert len(numbers(list(one.batches(Place())))) == 140
    assert len(alive) > 7
    assert max(alive) <= 20


def test_what_does_not_fit_is_sampled_for_simple_candidates_and_scored_in_parts(source: SplitRows) -> None:
    few, all_rows = (RankRows(source, all_pieces(source.counts), capacity, 2) for capacity in (50, 1000))
    assert (few.whole, all_rows.whole) == (False, True)
    assert few.held().rows == 50
    assert set(few.held().weights) < set(all_rows.held().weights)

    def scorer(encoded: object) -> np.ndarray:
        return encoded.numeric[:, 0].astype(np.float64)  # type: ignore[attr-defined]

    np.testing.assert_array_equal(few.score(scorer), all_rows.score(scorer))
    for name in ("labels", "weights", "buckets"):
        np.testing.assert_array_equal(getattr(few, name), getattr(all_rows, name))
    sample = few.held()
    few.release()
    assert few.held() is not sample
    held = all_rows.held()
    all_rows.release()
    assert all_rows.held() is held


def test_memory_in_rows(source: SplitRows) -> None:
    assert row_bytes(SCHEMA) == 4 + 4 * 4 + 41
    assert capacity_of(source, FeedSettings(memory_mb=1)) == 2**20 // 61
    held = read_pieces(source, all_pieces(source.counts))
    arrays = (
        held.encoded.numeric,
        *held.encoded.sequences.values(),
        held.labels,
        held.weights,
        held.buckets,
        held.targets,
    )
    assert sum(values.nbytes for values in arrays) <= row_bytes(SCHEMA) * held.rows


def test_rows_of_a_row_group_by_number(source: SplitRows) -> None:
    wanted = read_pieces(source, [Slice(1, 0, 11)]).weights
    np.testing.assert_array_equal(source.load(Slice(1, 3, 9)).weights, wanted[3:9])
    np.testing.assert_array_equal(source.load(Scattered(1, np.array([0, 4, 5, 10]))).weights, wanted[[0, 4, 5, 10]])


def test_a_row_group_is_read_a_few_rows_at_a_time(source: SplitRows, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = read_pieces(source, all_pieces(source.counts)).weights
    monkeypatch.setattr("intent_spark.training.feed.READ_ROWS", 3)
    np.testing.assert_array_equal(read_pieces(source, all_pieces(source.counts)).weights, wanted)
    np.testing.assert_array_equal(source.load(Scattered(0, np.array([2, 9]))).weights, wanted[[2, 9]])


def test_fewer_negatives_are_the_same_for_any_number_of_ranks(source: SplitRows) -> None:
    fewer = config(batch_size=8, negative_rate=0.4, positive_weight=2.0)
    rows = rank_rows(source, FeedSettings(), OneRank())
    batches = list(train_feed(rows, fewer, FeedSettings(), OneRank()).batches(Place()))
    labels = np.concatenate([labels for _, labels, _ in batches])
    weights = np.concatenate([weights for _, _, weights in batches])
    positives = {int(w) // 2 for w, label in zip(weights, labels, strict=True) if label}
    negatives = {int(w) for w, label in zip(weights, labels, strict=True) if not label and w}
    held = rows.held()
    assert positives == set(held.weights[held.labels == 1].astype(int)), "twice their weight"
    assert 0.2 < len(negatives) / (held.labels == 0).sum() < 0.6
    with pytest.raises(ContractError, match="No negative of the 140 training examples is kept"):
        train_feed(rows, config(negative_rate=1e-12), FeedSettings(), OneRank())


def test_the_pinned_version_is_read(tmp_path: Path) -> None:
    write(tmp_path / "examples", [3, 3], 10)
    assert [sum(rows_of_split(tmp_path / "examples", version, "train").counts) for version in (0, 1)] == [2, 4]


def test_padded_rows_weigh_nothing(tmp_path: Path) -> None:
    write(tmp_path / "examples", [4], 10)
    rows = rows_of_split(tmp_path / "examples", 0, "train")
    inputs, labels, weights = batch_of(rows.load(Slice(0, 0, 3)), np.array([1, -1]))
    assert weights.tolist() == [2.0, 0.0]
    assert labels.tolist() == [1.0, 0.0]
    assert inputs["mask"].tolist() == [[True], [False]]
    assert inputs["gaps"][0, 0] == pytest.approx(np.log(2))
    nothing, _, weightless = batch_of(rows.nothing(), np.array([-1, -1]))
    assert nothing["numeric"].shape == (2, 1)
    assert not weightless.any()


def test_columns_that_a_file_does_not_have_are_null(tmp_path: Path) -> None:
    table = examples_table(20)
    write_examples(tmp_path / "examples", table.drop_columns(["spend_cents_30d"]))
    properties = WriterProperties()
    write_deltalake(
        str(tmp_path / "examples"), table, mode="append", schema_mode="merge", partition_by=["as_of"],
        writer_properties=properties,
    )  # fmt: skip
    rows = ExampleTable(str(tmp_path / "examples"), 1)
    read = [list(rows.read("train", group, ["spend_cents_30d"])) for group in range(len(rows.count("train")))]
    nulls = sum(part["spend_cents_30d"].null_count for parts in read for part in parts)
    assert nulls * 2 == sum(len(part) for parts in read for part in parts) > 0


def test_the_dates_of_a_split(tmp_path: Path) -> None:
    """Of row groups that hold some of its rows; a table that is not cut by date is as one."""
    version = write(tmp_path / "cut", [2, 3, 0, 9], row_group_rows=2)
    table = ExampleTable(str(tmp_path / "cut"), version)
    assert table.dates(table.count("train")) == 3
    assert table.dates(table.count("validation")) == 2
    assert table.dates(table.count("test")) == 0
    rows = pa.concat_tables(
        p for group in range(len(table.count("train"))) for p in table.read("train", group, ["label"])
    )
    write_deltalake(str(tmp_path / "whole"), rows)
    one = ExampleTable(str(tmp_path / "whole"), 0)
    assert one.dates(one.count("train")) == 1
