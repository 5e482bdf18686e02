"""By what near-copies are told: a perceptual hash and a small grey picture of a painting."""

import numpy as np
from PIL import Image

THUMBNAIL = 32  # side of the grey pictures


def phash(pixels: np.ndarray) -> int:
    """64-bit perceptual hash of an RGB array (uint8, (h, w, 3)): near-identical pictures differ in few bits."""
    import imagehash

    image = Image.fromarray(pixels)
    return int(str(imagehash.phash(image.reduce(max(1, min(image.size) // 128)))), 16)


def grey_thumbnail(pixels: np.ndarray) -> np.ndarray:
    """An RGB array (uint8, (h, w, 3)) as a small grey picture: uint8 (THUMBNAIL, THUMBNAIL)."""
    return np.asarray(Image.fromarray(pixels).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
