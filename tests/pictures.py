"""Pictures that are drawn for tests, and their bytes in any format; imports no TensorFlow."""

import io

import numpy as np
from PIL import Image


def scene(height: int = 90, width: int = 120, seed: int = 0) -> Image.Image:
    """A smooth, asymmetric picture with a little noise."""
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 17 + y / 29)], -1)
    noise = np.random.default_rng(seed).normal(0, 4, smooth.shape)
    return Image.fromarray((smooth + noise).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()
