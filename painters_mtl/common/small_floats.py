"""Floats of 16 and of 8 bits for a small file.

Those of 16 bits have their low bytes apart from their high ones, which compress better so. Those of 8 bits are whole
numbers, each row with a scale of its own; the scales stand beside them as a second array, `NAME_scale`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def to_byte_planes(values: "np.ndarray") -> "np.ndarray":
    """uint8 (2, ...): the low bytes of the values as float16, then the high ones."""
    import numpy as np  # late: --help does not wait for it

    halves = np.ascontiguousarray(values, "<f2")
    return np.moveaxis(halves.reshape(*halves.shape, 1).view(np.uint8), -1, 0)


def from_byte_planes(stored: "np.ndarray") -> "np.ndarray":
    """float32 (...) from what `to_byte_planes` made; any other array as it is."""
    import numpy as np

    if stored.dtype != np.uint8:
        return stored
    return np.ascontiguousarray(np.moveaxis(stored, 0, -1)).view("<f2")[..., 0].astype(np.float32)


def to_8_bits(kernel: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """int8 (m, n) and the scale of each row, float32 (m, 1), of a kernel (m, n).

    Their product is the kernel, to a 254th of the largest number of a row. Rows are what a Dense layer reads: those of
    channels with small values hold large weights, beside which the others' would be rounded away.
    """
    import numpy as np

    scale = np.maximum(np.abs(kernel).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / 127
    return np.round(kernel / scale).astype(np.int8), scale


def unpacked(stored: "Mapping[str, np.ndarray]") -> "dict[str, np.ndarray]":
    """float32 arrays by name from those that are kept in 16 or 8 bits; any other array as it is."""
    import numpy as np

    arrays = {name: from_byte_planes(array) for name, array in stored.items()}
    for name in [name for name, array in arrays.items() if array.dtype == np.int8]:
        arrays[name] = arrays[name].astype(np.float32) * arrays.pop(f"{name}_scale")
    return arrays
