"""Cached images through a network: the crops of training, the whole painting of prediction, any number of images."""

import itertools

import keras
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from painters_mtl.common.iteration import in_batches
from painters_mtl.network.forward import augmented_crops, forward_function, whole_crops
from painters_mtl.training.augmentation import random_crops


def random_images(n: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


def test_a_whole_view_of_the_same_size_is_the_copy() -> None:
    copies = random_images(3, 33)
    seen = whole_crops(copies, 33).numpy()
    assert seen.dtype == np.float32
    np.testing.assert_array_equal(seen, copies)


def test_a_mirrored_box_is_the_mirrored_picture() -> None:
    copies = random_images(2, 32)
    seen = augmented_crops(copies, np.array([[0, 1, 1, 0], [0, 0, 1, 1]], np.float32), 32).numpy()
    np.testing.assert_array_equal(seen, np.stack([np.flip(copies[0], axis=1), copies[1]]))


def test_a_view_is_the_bilinear_picture_of_its_own_box() -> None:
    copies = random_images(6, 40)
    boxes = random_crops(6, np.random.default_rng(1))
    assert {bool(b[1] > b[3]) for b in boxes} == {True, False}
    seen = augmented_crops(copies, boxes, 32).numpy()
    for copy, (top, start, bottom, end), found in zip(copies, boxes.astype(np.float64), seen, strict=True):
        grid = np.meshgrid(np.linspace(top, bottom, 32) * 39, np.linspace(start, end, 32) * 39, indexing="ij")
        by_scipy = np.stack([map_coordinates(copy[..., c].astype(np.float64), grid, order=1) for c in range(3)], -1)
        np.testing.assert_allclose(found, by_scipy, atol=0.01)


def test_inference_is_the_network_on_whole_views_for_any_number() -> None:
    image = keras.Input((16, 16, 3))
    keras.utils.set_random_seed(0)
    network = keras.Model(image, {"style": keras.layers.Dense(4)(keras.layers.Flatten()(image))})
    forward = forward_function(network, 16)
    copies = random_images(70, 20)
    for n in (1, 2, 70):
        wanted = network(whole_crops(copies[:n], 16), training=False)["style"].numpy()
        np.testing.assert_allclose(forward(copies[:n])["style"].numpy(), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("n", "size"), [(0, 4), (1, 4), (4, 4), (9, 4), (200, 64)])
def test_slices_cover_every_painting_once(n: int, size: int) -> None:
    parts = list(in_batches(n, size))
    assert list(itertools.chain(*(range(n)[part] for part in parts))) == list(range(n))
    assert all(part.stop - part.start <= size for part in parts) and len(parts) == -(-n // size)
