"""What chance decides about training crops: which part of a painting, what is mixed in, how the colours vary.

A crop is a box, float32 (4,): (top, left, bottom, right) in parts of the side. A box whose left is larger than its
right is mirrored. No crop is turned or upside down: a genre has an up and a down. `network.forward.augmented_crops`
cuts them, `pixel_effects` mixes and colours them. Apart from these, because it needs no TensorFlow.
"""

from typing import NamedTuple

import numpy as np

MIN_AREA = 0.3  # of a painting, in a training crop
ASPECT = 0.1  # log of how much a crop's sides may differ from the painting's
MIXUP_BETA = 0.4  # both parameters of the distribution of shares: mostly near 0 or 1
GRID, LEAST, MOST = 8, 2, 5  # sides of a pasted rectangle, in eighths of a crop's: areas are then whole pixels
CLEAN_EPOCHS = 0.2  # the last part of a training, in which nothing is mixed


class Mixes(NamedTuple):
    """For each crop of a batch, what is mixed into it."""

    partners: np.ndarray
    """Place in the batch of the painting whose crop is mixed in: int64 (n,)."""
    opacities: np.ndarray
    """Share of the crop's own pixels in the blend: float32 (n,), from 1/2 to 1."""
    boxes: np.ndarray
    """The rectangle that is taken from the other crop whole: float32 (n, 4), empty for none."""
    shares: np.ndarray
    """How much of the result shows the crop's own painting: float32 (n,)."""


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


def random_mixes(n: int, share: float, rng: np.random.Generator) -> Mixes:
    """Mixes for n crops, of which that `share` is mixed: half blended, half with a rectangle pasted in.

    Blended: mixup (Zhang et al. 2018, arXiv 1710.09412). Pasted: CutMix (Yun et al. 2019, arXiv 1905.04899). The
    crop's own painting always has the larger part.
    """
    partners, drawn = rng.permutation(n), rng.random(n)
    blended, pasted = drawn < share / 2, (drawn >= share / 2) & (drawn < share)
    opacities = rng.beta(MIXUP_BETA, MIXUP_BETA, n)
    opacities = np.where(blended, np.maximum(opacities, 1 - opacities), 1.0)
    sides = rng.integers(LEAST, MOST + 1, (2, n))
    corners = rng.integers(0, GRID - sides + 1)
    boxes = np.concatenate([corners, corners + sides]).T / GRID * pasted[:, None]
    shares = np.where(pasted, 1 - sides.prod(axis=0) / GRID**2, opacities)
    return Mixes(partners, opacities.astype(np.float32), boxes.astype(np.float32), shares.astype(np.float32))


def random_colors(n: int, most: float, rng: np.random.Generator) -> np.ndarray:
    """Factors of brightness, contrast and saturation for n crops: float32 (n, 3), from 1 - most to 1 + most."""
    return rng.uniform(1 - most, 1 + most, (n, 3)).astype(np.float32)


def mixes_in_epoch(epoch: int, epochs: int) -> bool:
    """Whether crops are mixed in an epoch, counted from 0: not in the last fifth, where whole paintings come back."""
    return epoch < epochs - max(1, round(CLEAN_EPOCHS * epochs))
