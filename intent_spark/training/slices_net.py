"""Gradients of embeddings: a slice for each event that looked a row up. Imports TensorFlow: import it late."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any
Slices = Any  # tf.IndexedSlices


def for_exchange(gradient: Tensor | Slices, table: tuple[int, ...], most_slices: int, ranks: int) -> Tensor | Slices:
    """The gradient as it travels: merged slices where they are fewer numbers than the table, else dense."""
    if isinstance(gradient, tf.IndexedSlices) and travels_sparse(table, most_slices, ranks):
        return merge_slices(gradient)
    return tf.convert_to_tensor(gradient)


def merge_slices(slices: Slices) -> Slices:
    """The same gradient with one slice a row of the table: what was looked up twice is summed."""
    rows, places = tf.unique(slices.indices)
    values = tf.math.unsorted_segment_sum(slices.values, places, tf.size(rows))
    return tf.IndexedSlices(values, rows, slices.dense_shape)


def travels_sparse(table: tuple[int, ...], most_slices: int, ranks: int) -> bool:
    """Whether slices of a table [rows, width] are fewer numbers to receive than the table, over ``ranks`` ranks.

    Slices are gathered: a rank receives the others', each with its row's number. A dense table goes around a
    ring twice. Decided from ``most_slices``, what a batch holds at most, for all ranks must come to the same.
    """
    rows, width = table
    gathered = (ranks - 1) * min(most_slices, rows) * (width + 1)
    reduced = 2 * (ranks - 1) / ranks * rows * width
    return gathered < reduced
