"""A linear softmax layer fitted to finished features: the last step of a training, and of what learns from a run.

While all tasks train together, a head with few labels has a share in a loss that is mostly the others'. The features
are good for more than it has learned to read from them: on real paintings the painters' head got 1 to 4 points more
right after seconds of fitting (docs/experiments.md). Classifiers may well be trained after their backbone (Kang et al.
2020, arXiv 1910.09217), and here they see whole paintings, as in prediction, not crops (Touvron et al. 2019, arXiv
1906.06423).
"""

from collections.abc import Iterable

import keras
import numpy as np

from painters_mtl.data.dataset import Dataset
from painters_mtl.evaluation.calibration import FEWEST, likeliest_temperature
from painters_mtl.network.features import FeatureExtractor
from painters_mtl.network.linear_head import fit_linear_head
from painters_mtl.network.multitask import FEATURES, head_input, producing_node, pyramid_channels

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the fitted head in the one that is kept
MOST = 12_000  # training paintings that a head is fitted to once more
UPDATES, FAST = 400, 3e-3  # of such a fit, at least; its learning rate
LEAST_SPREAD = 0.1  # of the mean channel's standard deviation: a channel that says nothing is not blown up
KNOWN_WIDTH, KNOWN_UPDATES = 128, 600  # of the head that knows the painters: its hidden layer, its fit
MOST_EACH, FEWEST_OTHERS = 20_000, 10  # works of known and of other painters that it is shown; of others at least


def add_known_painter_head(network: keras.Model, data: Dataset, seed: int, finished: FeatureExtractor) -> keras.Model:
    """The network with a head beside the painters': is a work by any of them? As it was, where too few are not.

    A softmax over "another" and "known" behind a hidden layer, for no plane parts eight painters from all others. It is
    fitted to the finished features of whole training paintings, of all views: trained with the other heads it moves the
    features, for which style and genre pay (docs/experiments.md).
    """
    task, known = data.painter_known()
    train = data.rows("train")
    both = [train[known[train] == value] for value in (0, 1)]
    if len(both[0]) < FEWEST_OTHERS or len(both[1]) == 0:
        return network
    rng = np.random.default_rng(seed)
    rows = np.sort(np.concatenate([r if len(r) <= MOST_EACH else rng.choice(r, MOST_EACH, False) for r in both]))
    seen = finished.of(rows, "features of known and other painters")
    words, classes = "learning who is one of the painters", len(task.classes)
    weights = fit_linear_head(seen, known[rows], classes, KNOWN_UPDATES, seed, words, KNOWN_WIDTH)
    hidden = keras.layers.Dense(KNOWN_WIDTH, activation="relu", name=f"{task.name}_0")
    head = keras.layers.Dense(classes, activation="softmax", dtype="float32", name=task.name)
    answers = head(hidden(network.get_layer(FEATURES).output))
    hidden.set_weights(weights[:2])
    head.set_weights(weights[2:])
    return keras.Model(network.input, {**network.output, task.name: answers}, name=network.name)


def refit_heads(
    network: keras.Model, data: Dataset, tasks: Iterable[str], seed: int, finished: FeatureExtractor
) -> list[str]:
    """Fit the heads of `tasks` once more, to features of whole training paintings, in place.

    A head that sees finer levels beside the last map (`model.widened`) is fitted to these alone: what the last map says
    of training paintings is what it has learned by heart, and a head fitted to it would trust it too much.
    Of the head as it was, the fitted one, and three between them (their weights averaged, which averages their logits;
    Wortsman et al. 2022, arXiv 2109.01903), the one under which the validation paintings' labels are likeliest is kept,
    each at its best temperature. Returns the tasks whose head has changed.
    """
    rows: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    drawn = np.random.default_rng(seed).permutation(data.rows("train"))  # one order, so that tasks share their works
    for name in tasks:
        train = np.sort(drawn[data.labels[name][drawn] >= 0][:MOST])
        held_out = data.rows("validation")
        held_out = held_out[data.labels[name][held_out] >= 0]
        if len(train) and len(held_out) >= FEWEST:
            rows[name] = train, held_out
    if not rows:
        return []
    every = np.unique(np.concatenate([part for both in rows.values() for part in both]))
    nodes = {name: producing_node(network.output[name]) for name in rows}
    read = {name: head_input(node) for name, node in nodes.items()}
    seen = finished.of(every, "features for the heads")[:, 0]
    shared = network.get_layer(FEATURES).output
    found = {id(shared): seen}
    for tensor in read.values():
        if id(tensor) not in found:  # behind hidden layers; several heads may read the same
            found[id(tensor)] = np.asarray(keras.Model(shared, tensor)(seen, training=False))
    changed = []
    for name, (train, held_out) in rows.items():
        labels, head, features = data.labels[name], nodes[name].operation, found[id(read[name])]
        finer = pyramid_channels(read[name])
        channels = np.flatnonzero(finer if finer.any() else ~finer)
        own = features[np.ix_(np.searchsorted(every, train), channels)]
        spread = own.std(axis=0)  # of each channel, for one level is not like another
        spread += LEAST_SPREAD * spread.mean() or 1.0
        words = f"fitting the {name} head once more"
        weights = fit_linear_head(own[:, None] / spread, labels[train], head.units, UPDATES, seed, words, rate=FAST)
        old = head.get_weights()
        new = [np.zeros_like(old[0]), weights[1]]
        new[0][channels] = weights[0] / spread[:, None]
        between = [[(1 - share) * a + share * b for a, b in zip(old, new, strict=True)] for share in SHARES]
        # The mean cross-entropy of a head's answers, at the temperature that suits them best.
        judges, truth = features[np.searchsorted(every, held_out)], labels[held_out]
        best = min(between, key=lambda w: likeliest_temperature(truth, judges @ w[0] + w[1])[1])
        if best is not between[0]:
            head.set_weights(best)
            changed.append(name)
    return changed
