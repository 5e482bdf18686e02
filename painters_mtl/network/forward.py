"""Cached images through a network: the crops that it is shown, and the network as a plain function.

Training shows random crops (`augmented_crops`). Validation, prediction, explanations and exported networks show the
same two: the whole painting, and of a network with two views the centre of its detail.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from painters_mtl.common.iteration import in_batches
from painters_mtl.common.messages import ProgressBar
from painters_mtl.network.batchnorm_folding import fold_batchnorm

Forward = Callable[[np.ndarray], dict[str, tf.Tensor]]


def augmented_crops(images: tf.Tensor, boxes: tf.Tensor, image_size: int | tf.Tensor) -> tf.Tensor:
    """Crops of cached images: uint8 (n, side, side, 3) to float32 (n, image_size, image_size, 3), bilinear.

    The outermost places of a crop that reaches the edge of its image lie outside by rounding, at one in six pairs of
    sizes, 120 and 56 among them. TensorFlow makes them black. They are taken from a crop that is a hair smaller.

    Args:
        boxes: float32 (n, 4), each (top, left, bottom, right) in parts of the side; mirrored where left > right.
    """
    size, side = tf.stack([image_size, image_size]), image_size if isinstance(image_size, int) else None

    def cut(boxes: tf.Tensor) -> tf.Tensor:
        return tf.image.crop_and_resize(images, boxes, tf.range(tf.shape(images)[0]), size, extrapolation_value=-1.0)

    crops = cut(boxes)
    outside = tf.equal(crops, -1.0)
    smaller = 0.5 + (boxes - 0.5) * (1 - 6e-7)
    crops = tf.cond(tf.reduce_any(outside), lambda: tf.where(outside, cut(smaller), crops), lambda: crops)
    return tf.ensure_shape(crops, (None, side, side, 3))


def whole_crops(images: tf.Tensor, image_size: int) -> tf.Tensor:
    """The whole paintings: cached images, uint8 (n, side, side, 3), to float32 (n, image_size, image_size, 3).

    Bilinear, with the corners on the corners. By an operation that every export format has.
    """
    pixels = tf.cast(images, tf.float32)  # LiteRT has no resizing from 8 to 32 bits
    return tf.raw_ops.ResizeBilinear(images=pixels, size=(image_size, image_size), align_corners=True)


def center_crops(images: tf.Tensor, image_size: int) -> tf.Tensor:
    """The centre of cached details, at nearly a pixel (1.002 at 96 of 120) a pixel; shapes as in `whole_crops`.

    Bilinear between the four pixels around each place. By operations that every export format has.
    """
    side = tf.cast(images.shape[-2] or tf.shape(images)[-2], tf.float32)
    half = tf.minimum(1.0, image_size / side) / 2
    first, last = 0.5 - half, 0.5 + half
    # Not "/": a graph would multiply by the reciprocal, and see other pixels by rounding than without a graph.
    step = tf.math.divide_no_nan((last - first) * (side - 1), tf.constant(image_size - 1, tf.float32))
    places = first * (side - 1) + tf.range(image_size, dtype=tf.float32) * step
    places = tf.clip_by_value(places, 0.0, side - 1)  # rounding must not lead outside of the image
    before, after = tf.cast(tf.floor(places), tf.int32), tf.cast(tf.math.ceil(places), tf.int32)
    share = (places - tf.floor(places))[:, None]
    pixels = tf.cast(images, tf.float32)
    for axis, weight in ((2, share), (1, share[..., None])):
        one, other = tf.gather(pixels, before, axis=axis), tf.gather(pixels, after, axis=axis)
        pixels = one + (other - one) * weight
    return pixels


def input_crops(cached_images: tf.Tensor, image_size: int, views: int) -> Any:
    """What a network is shown of cached images outside of training: its input for each of them.

    Args:
        cached_images: uint8 (n, side, side, 3); with two views (n, 2, side, side, 3).
        views: how many inputs the network has; with two, the result is a dict {"image", "detail"}.
    """
    if views == 1:
        return whole_crops(cached_images, image_size)
    return {
        "image": whole_crops(cached_images[:, 0], image_size),
        "detail": center_crops(cached_images[:, 1], image_size),
    }


def pixels_spec(views: int) -> tf.TensorSpec:
    """The signature of a function of any number of cached images of any side."""
    return tf.TensorSpec((None, None, None, 3) if views == 1 else (None, views, None, None, 3), tf.uint8)


def forward_function(network: keras.Model, image_size: int, compiled: bool = True) -> Callable[[np.ndarray], Any]:
    """A function from cached images, uint8 (n, side, side, 3), of two views (n, 2, side, side, 3), to the outputs.

    Validation, test and prediction go through it, so that they see the same pixels.

    Args:
        compiled: takes a second. Without, the outputs differ by rounding, and all activations of a batch are held.
    """
    views = len(network.inputs)
    network = fold_batchnorm(network, inference=True) if compiled else network

    def forward(cached_images: tf.Tensor) -> Any:
        return network(input_crops(cached_images, image_size, views), training=False)

    return tf.function(forward, input_signature=[pixels_spec(views)], autograph=False) if compiled else forward


def predict_in_batches(
    forward: Forward, pixels: np.ndarray, rows: np.ndarray, title: str = ""
) -> dict[str, np.ndarray]:
    """The outputs {name: float32 (n, ...)} of a network, such as its probabilities, for rows of cached images.

    Args:
        forward: from `forward_function`.
        title: of a progress bar; without it, none is shown.
    """
    bar = ProgressBar(list(in_batches(len(rows))), title, unit=" batches", disable=not title)
    outputs = [forward(pixels[rows[batch]]) for batch in bar]
    return {name: np.concatenate([np.asarray(batch[name]) for batch in outputs]) for name in outputs[0]}
