"""Identifiers that are unique, reproducible and give nothing away: bijective scrambles of running numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_HIGH, _LOW = np.uint64(10**5), np.uint64(10**4)
_FEISTEL_ROUNDS = 3
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)

UnsignedInts = npt.NDArray[np.uint64]


def mix(numbers: UnsignedInts) -> UnsignedInts:
    """A bijection of 64-bit numbers without visible order (finaliser of Steele's SplitMix64)."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(numbers ^ (numbers >> np.uint64(31)))


def uniform(numbers: UnsignedInts) -> npt.NDArray[np.float64]:
    """A fixed value in [0, 1) for each number."""
    return np.asarray((mix(numbers) >> np.uint64(11)) * 2.0**-53)


def hex_ids(chunk: int, count: int, salt: int) -> pa.Array:
    """``count`` ids of 16 hexadecimal digits; unique over all chunks that use the same salt (below 256)."""
    first = np.uint64((salt << 56) | (chunk << 32))
    mixed = mix(first + np.arange(count, dtype=np.uint64))
    nibbles = mixed.astype(">u8").view(np.uint8).reshape(count, 8)
    digits = np.empty((count, 16), dtype=np.uint8)
    digits[:, 0::2] = _HEX[nibbles >> 4]
    digits[:, 1::2] = _HEX[nibbles & 15]
    return fixed_width_strings(digits)


def user_ids(numbers: npt.NDArray[np.int64], seed: int) -> pa.Array:
    """User ids such as ``u402653189``: a seeded permutation (a Feistel network) of nine-digit numbers.

    Neighbouring numbers, such as those of the bots, do not stand together. ``numbers`` are below 10^9.
    """
    key = mix(np.array([seed], dtype=np.uint64))
    high, low = np.divmod(numbers.astype(np.uint64), _LOW)
    for _ in range(_FEISTEL_ROUNDS):
        high = (high + mix(low ^ key) % _HIGH) % _HIGH
        low = (low + mix(high ^ key) % _LOW) % _LOW
    scrambled = high * _LOW + low
    powers = 10 ** np.arange(8, -1, -1, dtype=np.uint64)
    digits = np.full((numbers.size, 10), ord("u"), dtype=np.uint8)
    digits[:, 1:] = (scrambled[:, None] // powers) % np.uint64(10) + np.uint64(ord("0"))
    return fixed_width_strings(digits)


def fixed_width_strings(characters: npt.NDArray[np.uint8]) -> pa.Array:
    """A string array from a matrix of ASCII codes, one row a string, without a Python object per row."""
    rows, width = characters.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    data = pa.py_buffer(np.ascontiguousarray(characters).tobytes())
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets.tobytes()), data)
