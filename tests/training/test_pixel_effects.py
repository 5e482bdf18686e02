"""What is done to the pixels of crops, against the same in numpy and in Pillow."""

import numpy as np
from PIL import Image, ImageEnhance

from painters_mtl.training.augmentation import random_mixes
from painters_mtl.training.pixel_effects import colored, mixed


def crops(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, 16, 3)).astype(np.float32)


def test_a_mix_shows_both_crops_by_their_shares() -> None:
    ones, zeros = np.full((400, 56, 56, 3), 1, np.float32), np.zeros((400, 56, 56, 3), np.float32)
    mixes = random_mixes(400, 0.8, np.random.default_rng(3))
    shown = mixed(ones, zeros, mixes.opacities, mixes.boxes).numpy().mean(axis=(1, 2, 3))
    np.testing.assert_allclose(shown, mixes.shares, atol=1e-5)  # to the pixel, at any multiple of 8


def test_a_rectangle_comes_from_the_other_crop_and_nothing_else_changes() -> None:
    one, other = crops(2, 0), crops(2, 1)
    boxes = np.array([[0.25, 0.5, 0.75, 1.0], [0, 0, 0, 0]], np.float32)
    wanted = one.copy()
    wanted[0, 4:12, 8:] = other[0, 4:12, 8:]
    np.testing.assert_array_equal(mixed(one, other, np.ones(2, np.float32), boxes), wanted)


def test_colours_vary_as_pillow_varies_them() -> None:
    one = crops(1, 2)
    picture = Image.fromarray(one[0].astype(np.uint8))
    for place, kind in enumerate((ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)):
        factors = np.ones((1, 3), np.float32)
        factors[0, place] = 0.7
        ours, theirs = colored(one, factors).numpy()[0], np.asarray(kind(picture).enhance(0.7), np.float32)
        # Pillow's grey weighs green most, ours is the mean: the same for what is grey, near for what is not.
        assert abs(ours - theirs).mean() < (1 if place == 0 else 12)
    gray = np.repeat(one[..., :1], 3, axis=-1)
    np.testing.assert_allclose(colored(gray, np.array([[1, 1, 0.2]], np.float32)), gray, atol=1e-3)
    np.testing.assert_allclose(colored(one, np.ones((1, 3), np.float32)), one, atol=1e-3)
