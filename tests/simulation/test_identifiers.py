from __future__ import annotations

import numpy as np

from intent_spark.simulation.identifiers import fixed_width_strings, hex_ids, uniform, user_ids


def test_user_ids_are_a_permutation_of_nine_digits() -> None:
    ids = user_ids(np.arange(50_000), seed=3).to_pylist()
    assert len(set(ids)) == 50_000
    assert all(len(text) == 10 and text[0] == "u" and text[1:].isdigit() for text in ids)
    assert user_ids(np.array([17]), seed=3).to_pylist() == [ids[17]]
    assert user_ids(np.array([17]), seed=4).to_pylist() != [ids[17]]


def test_neighbouring_users_do_not_have_neighbouring_ids() -> None:
    numbers = np.array([int(text[1:]) for text in user_ids(np.arange(1000), seed=3).to_pylist()])
    steps = np.diff(numbers)
    assert np.unique(steps).size > 990
    assert abs(np.corrcoef(np.arange(1000), numbers)[0, 1]) < 0.15


def test_event_ids_are_unique_over_chunks_and_salts() -> None:
    ids = [text for chunk in range(3) for salt in (1, 2) for text in hex_ids(chunk, 1000, salt).to_pylist()]
    assert len(set(ids)) == 6000
    assert {len(text) for text in ids} == {16}
    assert hex_ids(0, 0, 1).to_pylist() == []


def test_uniform_fills_the_unit_interval() -> None:
    values = uniform(np.arange(10_000, dtype=np.uint64))
    assert 0 <= values.min() < 0.01 and 0.99 < values.max() < 1
    assert abs(values.mean() - 0.5) < 0.02


def test_strings_are_built_from_character_codes() -> None:
    codes = np.frombuffer(b"abcdef", dtype=np.uint8).reshape(3, 2)
    assert fixed_width_strings(codes).to_pylist() == ["ab", "cd", "ef"]
