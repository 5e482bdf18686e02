"""Maps of what in a picture speaks for an answer, whatever made them: normalized, compared, laid over the picture."""

import numpy as np
from PIL import Image

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def normalized(maps: np.ndarray) -> np.ndarray:
    """Each picture's map to 0 to 1: float32 (n, ...) divided by its largest value. What is below 0 becomes 0."""
    maps = np.maximum(maps, 0)
    top = maps.reshape(len(maps), -1).max(axis=1).reshape(-1, *[1] * (maps.ndim - 1))
    return np.divide(maps, top, out=np.zeros_like(maps), where=top > 0)


def mean_cosine(maps: np.ndarray) -> float:
    """How much the maps of different pictures are the same: mean cosine of all pairs of (n, ...), 0 to 1.

    Near 1 they tell of the network and not of the pictures. NaN where fewer than two maps hold anything.
    """
    flat = maps.reshape(len(maps), -1).astype(np.float64)
    flat = flat[flat.any(axis=1)]
    n = len(flat)
    if n < 2:
        return float("nan")
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return float((np.square(unit.sum(axis=0)).sum() - n) / (n * (n - 1)))


def upsampled(heat: np.ndarray, width: int, height: int) -> np.ndarray:
    """A map (h, w) over a picture of that size: float32 (height, width), bicubic, never above or below its cells.

    The network saw the whole picture squashed to a square, so the map's square is the whole picture, and each cell its
    own part of it.
    """
    image = Image.fromarray(np.ascontiguousarray(heat, np.float32))
    large = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return np.clip(large, heat.min(), heat.max())


def overlay(pixels: np.ndarray, heat: np.ndarray, strength: float = 0.5) -> np.ndarray:
    """A picture in grey under its map: uint8 (h, w, 3), with `heat` (h, w) in 0 to 1 in matplotlib's inferno.

    Grey, because the painting's own colours would be mistaken for the map's; inferno, because equal steps of it look
    equal, and its brightness survives a print in black and white.
    """
    from matplotlib import colormaps

    grey = (pixels @ np.array(LUMA))[..., None]
    mixed = (1 - strength) * grey + strength * 255 * colormaps["inferno"](np.clip(heat, 0, 1))[..., :3]
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
