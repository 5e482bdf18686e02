"""Cached images through a network: the crops of training, the whole painting of prediction, any number of images."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates

from painters_mtl.common.iteration import in_batches
from painters_mtl.network.forward import augmented_crops, center_crops, forward_function, whole_crops
from painters_mtl.training.augmentation import random_crops

# Of a crop, and of the cached image that it is taken from.
SIZES = [(32, 40), (33, 48), (96, 120), (50, 50), (24, 30), (60, 40), (56, 120), (1, 5)]


def random_images(n: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


def test_a_whole_crop_of_the_same_size_is_the_image() -> None:
    images = random_images(3, 33)
    crops = whole_crops(images, 33).numpy()
    assert crops.dtype == np.float32
    np.testing.assert_array_equal(crops, images)


def test_a_mirrored_box_is_the_mirrored_picture() -> None:
    images = random_images(2, 32)
    crops = augmented_crops(images, np.array([[0, 1, 1, 0], [0, 0, 1, 1]], np.float32), 32).numpy()
    np.testing.assert_array_equal(crops, np.stack([np.flip(images[0], axis=1), images[1]]))


def edge_boxes(rng: np.random.Generator) -> np.ndarray:
    """Boxes that reach each of the edges, as they are and mirrored."""
    height, width = rng.uniform(0.3, 1, 2)
    corners = [(0, 0, 1, 1), (0, 0, height, width), (1 - height, 1 - width, 1, 1), (0, 1 - width, 1, 1), (0.1, 0, 1, 1)]
    boxes = [(top, *sides, bottom) for top, left, bottom, right in corners for sides in ((left, right), (right, left))]
    return np.array([(top, start, bottom, end) for top, start, end, bottom in boxes], np.float32)


@pytest.mark.parametrize("side", [33, 40, 60, 97, 120, 160, 200, 280])
def test_crops_of_white_pictures_are_white(side: int) -> None:
    """Of every size that training uses, and of some others: nothing outside of the picture is seen."""
    rng = np.random.default_rng(side)
    white = np.full((10, side, side, 3), 255, np.uint8)
    graph = tf.function(augmented_crops)
    for size in (2, 3, 33, side, *range(32, 232, 8)):
        boxes = edge_boxes(rng)
        np.testing.assert_allclose(graph(white, boxes, tf.constant(size)), 255, atol=1e-4, err_msg=str(size))
    np.testing.assert_allclose(augmented_crops(white, boxes, side), 255, atol=1e-4)


@pytest.mark.parametrize(("side", "size"), [(40, 32), (120, 56), (120, 48), (60, 33)])
def test_a_crop_is_the_bilinear_picture_of_its_own_box(side: int, size: int) -> None:
    """By SciPy, for random boxes and for those that reach the edge."""
    rng = np.random.default_rng(1)
    boxes = np.concatenate([random_crops(6, rng), edge_boxes(rng)])
    assert {bool(b[1] > b[3]) for b in boxes[:6]} == {True, False}
    images = random_images(len(boxes), side)
    crops = augmented_crops(images, boxes, size).numpy()
    for image, (top, start, bottom, end), crop in zip(images, boxes.astype(np.float64), crops, strict=True):
        places = np.linspace(top, bottom, size) * (side - 1), np.linspace(start, end, size) * (side - 1)
        grid = np.meshgrid(*places, indexing="ij")
        channels = [map_coordinates(image[..., c].astype(np.float64), grid, order=1) for c in range(3)]
        np.testing.assert_allclose(crop, np.stack(channels, -1), atol=0.01 * side / 40)


def bilinear(pixels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The pixels at these rows and columns, by numpy in float64."""
    known = np.arange(pixels.shape[1])
    rows = np.apply_along_axis(lambda line: np.interp(places, known, line), 1, pixels.astype(np.float64))
    return np.apply_along_axis(lambda line: np.interp(places, known, line), 2, rows)


@pytest.mark.parametrize(("size", "side"), SIZES)
def test_the_whole_painting_reaches_from_corner_to_corner(size: int, side: int) -> None:
    pixels = random_images(2, side, side)
    crops = whole_crops(pixels, size).numpy()
    assert crops.dtype == np.float32 and crops.shape == (2, size, size, 3)
    np.testing.assert_allclose(crops, bilinear(pixels, np.linspace(0, side - 1, size)), atol=1e-2)
    if size > 1:
        np.testing.assert_array_equal(crops[:, -1, -1], pixels[:, -1, -1])


@pytest.mark.parametrize(("size", "side"), SIZES)
def test_the_centre_is_the_middle_of_the_image_at_nearly_a_pixel_a_pixel(size: int, side: int) -> None:
    """Its side is size / side of the distance between the outer pixels, at most all of it."""
    pixels, share = random_images(2, side, side), min(1.0, size / side)
    crops = center_crops(pixels, size).numpy()
    assert crops.dtype == np.float32 and crops.shape == (2, size, size, 3)
    first, last = ((0.5 + sign * share / 2) * (side - 1) for sign in (-1, 1))
    np.testing.assert_allclose(crops, bilinear(pixels, np.linspace(first, last, size)), atol=2e-2)
    assert (crops > 0).any(axis=3).mean() > 0.99  # no black row or column, as of places outside of the image


@pytest.mark.parametrize(("size", "side"), SIZES)
@pytest.mark.parametrize("crops", [whole_crops, center_crops])
def test_a_graph_sees_the_same_pixels_whether_or_not_it_knows_the_side(crops, size: int, side: int) -> None:
    """Bit for bit: validation does not know the side of the cached images, an exported network does."""
    pixels = random_images(2, side, side)
    for spec in (None, side):
        traced = tf.function(
            lambda x: crops(x, size), input_signature=[tf.TensorSpec((None, spec, spec, 3), tf.uint8)], autograph=False
        )
        np.testing.assert_array_equal(traced(pixels), crops(pixels, size))


@pytest.mark.parametrize(("size", "side"), [(32, 40), (96, 120), (160, 200), (80, 100), (224, 280)])
def test_the_centre_is_as_version_0_4_saw_it(size: int, side: int) -> None:
    """Bit for bit: networks with two views that were trained by then are shown what they were validated on."""
    pixels, half = random_images(2, side, side), np.float32(size) / np.float32(side) / np.float32(2)
    box = np.float32([[0.5 - half, 0.5 - half, 0.5 + half, 0.5 + half]] * 2)
    then = tf.image.crop_and_resize(pixels, box, [0, 1], [size, size])
    np.testing.assert_array_equal(center_crops(pixels, size), then)


def test_inference_is_the_network_on_whole_paintings_for_any_number() -> None:
    image = keras.Input((16, 16, 3))
    keras.utils.set_random_seed(0)
    network = keras.Model(image, {"style": keras.layers.Dense(4)(keras.layers.Flatten()(image))})
    forward = forward_function(network, 16)
    images = random_images(70, 20)
    for n in (1, 2, 70):
        expected = network(whole_crops(images[:n], 16), training=False)["style"].numpy()
        np.testing.assert_allclose(forward(images[:n])["style"].numpy(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("n", "size"), [(0, 4), (1, 4), (4, 4), (9, 4), (200, 64)])
def test_slices_cover_every_painting_once(n: int, size: int) -> None:
    parts = list(in_batches(n, size))
    assert list(itertools.chain(*(range(n)[part] for part in parts))) == list(range(n))
    assert all(part.stop - part.start <= size for part in parts) and len(parts) == -(-n // size)
