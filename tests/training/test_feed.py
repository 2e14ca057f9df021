from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from deltalake import WriterProperties, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from intent_spark.models.schema import FeatureSchema, NumericFeature, SequenceFeature
from intent_spark.training.feed import (
    ExampleTable,
    Slice,
    batch_of,
    epoch_order,
    read_share,
    share_of_rows,
    steps_per_epoch,
)

SCHEMA = FeatureSchema(
    numeric=(NumericFeature("number", 0.0, 1.0),),
    categorical=(),
    sequences=(SequenceFeature("gaps", "number"),),
    max_length=4,
)


def write(path: Path, sizes: list[int], row_group_rows: int) -> int:
    """One file a day of the given size; a row's label weight is its number, every third row is validation."""
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
                "weight": pa.array(numbers, pa.float64()),
                "split": pa.array(["validation" if n % 3 == 2 else "train" for n in numbers], pa.string()),
            }
        )
        properties = WriterProperties(max_row_group_size=row_group_rows)
        write_deltalake(str(path), table, mode="append", partition_by=["as_of"], writer_properties=properties)
        done += size
    return len(sizes) - 1


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    row_group_rows=st.integers(1, 5),
    ranks=st.integers(1, 5),
)
def test_every_row_is_in_exactly_one_share(sizes: list[int], row_group_rows: int, ranks: int) -> None:
    with TemporaryDirectory() as folder:
        version = write(Path(folder) / "examples", sizes, row_group_rows)
        table = ExampleTable(str(Path(folder) / "examples"), version)
        for split, wanted in (
            ("train", [n for n in range(sum(sizes)) if n % 3 != 2]),
            ("validation", [n for n in range(sum(sizes)) if n % 3 == 2]),
            ("test", []),
        ):
            shares = (
                [read_share(table, split, SCHEMA, rank, ranks)[0] for rank in range(ranks)]
                if ranks == 1
                else _shares(table, split, ranks)
            )
            assert sorted(n for share in shares for n in share.weights.astype(int)) == wanted
            assert max(share.rows for share in shares) - min(share.rows for share in shares) <= 1
            for share in shares:
                np.testing.assert_array_equal(share.labels, share.weights % 2)
                np.testing.assert_array_equal(np.diff(share.encoded.offsets), share.weights % 4)


def _shares(table: ExampleTable, split: str, ranks: int) -> list:
    counts = np.sum([table.count(split, rank, ranks) for rank in range(ranks)], axis=0)
    return [read_share(table, split, SCHEMA, rank, ranks, lambda _: counts)[0] for rank in range(ranks)]


@given(st.lists(st.integers(0, 20), max_size=6), st.integers(1, 8))
def test_shares_cover_the_rows_in_order(counts: list[int], ranks: int) -> None:
    shares = [share_of_rows(counts, rank, ranks) for rank in range(ranks)]
    covered = [(part.group, row) for share in shares for part in share for row in range(part.start, part.stop)]
    assert covered == [(group, row) for group, rows in enumerate(counts) for row in range(rows)]


def test_share_example() -> None:
    assert share_of_rows([3, 4], 0, 2) == [Slice(0, 0, 3)]
    assert share_of_rows([3, 4], 1, 2) == [Slice(1, 0, 4)]


@given(st.integers(1, 50), st.integers(1, 4), st.integers(1, 9), st.integers(0, 3))
def test_each_epoch_uses_each_row_once(total: int, ranks: int, batch_size: int, epoch: int) -> None:
    steps = steps_per_epoch(total, ranks, batch_size)
    for rank in range(ranks):
        rows = total * (rank + 1) // ranks - total * rank // ranks
        order = epoch_order(rows, steps, batch_size, 7, epoch, rank)
        assert order.shape == (steps, batch_size)
        assert sorted(order[order >= 0]) == list(range(rows))
        np.testing.assert_array_equal(order, epoch_order(rows, steps, batch_size, 7, epoch, rank))


def test_epochs_and_ranks_are_shuffled_apart() -> None:
    orders = [epoch_order(100, 1, 100, 7, epoch, rank) for epoch, rank in ((0, 0), (1, 0), (0, 1))]
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


def test_the_pinned_version_is_read(tmp_path: Path) -> None:
    write(tmp_path / "examples", [3, 3], 10)
    shares = [read_share(ExampleTable(str(tmp_path / "examples"), version), "train", SCHEMA) for version in (0, 1)]
    assert [share.rows for share, _ in shares] == [2, 4]
    assert [total for _, total in shares] == [2, 4]


def test_padded_rows_weigh_nothing(tmp_path: Path) -> None:
    write(tmp_path / "examples", [4], 10)
    share, _ = read_share(ExampleTable(str(tmp_path / "examples"), 0), "train", SCHEMA)
    inputs, labels, weights = batch_of(share, np.array([1, -1]))
    assert weights.tolist() == [1.0, 0.0]
    assert labels.tolist() == [1.0, 0.0]
    assert inputs["mask"].tolist() == [[True], [False]]
    assert inputs["gaps"][0, 0] == pytest.approx(np.log(2))
