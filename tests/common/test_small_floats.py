"""Floats of 16 bits come back from their bytes as they were, those of 8 bits nearly."""

import numpy as np

from painters_mtl.common.small_floats import from_byte_planes, to_8_bits, to_byte_planes, unpacked


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


def test_in_8_bits_each_row_keeps_its_own_range() -> None:
    kernel = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32) * np.float32([[1e-3], [1], [1e3], [0]])
    whole, scale = to_8_bits(kernel)
    assert whole.dtype == np.int8 and np.abs(whole).max(axis=1).tolist() == [127, 127, 127, 0]
    stored = {"head/kernel": whole, "head/kernel_scale": scale, "other/gamma_scale": np.ones(3, np.float32)}
    found = unpacked(stored | {"other/kernel": to_byte_planes(kernel[:2])})
    assert list(found) == ["head/kernel", "other/gamma_scale", "other/kernel"]
    assert (np.abs(found["head/kernel"] - kernel) <= np.abs(kernel).max(axis=1, keepdims=True) / 253).all()
    np.testing.assert_array_equal(found["other/kernel"], kernel[:2].astype(np.float16))
    assert to_8_bits(found["head/kernel"])[0].tolist() == whole.tolist()  # packed again it is the same
