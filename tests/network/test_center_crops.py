"""The crops of validation and prediction: the right pixels, with and without a graph, and nothing outside of them."""

import numpy as np
import pytest
import tensorflow as tf

from painters_mtl.network.forward import center_crops, whole_crops

SIZES = [(32, 40), (33, 48), (96, 120), (50, 50), (24, 30), (60, 40), (56, 120), (1, 5)]


def images(side: int, n: int = 2) -> np.ndarray:
    return np.random.default_rng(side).integers(0, 256, (n, side, side, 3), np.uint8)


def bilinear(pixels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The pixels at these rows and columns, by numpy in float64."""
    known = np.arange(pixels.shape[1])
    rows = np.apply_along_axis(lambda line: np.interp(places, known, line), 1, pixels.astype(np.float64))
    return np.apply_along_axis(lambda line: np.interp(places, known, line), 2, rows)


@pytest.mark.parametrize(("size", "side"), SIZES)
def test_the_whole_painting_reaches_from_corner_to_corner(size: int, side: int) -> None:
    pixels = images(side)
    crops = whole_crops(pixels, size).numpy()
    assert crops.dtype == np.float32 and crops.shape == (2, size, size, 3)
    np.testing.assert_allclose(crops, bilinear(pixels, np.linspace(0, side - 1, size)), atol=1e-2)
    if size > 1:
        np.testing.assert_array_equal(crops[:, -1, -1], pixels[:, -1, -1])


@pytest.mark.parametrize(("size", "side"), SIZES)
def test_the_centre_is_the_middle_of_the_image_at_nearly_a_pixel_a_pixel(size: int, side: int) -> None:
    """Its side is size / side of the distance between the outer pixels, at most all of it."""
    pixels, share = images(side), min(1.0, size / side)
    crops = center_crops(pixels, size).numpy()
    assert crops.dtype == np.float32 and crops.shape == (2, size, size, 3)
    first, last = ((0.5 + sign * share / 2) * (side - 1) for sign in (-1, 1))
    np.testing.assert_allclose(crops, bilinear(pixels, np.linspace(first, last, size)), atol=2e-2)
    assert (crops > 0).any(axis=3).mean() > 0.99  # no black row or column, as of places outside of the image


@pytest.mark.parametrize(("size", "side"), SIZES)
@pytest.mark.parametrize("crops", [whole_crops, center_crops])
def test_a_graph_sees_the_same_pixels_whether_or_not_it_knows_the_side(crops, size: int, side: int) -> None:
    """Bit for bit: validation does not know the side of the cached images, an exported network does."""
    pixels = images(side)
    for spec in (None, side):
        traced = tf.function(
            lambda x: crops(x, size), input_signature=[tf.TensorSpec((None, spec, spec, 3), tf.uint8)], autograph=False
        )
        np.testing.assert_array_equal(traced(pixels), crops(pixels, size))


@pytest.mark.parametrize(("size", "side"), [(32, 40), (96, 120), (160, 200), (80, 100), (224, 280)])
def test_the_centre_is_as_version_0_4_saw_it(size: int, side: int) -> None:
    """Bit for bit: networks with two views that were trained by then are shown what they were validated on."""
    pixels, half = images(side), np.float32(size) / np.float32(side) / np.float32(2)
    box = np.float32([[0.5 - half, 0.5 - half, 0.5 + half, 0.5 + half]] * 2)
    then = tf.image.crop_and_resize(pixels, box, [0, 1], [size, size])
    np.testing.assert_array_equal(center_crops(pixels, size), then)
