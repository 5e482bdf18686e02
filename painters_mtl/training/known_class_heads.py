"""The known-class heads: is a work of any class of a task at all, or by, or of, something else?

One for each task of which the paintings hold works outside its classes: by other painters, of other styles. All are
built alike, a softmax over "another" and "known" behind a hidden layer (`multitask.with_known_head`), and all are read
alike (`evaluation.open_set.known_score`). What differs is where the weights come from:

* Works outside the classes that are of many kinds, such as those of hundreds of other painters, are learned from.
* From works of a few kinds one only learns these few: a head that was shown Pointillism as the one other style takes
  every further style for a known one. There the head adds up how far the logits of the task's own head rise above
  what a second-best class has, which needs no such works. It is about the largest logit (Hendrycks et al. 2022, arXiv
  1911.11132), which unlike the largest probability is low where no class fits. (Both measured in docs/experiments.md.)
"""

from collections.abc import Iterable

import keras
import numpy as np

from painters_mtl.data.dataset import Dataset
from painters_mtl.data.tasks import Task
from painters_mtl.network.features import FeatureExtractor
from painters_mtl.network.graph import FEATURES, named_tensors
from painters_mtl.network.linear_head import FitSettings, fit_linear_head
from painters_mtl.network.multitask import with_known_head
from painters_mtl.training.head_refit import channels_to_fit

WIDTH, UPDATES = 128, 600  # of a fitted head's hidden layer; steps of its fit
NARROW, MANY_OTHERS = 32, 1_000  # the width where fewer works than so many are of others
MOST, FEWEST_OTHERS = 20_000, 10  # training works of known classes, and of others, that it sees; of others at least
KINDS = 0.2  # how many kinds of others there must be for each class, to learn from them
FEWEST = 20  # labelled validation works that the other kind of head is scaled by
STEEPNESS = 4.0  # of that one: log odds for each standard deviation

Weights = list[np.ndarray]  # kernel and bias of the hidden layer, then those of the softmax


def add_known_class_heads(
    network: keras.Model, data: Dataset, tasks: Iterable[str], seed: int, features: FeatureExtractor
) -> keras.Model:
    """The network with a known-class head for each task that has training works outside its classes.

    The heads read the finished features of whole paintings: trained with the other heads they would move the features,
    at a cost to style and genre (docs/experiments.md). No other output changes.

    Args:
        features: of whole paintings under this network.
    """
    for name in tasks:
        task, known = data.known_class_task(name)
        train = data.rows("train")
        others = train[known[train] == 0]
        if not len(others):
            continue
        kinds = len(set(data.table[name].to_numpy()[others]))
        weights = None
        if len(others) >= FEWEST_OTHERS and kinds >= KINDS * len(data.tasks[name].classes):
            weights = _fitted(network, data, task, known, seed, features)
        elif named_tensors(network)[f"{name}_features"] is named_tensors(network)[FEATURES]:
            weights = _of_logits(network, data, name, features)
        if weights is not None:
            network = with_known_head(network, task, weights[0].shape[1])
            network.get_layer(f"{task.name}_0").set_weights(weights[:2])
            network.get_layer(task.name).set_weights(weights[2:])
    return network


def _fitted(
    network: keras.Model, data: Dataset, task: Task, known: np.ndarray, seed: int, features: FeatureExtractor
) -> Weights | None:
    """A head fitted to training works of known classes and of others; None without a known one.

    It has a hidden layer, for the works of the chosen painters are not linearly separable from all others. Fitted
    twice, to the same channels as the heads of the tasks (`head_refit.channels_to_fit`), and to all, where these are
    others: in a small collection the last map has learned its paintings by heart, in a large one it knows more. The one
    that separates the validation works better is kept.

    Args:
        known: int (n,), of `Dataset.known_class_task`.
    """
    train, validation = data.rows("train"), data.rows("validation")
    others, of_classes = (train[known[train] == value] for value in (0, 1))
    if not len(of_classes):
        return None
    rng = np.random.default_rng(seed)
    drawn = [rows if len(rows) <= MOST else rng.choice(rows, MOST, False) for rows in (others, of_classes)]
    rows, said = np.sort(np.concatenate(drawn)), validation[known[validation] >= 0]
    inputs, unseen = (features.of(each, f"features for {task.name}") for each in (rows, said))
    every = np.arange(inputs.shape[-1])
    choices = [channels_to_fit(named_tensors(network)[FEATURES])]
    if len(choices[0]) < len(every) and 0 < known[said].sum() < len(said):
        choices.append(every)
    width = WIDTH if len(others) >= MANY_OTHERS else NARROW
    heads = []
    for channels in choices:
        settings = FitSettings(UPDATES, f"fitting the head {task.name}", seed, hidden=width)
        kernel, *rest = fit_linear_head(inputs[..., channels], known[rows], len(task.classes), settings)
        whole = np.zeros((len(every), width), np.float32)
        whole[channels] = kernel
        heads.append([whole, *rest])
    return max(heads, key=lambda weights: _roc_auc(weights, unseen[:, 0], known[said])) if len(heads) > 1 else heads[0]


def _roc_auc(weights: Weights, inputs: np.ndarray, known: np.ndarray) -> float:
    """The area under the ROC curve of a head's log odds: known works against others."""
    from sklearn.metrics import roc_auc_score

    kernel, bias, head, offset = weights
    logits = np.maximum(inputs @ kernel + bias, 0) @ head + offset
    return float(roc_auc_score(known, logits[:, 1] - logits[:, 0]))


def _of_logits(network: keras.Model, data: Dataset, name: str, features: FeatureExtractor) -> Weights | None:
    """A head made of a task's own, which reads the features directly; None with too few labelled validation works.

    Its hidden units are the logits, as far as they are above the mean second-largest one in validation; their sum,
    standardised over the labelled validation works and times `STEEPNESS`, is the log odds of "known".
    """
    rows = data.rows("validation")
    rows = rows[data.labels[name][rows] >= 0]
    kernel, bias = network.get_layer(name).get_weights()
    if len(rows) < FEWEST or kernel.shape[1] < 2:
        return None
    logits = features.of(rows, f"features of known classes of {name}")[:, 0] @ kernel + bias
    floor = float(np.sort(logits, axis=1)[:, -2].mean())
    height = np.maximum(logits - floor, 0).sum(axis=1)
    slope = STEEPNESS / max(float(height.std()), 1e-6)
    direction = np.array([-0.5, 0.5], np.float32)
    return [
        kernel,
        (bias - floor).astype(np.float32),
        np.tile(slope * direction, (kernel.shape[1], 1)).astype(np.float32),
        (-slope * height.mean() * direction).astype(np.float32),
    ]
