"""A linear softmax layer fitted to features that are computed already: a linear probe."""

from dataclasses import dataclass

import keras
import numpy as np

from painters_mtl.common import lazy_imports
from painters_mtl.common.messages import ProgressBar

lazy_imports.import_tensorflow()  # as this program needs Keras, also where a notebook imports this module alone

BATCH, EPOCHS = 256, 15  # of any fit: at least so many epochs
LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 1e-3, 0.5, 0.2


@dataclass(frozen=True)
class FitSettings:
    """How a head is fitted."""

    updates: int  # at least so many steps
    title: str = ""  # of the progress bar
    seed: int = 0
    rate: float = LEARNING_RATE  # at first; it falls to 0 along a cosine
    hidden: int = 0  # width of a hidden layer before the softmax, ReLU; 0: none
    penalty: float = 0.0  # on the softmax kernel's squares, instead of decoupled weight decay; 0: that decay


def fit_linear_head(features: np.ndarray, labels: np.ndarray, classes: int, settings: FitSettings) -> list[np.ndarray]:
    """A softmax layer: kernel, float32 (channels, classes), and bias, for the features as they are.

    Args:
        features: float32 (n, views, channels); each time a painting is seen through one of its views.
        labels: int (n,), from 0.
        settings: with a hidden layer, its kernel and bias come first.
    """
    mean = features[:, 0].mean(axis=0)
    scale = float(features[:, 0].std(axis=0).mean()) or 1.0
    steps = max(1, len(labels) // BATCH)
    epochs = max(EPOCHS, -(-settings.updates // steps))
    keras.utils.set_random_seed(settings.seed)
    penalty = keras.regularizers.L2(settings.penalty) if settings.penalty else None
    # What no painting speaks of stays 0.
    layers = [keras.layers.Dense(classes, kernel_initializer="zeros", kernel_regularizer=penalty)]
    if settings.hidden:
        layers = [keras.layers.Dense(settings.hidden, activation="relu"), keras.layers.Dropout(DROPOUT), *layers]
    network = keras.Sequential([keras.Input(mean.shape), keras.layers.Dropout(DROPOUT), *layers])
    schedule = keras.optimizers.schedules.CosineDecay(settings.rate, steps * epochs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    decay = 0.0 if penalty else WEIGHT_DECAY
    network.compile(keras.optimizers.AdamW(schedule, weight_decay=decay), loss)
    rng = np.random.default_rng(settings.seed)
    for _ in ProgressBar(range(epochs), settings.title, unit=" epochs"):
        for rows in np.resize(rng.permutation(len(labels)), (steps, min(BATCH, len(labels)))):
            view = rng.integers(features.shape[1], size=len(rows))
            network.train_on_batch((features[rows, view] - mean) / scale, labels[rows])
    kernel, bias, *behind = network.get_weights()
    return [kernel / np.float32(scale), bias - mean @ kernel / np.float32(scale), *behind]
