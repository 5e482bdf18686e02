"""Pictures in which a mark in one corner tells the painter and another the style, and networks that look at them."""

import functools
import itertools

import keras
import numpy as np
from helpers import small_network

from painters_mtl.data.tasks import Task
from painters_mtl.network.multitask import backbone_of

VIEWS = ("whole", "detail")
TASKS = {name: Task(name, classes) for name, classes in (("painter", tuple("abcd")), ("style", tuple("xyz")))}
SIDE = 128  # of the drawn pictures: maps of 8 x 8 cells
COLOURS = ((220, 40, 40), (40, 200, 60), (50, 70, 230), (230, 210, 40))
CORNERS = list(itertools.product((0, 1), (0, 1)))  # (bottom, right)


def network(seed: int = 0, backbone: str = "small_convnet", **options: object) -> keras.Model:
    keras.utils.set_random_seed(seed)
    multi_scale = bool(options.pop("multi_scale", "views" not in options))
    model = small_network(TASKS, backbone, multi_scale, dropout=0.0, **options)
    stir(model, seed)
    return model


def stir(model: keras.Model, seed: int) -> None:
    """Biases and statistics that are not zero and one, so that to leave them out shows."""
    rng = np.random.default_rng(seed)
    for layer in [*backbone_of(model).layers, *model.layers]:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (w.shape for w in layer.get_weights())
            layer.set_weights(
                [rng.uniform(0.5, 1.5, gamma), rng.normal(0, 0.3, beta), rng.normal(0, 0.1, mean), np.ones(variance)]
            )
        elif isinstance(layer, keras.layers.Dense) and layer.use_bias and layer.name != "preprocess":
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, rng.normal(0, 0.1, bias.shape)])


def noise(n: int, side: int = 64, seed: int = 0, views: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n * views, 8, 8, 3), dtype=np.uint8)
    fine = coarse.repeat(side // 8, 1).repeat(side // 8, 2)
    return fine if views == 1 else fine.reshape(n, views, side, side, 3)


def drawn(n: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Grey noise with a coloured square in one corner, which alone tells the painter, and stripes or dots in another,
    which alone tell the style: pictures, labels, and the two corners (n, 2), as places in CORNERS."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(90, 166, (n, 16, 16, 1)).repeat(8, 1).repeat(8, 2).repeat(3, 3).astype(np.uint8)
    labels = {"painter": rng.integers(0, 4, n), "style": rng.integers(0, 3, n)}
    corners = np.array([rng.permutation(4)[:2] for _ in range(n)])
    square = np.indices((40, 40))
    marks = [square[0] // 5 % 2, square[1] // 5 % 2, (square[0] // 5 + square[1] // 5) % 2]
    for picture, painter, style, pair in zip(pictures, *labels.values(), corners, strict=True):
        patches = np.broadcast_to(np.uint8(COLOURS[painter]), (40, 40, 3)), marks[style][..., None] * np.uint8(255)
        for patch, corner in zip(patches, pair, strict=True):
            (bottom, right), jitter = CORNERS[corner], rng.integers(2, 10, 2)
            top, left = (SIDE - 40 - j if far else j for far, j in zip((bottom, right), jitter, strict=True))
            picture[top : top + 40, left : left + 40] = patch
    return pictures, labels, corners


@functools.cache
def taught_network() -> keras.Model:
    """A small network that reads both marks; trained once a process."""
    keras.utils.set_random_seed(1)
    model = small_network(TASKS, image_size=SIDE, dropout=0.0)
    for layer in backbone_of(model).layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # over some hundred steps a longer mean would lag behind
    pictures, labels, _ = drawn(384, 0)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, 12 * 10)
    model.compile(keras.optimizers.Adam(rate), {name: "sparse_categorical_crossentropy" for name in TASKS})
    model.fit(pictures, labels, batch_size=32, epochs=10, verbose=0)
    return model
