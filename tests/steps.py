"""A small network, its batches and what a gradient method makes of vectors: shared by the tests of steps."""

import keras
import numpy as np
import tensorflow as tf
from helpers import small_network

from painters_mtl.data.tasks import Task
from painters_mtl.network.graph import FEATURES
from painters_mtl.training.batches import Batch
from painters_mtl.training.losses import Objective
from painters_mtl.training.strategies.gradient_methods import GradientMethod

TASKS = {name: Task(name, tuple("abc")) for name in ("painter", "style", "genre")}
TASKS["all_painters"] = Task("all_painters", tuple("abcd"))
HEADS = {"painter": ["painter", "all_painters"], "style": ["style"], "genre": ["genre"]}
WEIGHTS = {"painter": 0.5, "all_painters": 0.3, "style": 1.0, "genre": 2.0}
OBJECTIVE = Objective(HEADS, WEIGHTS)
SIZE = 12


def still_network(seed: int = 0) -> keras.Model:
    """BatchNormalization stands still: in training it would look at what is in a part together."""
    keras.utils.set_random_seed(seed)
    model = small_network(TASKS, shared_layers=(6,), task_layers=(5,), fine_tune="all", dropout=0.0)
    for layer in model.get_layer("small_convnet").layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return model


def quick_network(seed: int = 0) -> keras.Model:
    """For images of 8 pixels, with all kinds of layers that `still_network` has: what takes long is to trace a step."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = keras.layers.Conv2D(6, 3, strides=2, use_bias=False)(x)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(trainable=False)(x))
    x = keras.layers.GlobalAveragePooling2D(name=FEATURES)(x)
    x = keras.layers.Dense(6, activation="relu", name="shared_0")(x)
    branches = {name: keras.layers.Dense(5, activation="relu", name=f"{name}_0")(x) for name in TASKS}
    heads = {
        name: keras.layers.Dense(len(task.classes), activation="softmax", name=name)(branches[name])
        for name, task in TASKS.items()
    }
    return keras.Model(image, heads)


def partly_labelled_batch(seed: int, side: int = 32) -> Batch:
    """Labels are missing, of each task in another measure in each part; every third batch has no style at all."""
    rng = np.random.default_rng(seed)
    labels = {name: tf.constant(rng.integers(3, size=SIZE), tf.int32) for name in TASKS}
    shares = {"painter": 0.3, "all_painters": 0.9, "style": 0.6 * (seed % 3 > 0), "genre": 0.5}
    weights = {name: tf.constant(rng.random(SIZE) < share, tf.float32) for name, share in shares.items()}
    weights["genre"] = tf.constant(np.arange(SIZE) >= 6, tf.float32)  # none in the first parts
    images = tf.constant(rng.uniform(0, 255, (SIZE, side, side, 3)), tf.float32)
    return Batch(images, labels, weights, tf.constant(seed % 3), tf.range(SIZE))


def combined(method: GradientMethod, g: np.ndarray, present: tf.Tensor | None = None, step: int = 0) -> np.ndarray:
    """The direction that a gradient method makes of the rows of `g`, float64 (numbers,)."""
    present = tf.ones(len(g)) if present is None else present
    products = tf.constant(g @ g.T, tf.float32)
    return method.coefficients(products, present, tf.constant(step, tf.int64)).numpy().astype(np.float64) @ g
