from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from intent_spark.config.errors import ContractError
from intent_spark.models.encode import (
    CLIP,
    Batch,
    Encoded,
    encode_ragged,
    signed_log1p,
    stable_hash,
    table_from_pandas,
)
from intent_spark.models.schema import CategoricalFeature, FeatureSchema, NumericFeature, SequenceFeature

SCHEMA = FeatureSchema(
    numeric=(
        NumericFeature("views", mean=1.0, std=2.0),
        NumericFeature("days", mean=0.5, std=0.25, nullable=True),
        NumericFeature("constant", mean=3.0, std=0.0),
    ),
    categorical=(CategoricalFeature("tier", ("1", "2")),),
    sequences=(
        SequenceFeature("types", "vocabulary", ("view", "cart")),
        SequenceFeature("items", "hash", buckets=16),
        SequenceFeature("bands", "vocabulary", ("3", "5")),
        SequenceFeature("gaps", "number", mean=1.0, std=2.0),
    ),
    max_length=3,
)
SEQUENCES = [["view"], [], ["cart", "other", None], ["view", "view", "cart", "cart"], None] * 2


def encode(table: pa.Table, schema: FeatureSchema) -> Batch:
    """All rows at once, as long as the schema allows."""
    encoded = encode_ragged(table, schema)
    return encoded.take(np.arange(encoded.rows), schema.max_length)


def ten_rows() -> pa.Table:
    sizes = [None if row is None else len(row) for row in SEQUENCES]

    def aligned(values: list[object], kind: pa.DataType) -> pa.Array:
        return pa.array([None if n is None else values[:n] for n in sizes], pa.list_(kind))

    return pa.table(
        {
            "views": pa.array(range(10), pa.int64()),
            "days": pa.array([None, 1.0, 2.0, 3.0, 4.0] * 2, pa.float64()),
            "constant": pa.array([20] * 10, pa.int32()),
            "tier": pa.array(["1", "2", "9", None, "1"] * 2),
            "types": pa.array(SEQUENCES, pa.list_(pa.string())),
            "items": aligned(["a", None, "b", "a"], pa.string()),
            "bands": aligned([3, None, 5, 7], pa.int32()),
            "gaps": aligned([0, 10, None, 1000], pa.int64()),
        }
    )


def test_numeric_inputs_are_normalised_and_nulls_marked() -> None:
    batch = encode(ten_rows(), SCHEMA)
    columns = dict(zip(SCHEMA.inputs, batch["numeric"].T, strict=True))
    assert SCHEMA.inputs == [
        "views", "days", "days is null", "constant", "tier = (other)", "tier = 1", "tier = 2",
    ]  # fmt: skip
    np.testing.assert_allclose(columns["views"], (np.log1p(np.arange(10)) - 1) / 2, rtol=1e-6)
    assert columns["days is null"].tolist() == [1, 0, 0, 0, 0] * 2
    assert columns["days"][0] == 0
    assert columns["days"][1] == pytest.approx((np.log(2) - 0.5) / 0.25, rel=1e-6)
    assert not columns["constant"].any()
    assert columns["tier = (other)"].tolist() == [0, 0, 1, 1, 0] * 2
    assert columns["tier = 1"].tolist() == [1, 0, 0, 0, 1] * 2


def test_sequences_keep_the_newest_events_and_pad_at_the_end() -> None:
    batch = encode(ten_rows(), SCHEMA)
    assert batch["mask"].astype(int).tolist()[:5] == [[1, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1], [0, 0, 0]]
    assert batch["types"].tolist()[:5] == [[1, 0, 0], [0, 0, 0], [2, 0, 0], [1, 2, 2], [0, 0, 0]]
    assert batch["bands"].tolist()[2:4] == [[1, 0, 2], [0, 2, 0]]
    assert batch["gaps"].dtype == np.float32
    assert batch["gaps"][3].tolist() == pytest.approx([(np.log(11) - 1) / 2, 0, (np.log(1001) - 1) / 2], rel=1e-6)
    np.testing.assert_array_equal(batch["types"][5:], batch["types"][:5])


def test_hashed_items_are_stable_and_null_is_zero() -> None:
    batch = encode(ten_rows(), SCHEMA)
    code_a, code_b = stable_hash(np.array(["a", "b"], object), 16).tolist()
    assert batch["items"][2].tolist() == [code_a, 0, code_b]
    assert batch["items"][3].tolist() == [0, code_b, code_a]
    # Written down once: a change would silently spoil every stored model.
    assert stable_hash(np.array(["a", "b", "item-42"], object), 8192).tolist() == [4909, 2126, 94]


def test_slices_chunks_and_pandas_encode_alike() -> None:
    table = ten_rows()
    whole = encode(table, SCHEMA)
    halves = [encode(part, SCHEMA) for part in (table.slice(0, 4), table.slice(4))]
    chunked = encode(pa.concat_tables([table.slice(0, 4), table.slice(4)]), SCHEMA)
    through_pandas = encode(table_from_pandas(table.to_pandas(), SCHEMA), SCHEMA)
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([half[name] for half in halves]), values)
        np.testing.assert_array_equal(chunked[name], values)
        np.testing.assert_array_equal(through_pandas[name], values)


def test_a_pandas_frame_without_any_event_or_category_encodes() -> None:
    frame = pd.DataFrame({name: [None, None] for name in SCHEMA.columns})
    batch = encode(table_from_pandas(frame, SCHEMA), SCHEMA)
    assert not batch["mask"].any()
    assert batch["numeric"].shape == (2, 7)


def test_take_pads_to_the_longest_and_minus_one_is_an_empty_row() -> None:
    batch = encode_ragged(ten_rows(), SCHEMA).take(np.array([0, -1]))
    assert batch["types"].tolist() == [[1], [0]]
    assert batch["mask"].tolist() == [[True], [False]]
    assert not batch["numeric"][1].any()


def test_selected_rows_are_what_is_taken_of_them() -> None:
    encoded, rows = encode_ragged(ten_rows(), SCHEMA), np.array([3, 0, 3, 7])
    chosen, wanted = encoded.select(rows).take(np.arange(4), 6), encoded.take(rows, 6)
    assert set(chosen) == set(wanted)
    for name, values in wanted.items():
        np.testing.assert_array_equal(chosen[name], values, err_msg=name)
    nothing = encoded.select(np.arange(0))
    assert nothing.rows == 0
    assert not nothing.take(np.array([-1, -1]))["mask"].any()


def test_concat_equals_encoding_at_once() -> None:
    table = ten_rows()
    joined = Encoded.concat([encode_ragged(table.slice(start, 5), SCHEMA) for start in (0, 5)])
    whole = encode_ragged(table, SCHEMA)
    np.testing.assert_array_equal(joined.offsets, whole.offsets)
    np.testing.assert_array_equal(joined.sequences["items"], whole.sequences["items"])
    np.testing.assert_array_equal(joined.numeric, whole.numeric)


def test_outliers_are_clipped_and_sign_is_kept() -> None:
    assert signed_log1p(np.array([-np.e + 1, 0.0, np.e - 1])).tolist() == pytest.approx([-1, 0, 1])
    table = ten_rows().set_column(1, "days", pa.array([1e30] * 10))
    assert encode(table, SCHEMA)["numeric"][0, 1] == CLIP


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("days", pa.array([float("inf")] * 10), "Column days holds NaN or infinity"),
        ("days", pa.array([float("nan")] * 10), "Column days holds NaN or infinity"),
        ("gaps", pa.array([[1, 2]] * 10), "Column gaps differs in length from types"),
        ("types", pa.array(["view"] * 10), "Column types is string where a list is expected"),
    ],
)
def test_refused_columns(column: str, values: pa.Array, message: str) -> None:
    table = ten_rows()
    broken = table.set_column(table.column_names.index(column), column, values)
    with pytest.raises(ContractError, match=message):
        encode(broken, SCHEMA)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ContractError, match="needs the columns tier, but the table has only views"):
        encode(ten_rows().drop_columns(["tier"]), SCHEMA)


def test_schema_survives_json() -> None:
    assert FeatureSchema.from_json(SCHEMA.to_json()) == SCHEMA
