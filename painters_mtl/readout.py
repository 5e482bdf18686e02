"""A linear softmax layer fitted to finished features: the last step of a training, and of what learns from a run.

While all tasks train together, a head with few labels has a share in a loss that is mostly the others'. The features
are good for more than it has learned to read from them: on real paintings the painters' head got 1 to 4 points more
right after seconds of fitting (docs/experiments.md). Classifiers may well be trained after their backbone (Kang et al.
2020, arXiv 1910.09217), and here they see whole paintings, as in prediction, not crops (Touvron et al. 2019, arXiv
1906.06423).
"""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from scipy.special import softmax
from sklearn.metrics import log_loss
from tqdm import tqdm

from painters_mtl import pipeline
from painters_mtl.calibration import FEWEST, fit_temperature, soften
from painters_mtl.dataset import Dataset
from painters_mtl.model import producer

SCARCE = 0.5  # a head whose label fewer of the training paintings have is fitted once more
BATCH, EPOCHS, UPDATES = 256, 15, 600  # of a fit: at least so many epochs and updates
LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 1e-3, 0.5, 0.2


def fit_head(
    features: np.ndarray, labels: np.ndarray, classes: int, seed: int = 0, description: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """A linear softmax layer: kernel, float32 (channels, classes), and bias, for the features as they are.

    Args:
        features: float32 (n, views, channels); each time a painting is seen through one of its views.
        labels: int (n,), from 0.
        description: of the progress bar.
    """
    mean = features[:, 0].mean(axis=0)
    scale = float(features[:, 0].std(axis=0).mean()) or 1.0
    steps = max(1, len(labels) // BATCH)
    epochs = max(EPOCHS, -(-UPDATES // steps))
    keras.utils.set_random_seed(seed)
    dense = keras.layers.Dense(classes, kernel_initializer="zeros")  # what no painting speaks of stays 0
    network = keras.Sequential([keras.Input(mean.shape), keras.layers.Dropout(DROPOUT), dense])
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps * epochs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY), loss)
    rng = np.random.default_rng(seed)
    for _ in tqdm(range(epochs), description, unit=" epochs", mininterval=0.5):
        for rows in np.resize(rng.permutation(len(labels)), (steps, min(BATCH, len(labels)))):
            view = rng.integers(features.shape[1], size=len(rows))
            network.train_on_batch((features[rows, view] - mean) / scale, labels[rows])
    kernel, bias = dense.get_weights()
    return kernel / np.float32(scale), bias - mean @ kernel / np.float32(scale)


def refit(network: keras.Model, data: Dataset, tasks: Iterable[str], image_size: int, seed: int) -> list[str]:
    """Fit the heads of `tasks` that have few labels once more, to features of whole training paintings, in place.

    A new head is kept where the validation paintings' labels are likelier under it, each head at its best temperature.
    Returns the tasks whose head is a new one.
    """
    train, validation = data.rows("train"), data.rows("validation")
    changed = []
    for name in tasks:
        labels = data.labels[name]
        rows, held_out = train[labels[train] >= 0], validation[labels[validation] >= 0]
        if not 0 < len(rows) < SCARCE * len(train) or len(held_out) < FEWEST:
            continue
        node = producer(network.output[name])
        head, encoder = node.operation, keras.Model(network.input, node.input_tensors[0])
        both = np.concatenate([rows, held_out])
        inputs = _outputs(pipeline.inference(encoder, image_size), data, both, f"features for the {name} head")
        own, others = inputs[: len(rows)], inputs[len(rows) :]
        before = head.get_weights()
        after = fit_head(own[:, None], labels[rows], head.units, seed, f"fitting the {name} head once more")
        if _surprise(labels[held_out], others, *after) < _surprise(labels[held_out], others, *before):
            head.set_weights(after)
            changed.append(name)
    return changed


def _outputs(forward: Callable[[np.ndarray], Any], data: Dataset, rows: np.ndarray, title: str) -> np.ndarray:
    parts = tqdm(list(pipeline.in_batches(len(rows))), title, unit=" batches", mininterval=0.5)
    return np.concatenate([forward(data.store.pixels[data.pixel_rows[rows[part]]]) for part in parts])


def _surprise(labels: np.ndarray, inputs: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> float:
    """Mean cross-entropy of a head's answers, at the temperature that suits them best."""
    probabilities = softmax(inputs @ kernel + bias, axis=1)
    softened = soften(probabilities, fit_temperature(labels, probabilities))
    return float(log_loss(labels, softened, labels=range(len(bias))))
