"""What is done to the pixels of training crops: two are mixed, and colours vary; see `augmentation` for the numbers."""

import tensorflow as tf


def mixed(crops: tf.Tensor, others: tf.Tensor, opacities: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Crops into which others are blended, or of which a rectangle is taken from others.

    Args:
        crops: float32 (n, side, side, 3).
        others: of the same shape.
        opacities: float32 (n,), the share of the crop's own pixels.
        boxes: float32 (n, 4), (top, left, bottom, right) in parts of the side; of empty ones nothing is taken.
    """
    opacity = opacities[:, None, None, None]
    blended = opacity * crops + (1 - opacity) * others
    side = tf.shape(crops)[1]
    centres = (tf.range(side, dtype=tf.float32) + 0.5) / tf.cast(side, tf.float32)
    top, left, bottom, right = tf.unstack(boxes[:, :, None], axis=1)
    rows, columns = ((start <= centres) & (centres < end) for start, end in ((top, bottom), (left, right)))
    inside = rows[:, :, None] & columns[:, None, :]
    return tf.where(inside[..., None], others, blended)


def colored(crops: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Crops with other brightness, contrast and saturation, cut off at 0 and 255: float32, the shape of `crops`.

    Args:
        crops: float32 (n, side, side, 3), 0 to 255.
        factors: float32 (n, 3): of brightness, of contrast about the crop's mean, of saturation about each pixel's.
    """
    brightness, contrast, saturation = tf.unstack(factors[:, None, None, None, :], axis=-1)
    crops = crops * brightness
    mean = tf.reduce_mean(crops, axis=(1, 2, 3), keepdims=True)
    crops = mean + contrast * (crops - mean)
    gray = tf.reduce_mean(crops, axis=-1, keepdims=True)
    return tf.clip_by_value(gray + saturation * (crops - gray), 0.0, 255.0)
