"""Cached images through a network: the crops of validation and prediction, and a network as a plain function."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from painters_mtl.common.iteration import in_batches
from painters_mtl.network.batchnorm_folding import fold_batchnorm

Forward = Callable[[np.ndarray], dict[str, tf.Tensor]]


def augmented_crops(copies: tf.Tensor, boxes: tf.Tensor, image_size: int | tf.Tensor) -> tf.Tensor:
    """What the network sees: uint8 (n, side, side, 3) and boxes (n, 4) to float32 (n, image_size, image_size, 3)."""
    n = tf.shape(copies)[0]
    side = image_size if isinstance(image_size, int) else None
    seen = tf.image.crop_and_resize(copies, boxes, tf.range(n), tf.stack([image_size, image_size]))
    return tf.ensure_shape(seen, (None, side, side, 3))


def whole_crops(copies: tf.Tensor, image_size: int) -> tf.Tensor:
    """The whole painting, as in validation, test and prediction; shapes as in `views`.

    Not by `views`: at some sizes rounding puts its last sample outside the picture, where all is black.
    """
    size = tf.constant([image_size, image_size])
    seen = tf.raw_ops.ResizeBilinear(images=tf.cast(copies, tf.float32), size=size, align_corners=True)
    return tf.ensure_shape(seen, (None, image_size, image_size, 3))


def center_crops(copies: tf.Tensor, image_size: int) -> tf.Tensor:
    """The middle of the details, at nearly a pixel (1.002 at 96 of 120) a pixel; shapes as in `views`."""
    side = copies.shape[-2] or tf.shape(copies)[-2]
    part = tf.minimum(1.0, tf.cast(image_size, tf.float32) / tf.cast(side, tf.float32)) / 2
    box = tf.stack([0.5 - part, 0.5 - part, 0.5 + part, 0.5 + part])
    return augmented_crops(copies, tf.tile(box[None], (tf.shape(copies)[0], 1)), image_size)


def forward_function(network: keras.Model, image_size: int, compiled: bool = True) -> Callable[[np.ndarray], Any]:
    """The network on whole paintings: a function from copies, uint8 (n, side, side, 3), to its outputs for any n.

    A network with two views takes copies of shape (n, 2, side, side, 3).
    Validation, test and prediction go through it, so that they see the same pixels.

    Args:
        compiled: takes a second. Without, the outputs differ by rounding, and all activations of a batch are held.
    """
    detailed = len(network.inputs) > 1
    spec = tf.TensorSpec((None, 2, None, None, 3) if detailed else (None, None, None, 3), tf.uint8)
    network = fold_batchnorm(network, inference=True) if compiled else network

    def forward(copies: tf.Tensor) -> Any:
        if not detailed:
            return network(whole_crops(copies, image_size), training=False)
        both = {"image": whole_crops(copies[:, 0], image_size), "detail": center_crops(copies[:, 1], image_size)}
        return network(both, training=False)

    return tf.function(forward, input_signature=[spec], autograph=False) if compiled else forward


def predict_in_batches(
    forward: Forward, pixels: np.ndarray, rows: np.ndarray, title: str = ""
) -> dict[str, np.ndarray]:
    """Outputs {name: float32 (n, ...)}, of a network its probabilities, for copies from the store.

    Args:
        forward: from `forward_function`.
        title: of a progress bar; without it, none is shown.
    """
    parts = list(in_batches(len(rows)))
    bar = tqdm(parts, title, unit=" batches", mininterval=0.5, disable=not title)
    found = [forward(pixels[rows[part]]) for part in bar]
    return {name: np.concatenate([np.asarray(part[name]) for part in found]) for name in found[0]}
