"""Which rows in which order: each exactly once, for any ranks, row groups, memory and interruptions."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from intent_spark.training.windows import (
    Piece,
    Scattered,
    Shuffle,
    Slice,
    Window,
    all_pieces,
    left_of_epoch,
    parts_of,
    rest_of,
    rows_of,
    sample_of,
    share_of,
    steps_of,
    windows_of,
)

COUNTS = st.lists(st.integers(0, 20), max_size=6)


def rows_in(pieces: list[Piece]) -> list[tuple[int, int]]:
    return [(piece.group, int(row)) for piece in pieces for row in piece.positions()]


def every_row(counts: list[int]) -> list[tuple[int, int]]:
    return [(group, row) for group, rows in enumerate(counts) for row in range(rows)]


def in_order(windows: list[Window]) -> list[tuple[int, int]]:
    found = []
    for window in windows:
        rows = rows_in(list(window.pieces))
        found += [rows[place] for place in window.order()]
    return found


@given(COUNTS, st.integers(1, 8))
def test_shares_cover_the_rows_in_order(counts: list[int], ranks: int) -> None:
    shares = [share_of(all_pieces(counts), rank, ranks) for rank in range(ranks)]
    assert [row for share in shares for row in rows_in(share)] == every_row(counts)
    sizes = [rows_of(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


def test_share_example() -> None:
    pieces = all_pieces([3, 0, 4])
    assert share_of(pieces, 0, 2) == [Slice(0, 0, 3)]
    assert share_of(pieces, 1, 2) == [Slice(2, 0, 4)]
    assert share_of(all_pieces([5]), 1, 3) == [Slice(0, 1, 3)], "fewer row groups than ranks: by ranges of rows"


@given(COUNTS, st.integers(1, 100), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_has_each_row_once_in_windows_that_fit(
    counts: list[int], capacity: int, epoch: int, part: int
) -> None:
    windows = windows_of(all_pieces(counts), capacity, Shuffle(7, epoch, 0, part))
    assert sorted(in_order(windows)) == every_row(counts)
    most = capacity if len(windows) == 1 else max(1, capacity // 3)
    assert all(0 < window.rows <= most for window in windows)
    again = windows_of(all_pieces(counts), capacity, Shuffle(7, epoch, 0, part))
    assert in_order(again) == in_order(windows)


def test_a_share_that_fits_is_shuffled_whole() -> None:
    [window] = windows_of(all_pieces([60, 40]), 100, Shuffle(7, 2, 1))
    np.testing.assert_array_equal(window.order(), np.random.default_rng([7, 2, 1]).permutation(100))


def test_epochs_ranks_seeds_and_parts_are_shuffled_apart() -> None:
    def order(*numbers: int, capacity: int = 30) -> list[tuple[int, int]]:
        return in_order(windows_of(all_pieces([10] * 9), capacity, Shuffle(*numbers)))

    for capacity in (30, 100):
        keys = ((7, 0, 0), (8, 0, 0), (7, 1, 0), (7, 0, 1), (7, 0, 0, 1))
        orders = [order(*numbers, capacity=capacity) for numbers in keys]
        assert len({tuple(found) for found in orders}) == len(keys)
    groups = [group for group, _ in order(7, 0, 0)]
    assert groups != sorted(groups), "row groups come in a random order"


@given(COUNTS, st.integers(1, 40), st.integers(0, 130))
def test_what_is_left_and_what_was_taken_are_all(counts: list[int], capacity: int, taken: int) -> None:
    windows = windows_of(all_pieces(counts), capacity, Shuffle(7, 0, 0))
    assert sorted(in_order(windows)[:taken] + rows_in(rest_of(windows, taken))) == every_row(counts)


@given(COUNTS, st.integers(3, 60), st.integers(1, 5), st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_ranks_may_change_within_an_epoch(
    counts: list[int], capacity: int, batch: int, worlds: list[int], data: st.DataObject
) -> None:
    """Each world takes some steps, the last one all that are left: every row once."""
    seen: Counter[tuple[int, int]] = Counter()
    past: tuple[tuple[int, int], ...] = ()
    for number, ranks in enumerate(worlds):
        left = left_of_epoch(counts, past, capacity, batch, Shuffle(7, 0, 0))
        steps = steps_of(rows_of(left), ranks, batch)
        if number < len(worlds) - 1:
            steps = data.draw(st.integers(0, steps))
        for rank in range(ranks):
            order = in_order(windows_of(share_of(left, rank, ranks), capacity, Shuffle(7, 0, rank, len(past))))
            seen.update(order[: steps * batch])
        past = (*past, (ranks, steps))
    assert seen == Counter(every_row(counts))


def test_parts_keep_row_groups_whole_where_they_fit() -> None:
    assert list(parts_of([Slice(0, 0, 3), Slice(1, 0, 3), Slice(2, 0, 2)], 5)) == [
        [Slice(0, 0, 3)],
        [Slice(1, 0, 3), Slice(2, 0, 2)],
    ]
    assert list(parts_of([Slice(0, 0, 7)], 3)) == [[Slice(0, 0, 3)], [Slice(0, 3, 6)], [Slice(0, 6, 7)]]


def test_a_sample_takes_from_each_row_group_its_part() -> None:
    assert sample_of(all_pieces([10, 20]), 15) == [Slice(0, 0, 5), Slice(1, 0, 10)]
    assert sample_of(all_pieces([3, 0, 4]), 100) == [Slice(0, 0, 3), Slice(2, 0, 4)]
    assert sample_of([], 5) == sample_of(all_pieces([0]), 5) == []
    counts = [7, 1, 0, 93, 11]
    for rows in range(1, 112):
        found = sample_of(all_pieces(counts), rows)
        assert rows_of(found) == rows
        assert all(piece.stop <= counts[piece.group] for piece in found)


def test_scattered_rows_are_cut_like_ranges() -> None:
    piece = Scattered(3, np.array([2, 5, 9]))
    [half] = share_of([piece], 1, 2)
    assert (half.group, half.positions().tolist()) == (3, [5, 9])


def test_steps_are_those_of_the_largest_share() -> None:
    assert [steps_of(rows, 2, 4) for rows in (0, 1, 8, 9, 16, 17)] == [0, 1, 1, 2, 2, 3]
