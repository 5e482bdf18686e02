"""Training in 16 bits: the same network, computing in half precision on weights that stay float32."""

from typing import Any

import keras
import tensorflow as tf

from painters_mtl.network.backbones import set_layer_weights


def policy(asked: str) -> str:
    """The name of the Keras dtype policy: what was asked for; for "auto", what all GPUs have fast units for.

    NVIDIA's have them for bfloat16 from compute capability 8.0 on, for float16 from 7.0 on.
    """
    if asked != "auto":
        return asked
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    oldest = min((d.get("compute_capability") or (0, 0) for d in details), default=(0, 0))
    return "mixed_bfloat16" if oldest >= (8, 0) else "mixed_float16" if oldest >= (7, 0) else "float32"


def in_precision(model: keras.Model, name: str, synchronized: bool = False) -> keras.Model:
    """A copy of the network, with weights of its own that have the same values, under the dtype policy `name`.

    The heads stay float32: a softmax over 16 bits loses the small probabilities.

    Args:
        synchronized: BatchNormalization that trains takes the statistics of all devices' parts of a batch.
    """

    def copy_layer(layer: keras.layers.Layer) -> Any:
        config = layer.get_config()
        # An operation that is no layer, such as a slice, computes in what it gets.
        if isinstance(layer, keras.layers.Layer) and layer.name not in model.output:
            config["dtype"] = name
        if synchronized and isinstance(layer, keras.layers.BatchNormalization):
            config["synchronized"] = layer.trainable
        return type(layer).from_config(config)

    other = keras.models.clone_model(model, clone_function=copy_layer, recursive=True)
    set_layer_weights(other, model.get_weights())
    return other
