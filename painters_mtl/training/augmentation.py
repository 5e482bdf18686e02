"""Random crops of paintings, as boxes: float32 (n, 4), each (top, left, bottom, right) in parts of the side.

A box whose left is larger than its right is mirrored. No crop is turned or upside down: a genre has an up and a down.
`network.forward.augmented_crops` cuts them. Apart from `batches`, because it needs no TensorFlow.
"""

import numpy as np

MIN_AREA = 0.3  # of a painting, in a training crop
ASPECT = 0.1  # log of how much a crop's sides may differ from the painting's


def random_crops(n: int, rng: np.random.Generator) -> np.ndarray:
    """Boxes of n random crops, each with at least 0.3 of the painting, half of them mirrored."""
    scale, aspect = np.sqrt(rng.uniform(MIN_AREA, 1, n)), np.exp(rng.uniform(-ASPECT, ASPECT, n))
    height, width = np.minimum(1, scale * aspect), np.minimum(1, scale / aspect)
    top, left = rng.uniform(0, 1 - height), rng.uniform(0, 1 - width)
    return _half_mirrored(top, left, height, width, rng)


def random_squares(n: int, side: float, rng: np.random.Generator) -> np.ndarray:
    """Boxes of n random squares whose side is that part of the picture's, half of them mirrored."""
    top, left = rng.uniform(0, 1 - side, (2, n))
    return _half_mirrored(top, left, side, side, rng)


def _half_mirrored(
    top: np.ndarray, left: np.ndarray, height: np.ndarray | float, width: np.ndarray | float, rng: np.random.Generator
) -> np.ndarray:
    """Boxes of these corners and sizes; in each, left and right are exchanged with a probability of one half."""
    mirrored = rng.random(len(top)) < 0.5
    start, end = np.where(mirrored, left + width, left), np.where(mirrored, left, left + width)
    return np.stack([top, start, top + height, end], axis=1).astype(np.float32)
