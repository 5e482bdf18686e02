"""The known-painter head: is a work by any of the painters that are classes, or by another one?"""

import keras
import numpy as np

from painters_mtl.data.dataset import Dataset
from painters_mtl.network.features import FeatureExtractor
from painters_mtl.network.graph import FEATURES, named_tensors
from painters_mtl.network.linear_head import FitSettings, fit_linear_head
from painters_mtl.network.multitask import with_known_head
from painters_mtl.training.head_refit import channels_to_fit

WIDTH, UPDATES = 128, 600  # of its hidden layer; steps of its fit
MOST, FEWEST_OTHERS = 20_000, 10  # training works of known painters, and of others, that it sees; of others at least


def add_known_painter_head(network: keras.Model, data: Dataset, seed: int, features: FeatureExtractor) -> keras.Model:
    """The network with a known-painter head beside the others; the network itself where too few works are by others.

    The head is a softmax over "another" and "known" behind a hidden layer, for no plane parts eight painters from all
    others. It is fitted to the finished features of whole training paintings, to the same channels as the heads of the
    tasks (`head_refit.channels_to_fit`): trained with the other heads it would move the features, at a cost to style
    and genre (docs/experiments.md).

    Args:
        features: of whole paintings under this network.
    """
    task, is_known = data.known_painter_task()
    train = data.rows("train")
    by_others, by_known = (train[is_known[train] == value] for value in (0, 1))
    if len(by_others) < FEWEST_OTHERS or len(by_known) == 0:
        return network
    rng = np.random.default_rng(seed)
    drawn = [rows if len(rows) <= MOST else rng.choice(rows, MOST, False) for rows in (by_others, by_known)]
    rows = np.sort(np.concatenate(drawn))
    channels = channels_to_fit(named_tensors(network)[FEATURES])
    inputs = np.take(features.of(rows, "features of known and other painters"), channels, axis=-1)
    settings = FitSettings(UPDATES, "fitting the known-painter head", seed, hidden=WIDTH)
    kernel, bias, *head = fit_linear_head(inputs, is_known[rows], len(task.classes), settings)
    network = with_known_head(network, task, WIDTH)
    hidden = network.get_layer(f"{task.name}_0")
    of_all_channels = np.zeros(hidden.kernel.shape, np.float32)
    of_all_channels[channels] = kernel
    hidden.set_weights([of_all_channels, bias])
    network.get_layer(task.name).set_weights(head)
    return network
