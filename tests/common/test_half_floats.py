"""Floats of 16 bits come back from their bytes as they were."""

import numpy as np

from painters_mtl.common.half_floats import from_byte_planes, to_byte_planes


def test_values_of_16_bits_come_back() -> None:
    values = np.random.default_rng(0).normal(size=(3, 3, 5, 7)).astype(np.float32)
    values[0, 0, 0, :3] = 0, -0.0, 6e-8
    stored = to_byte_planes(values)
    assert stored.shape == (2, 3, 3, 5, 7) and stored.dtype == np.uint8
    found = from_byte_planes(stored)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.astype(np.float16).astype(np.float32))
    assert np.array_equal(np.ascontiguousarray(stored[1]) >> 7, np.signbit(values))  # the high bytes hold the sign


def test_any_other_array_is_left_as_it_is() -> None:
    values = np.arange(5, dtype=np.float32)
    assert from_byte_planes(values) is values


def test_what_is_too_large_becomes_infinite_and_can_be_seen() -> None:
    with np.errstate(over="ignore"):
        assert np.isinf(from_byte_planes(to_byte_planes(np.array([[1e5]], np.float32)))).all()
