"""Rows of ``examples`` or ``profiles`` become arrays: the one encoder that training and scoring both call.

Sequences stay ragged (flat codes and offsets) until a batch is taken, so memory follows the events that
happened and not the longest user. No loop runs over rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pandas import DataFrame
from pandas.util import hash_array

from intent_spark.config.errors import ContractError
from intent_spark.models.schema import CategoricalFeature, FeatureSchema, NumericFeature, SequenceFeature

Array = npt.NDArray[Any]
Batch = dict[str, Array]
NetworkLogits = Callable[[Batch], npt.NDArray[np.float64]]

# Beyond ten standard deviations of the training data a value tells no more; a bot must not blow up a logit.
CLIP = 10.0


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoded rows: ``numeric`` float32 [n, f]; sequences' values, flat [events]; offsets int64 [n + 1]."""

    numeric: npt.NDArray[np.float32]
    sequences: dict[str, Array]
    offsets: npt.NDArray[np.int64]

    @property
    def rows(self) -> int:
        """How many rows are encoded."""
        return len(self.numeric)

    def take(self, rows: npt.NDArray[np.intp], length: int | None = None) -> Batch:
        """The rows as a model's inputs, padded at the end to ``length`` or the longest of them (at least 1).

        Returns ``numeric`` float32 [k, f], each sequence int32 or float32 [k, length], ``mask`` bool
        [k, length] (True where an event is). A row number of -1 gives an empty row: zeros and no event.
        """
        real = rows >= 0
        numeric = np.zeros((len(rows), self.numeric.shape[1]), np.float32)
        numeric[real] = self.numeric[rows[real]]
        starts, sizes = np.zeros((2, len(rows)), np.int64)
        starts[real] = self.offsets[rows[real]]
        sizes[real] = self.offsets[rows[real] + 1] - starts[real]
        width = int(max(1, sizes.max(initial=0))) if length is None else length
        mask = np.arange(width) < sizes[:, None]
        where = (starts[:, None] + np.arange(width))[mask]
        batch: Batch = {"numeric": numeric, "mask": mask}
        for name, flat in self.sequences.items():
            batch[name] = np.zeros(mask.shape, flat.dtype)
            batch[name][mask] = flat[where]
        return batch

    def select(self, rows: npt.NDArray[np.intp]) -> Encoded:
        """The rows of these numbers, in this order, ragged still."""
        sizes = self.offsets[rows + 1] - self.offsets[rows]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
        where = np.repeat(self.offsets[rows] - offsets[:-1], sizes) + np.arange(offsets[-1])
        flat = {name: values[where] for name, values in self.sequences.items()}
        return Encoded(self.numeric[rows], flat, offsets)

    @classmethod
    def concat(cls, parts: list[Encoded]) -> Encoded:
        """One after the other; there must be at least one, all of the same schema.

        ``parts`` is emptied, and arrays are freed one by one as they are copied: many rows may be in memory once only.
        """
        sizes = np.concatenate([np.diff(part.offsets) for part in parts])
        columns = {name: [part.sequences[name] for part in parts] for name in parts[0].sequences}
        numeric = [part.numeric for part in parts]
        parts.clear()
        return cls(
            sequences={name: np.concatenate(columns.pop(name)) for name in list(columns)},
            numeric=np.concatenate(numeric),
            offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)]),
        )


def encode_ragged(table: pa.Table, schema: FeatureSchema) -> Encoded:
    """Encode a table that has (at least) the schema's columns, keeping the newest ``max_length`` events.

    Raises:
        ContractError: a column is missing, a number is not finite, or sequences of one row differ in length.
    """
    missing = [name for name in schema.columns if name not in table.column_names]
    if missing:
        raise ContractError(
            f"The model needs the columns {', '.join(missing)}, but the table has only "
            f"{', '.join(table.column_names)}: rebuild the profiles with the model's features, or retrain."
        )
    parts = [_numeric(table[feature.name], feature) for feature in schema.numeric]
    parts += [_one_hot(table[feature.name], feature) for feature in schema.categorical]
    numeric = np.concatenate([np.zeros((table.num_rows, 0), np.float32), *parts], axis=1)
    sequences, offsets = _sequences(table, schema)
    return Encoded(numeric, sequences, offsets)


def batched_logits(
    network_logits: NetworkLogits, encoded: Encoded, batch_rows: int, heads: int | None = None
) -> npt.NDArray[np.float64]:
    """Logits float64 of all rows, ``batch_rows`` at a time, the last batch padded with empty rows.

    They are [n], or [n, heads] where the function gives as many for each row.
    """
    logits = np.empty(encoded.rows if heads is None else (encoded.rows, heads))
    # Rows of like length share a batch, so a batch is no longer than its users need.
    order = np.argsort(np.diff(encoded.offsets), kind="stable")
    for start in range(0, encoded.rows, batch_rows):
        rows = order[start : start + batch_rows]
        padded = np.pad(rows, (0, batch_rows - len(rows)), constant_values=-1)
        logits[rows] = network_logits(encoded.take(padded))[: len(rows)]
    return logits


def table_from_pandas(frame: DataFrame, schema: FeatureSchema) -> pa.Table:
    """The schema's columns of a pandas frame, as a pandas UDF gets it; NaN means null there."""
    known = [name for name in schema.columns if name in frame.columns]
    return pa.Table.from_pandas(frame[known], preserve_index=False)


def signed_log1p(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``sign(x) log(1 + |x|)``: keeps sign and order, tames long tails; 0 stays 0."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def stable_hash(values: Array, buckets: int) -> npt.NDArray[np.int32]:
    """Codes 1 … buckets - 1 of strings: pandas' SipHash with its fixed key, equal in all processes."""
    return (hash_array(values, categorize=False) % np.uint64(buckets - 1) + np.uint64(1)).astype(np.int32)


def _numeric(column: pa.ChunkedArray, feature: NumericFeature) -> npt.NDArray[np.float32]:
    values = _standardised(_combined(column), feature.name, feature.mean, feature.std)
    if not feature.nullable:
        return values[:, None]
    is_null = column.is_null().to_numpy().astype(np.float32)
    return np.stack([values, is_null], axis=1)


def _standardised(array: pa.Array, name: str, mean: float, std: float) -> npt.NDArray[np.float32]:
    values = pc.fill_null(array.cast(pa.float64()), 0.0).to_numpy(zero_copy_only=False)
    if not np.isfinite(values).all():
        raise ContractError(f"Column {name} holds NaN or infinity: write null where a value is not known.")
    scale = 1.0 / std if std > 0 else 0.0
    scaled = np.clip((signed_log1p(values) - mean) * scale, -CLIP, CLIP)
    if array.null_count:
        scaled[array.is_null().to_numpy(zero_copy_only=False)] = 0.0
    return scaled.astype(np.float32)


def _one_hot(column: pa.ChunkedArray, feature: CategoricalFeature) -> npt.NDArray[np.float32]:
    codes = _vocabulary_codes(_combined(column), feature.vocabulary)
    return np.eye(len(feature.vocabulary) + 1, dtype=np.float32)[codes]


def _vocabulary_codes(array: pa.Array, vocabulary: tuple[str, ...]) -> npt.NDArray[np.int32]:
    places = pc.index_in(_as_text(array), value_set=pa.array(vocabulary, pa.string()))
    return np.asarray(pc.fill_null(places, -1).to_numpy(zero_copy_only=False) + 1, np.int32)


def _hash_codes(array: pa.Array, buckets: int) -> npt.NDArray[np.int32]:
    encoded = _as_text(array).dictionary_encode()
    uniques = encoded.dictionary.to_numpy(zero_copy_only=False).astype(object)
    codes = np.append(stable_hash(uniques, buckets) if len(uniques) else [], 0).astype(np.int32)
    return np.asarray(codes[pc.fill_null(encoded.indices, len(uniques)).to_numpy(zero_copy_only=False)])


def _as_text(array: pa.Array) -> pa.Array:
    """Strings; whole numbers that pandas turned to floats because of a null read as whole numbers again."""
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), None, array).cast(pa.int64())
    return array.cast(pa.string())


def _sequences(table: pa.Table, schema: FeatureSchema) -> tuple[dict[str, Array], npt.NDArray[np.int64]]:
    sizes: npt.NDArray[np.int64] | None = None
    flats: dict[str, Array] = {}
    for feature in schema.sequences:
        values, own_sizes = _newest(_combined(table[feature.name]), feature.name, schema.max_length)
        if sizes is not None and not np.array_equal(sizes, own_sizes):
            raise ContractError(
                f"Column {feature.name} differs in length from {schema.sequences[0].name} in some row: "
                "the columns of a sequence must be aligned, rebuild the profiles."
            )
        sizes = own_sizes
        flats[feature.name] = _sequence_values(values, feature)
    sizes = np.zeros(table.num_rows, np.int64) if sizes is None else sizes
    return flats, np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _newest(array: pa.Array, name: str, max_length: int) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Flat values of each list's last ``max_length`` entries, and the lists' (clipped) sizes [n]."""
    if pa.types.is_null(array.type):
        array = array.cast(pa.list_(pa.string()))
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        raise ContractError(f"Column {name} is {array.type} where a list is expected: rebuild the profiles.")
    sizes = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    kept = np.minimum(sizes, max_length)
    ends = array.offsets.to_numpy(zero_copy_only=False)[:-1].astype(np.int64) + sizes
    total = int(kept.sum())
    within = np.arange(total) - np.repeat(np.cumsum(kept) - kept, kept)
    return array.values.take(pa.array(np.repeat(ends - kept, kept) + within)), kept


def _sequence_values(values: pa.Array, feature: SequenceFeature) -> Array:
    if feature.kind == "vocabulary":
        return _vocabulary_codes(values, feature.vocabulary)
    if feature.kind == "hash":
        return _hash_codes(values, feature.buckets)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    return _standardised(values, feature.name, feature.mean, feature.std)


def _combined(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined
