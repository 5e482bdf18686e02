"""Floats of 16 bits for a small file: their low bytes apart from their high ones, which compress better so."""

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
