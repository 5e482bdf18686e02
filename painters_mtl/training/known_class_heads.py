"""The known-class heads: is a work of any class of a task at all, or by, or of, something else?

One for each task of which the paintings hold works outside its classes: by other painters, of other styles. All are
built alike, a softmax over "another" and "known" behind a hidden layer (`multitask.with_known_head`), and all are read
alike (`evaluation.open_set.known_score`). What differs is where the weights come from:

* Works outside the classes that are of many kinds, such as those of hundreds of other painters, are learned from.
* From works of a few kinds one only learns these few: a head that was shown Pointillism as the one other style takes
  every further style for a known one. There the head is made of logits, which needs no such works: those of the task's
  own head, and those of a softmax over up to 96 painters of the training. How far the largest one rises (Hendrycks et
  al. 2022, arXiv 1911.11132) is, unlike the largest probability, low where no class fits; and the finer the classes
  are, the better it tells what is unlike them all.

(Measured in docs/experiments/unknown-styles-and-genres.md.)
"""

from collections.abc import Iterable
from dataclasses import dataclass

import keras
import numpy as np

from painters_mtl.data.dataset import MIN_WORKS, Dataset
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
FEWEST_PAINTERS, MOST_PAINTERS = 50, 96  # whose logits that kind reads; more tell no more of unknown styles
Weights = list[np.ndarray]  # kernels, each with its bias


@dataclass(frozen=True)
class KnownHead:
    """The weights of a known-class head, each a kernel and its bias; see `multitask.with_known_head`."""

    hidden: Weights
    output: Weights
    painters: Weights | None = None

    @property
    def width(self) -> int:
        """Of the hidden layer."""
        return self.hidden[0].shape[1]

    @property
    def painter_count(self) -> int:
        """How many painters' logits it reads; 0: none."""
        return 0 if self.painters is None else self.painters[0].shape[1]


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
            weights = _of_logits(network, data, name, known, seed, features)
        if weights is not None:
            network = with_known_head(network, task, weights.width, weights.painter_count)
            network.get_layer(f"{task.name}_0").set_weights(weights.hidden)
            network.get_layer(task.name).set_weights(weights.output)
            if weights.painters is not None:
                network.get_layer(f"{task.name}_painters").set_weights(weights.painters)
    return network


def _fitted(
    network: keras.Model, data: Dataset, task: Task, known: np.ndarray, seed: int, features: FeatureExtractor
) -> KnownHead | None:
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
    best = max(heads, key=lambda weights: _roc_auc(weights, unseen[:, 0], known[said])) if len(heads) > 1 else heads[0]
    return KnownHead(best[:2], best[2:])


def _roc_auc(weights: Weights, inputs: np.ndarray, known: np.ndarray) -> float:
    """The area under the ROC curve of a head's log odds: known works against others."""
    from sklearn.metrics import roc_auc_score

    kernel, bias, head, offset = weights
    logits = np.maximum(inputs @ kernel + bias, 0) @ head + offset
    return float(roc_auc_score(known, logits[:, 1] - logits[:, 0]))


def _of_logits(
    network: keras.Model, data: Dataset, name: str, known: np.ndarray, seed: int, features: FeatureExtractor
) -> KnownHead | None:
    """A head made of logits; the task's own head has to read the features directly. None with too few validation works.

    Its hidden units are the logits of the task, each as far as it is above the mean second-largest one in validation.
    Where there are enough painters (`_painters`), the largest of their logits is one input more. The sum of the units
    and that logit are each standardised over the labelled validation works, and so is their sum: times `STEEPNESS` it
    is the log odds of "known".

    Args:
        known: int (n,), of `Dataset.known_class_task`.
    """
    rows = data.rows("validation")
    rows = rows[data.labels[name][rows] >= 0]
    kernel, bias = network.get_layer(name).get_weights()
    if len(rows) < FEWEST or kernel.shape[1] < 2:
        return None
    unseen = features.of(rows, f"features of known classes of {name}")[:, 0]
    logits = unseen @ kernel + bias
    floor = float(np.sort(logits, axis=1)[:, -2].mean())
    inputs = [np.maximum(logits - floor, 0).sum(axis=1)]
    painters = None if name == "painter" else _painter_logits(data, _painters(data, name, known), known, seed, features)
    if painters is not None:
        inputs.append((unseen @ painters[0] + painters[1]).max(axis=1))
    scales = [1 / max(float(values.std()), 1e-6) for values in inputs]
    height = sum(scale * values for scale, values in zip(scales, inputs, strict=True))
    slope = STEEPNESS / max(float(height.std()), 1e-6)
    slopes = slope * np.repeat(scales, [kernel.shape[1], *[1] * (len(scales) - 1)])
    direction = np.array([-0.5, 0.5], np.float32)
    output = [np.outer(slopes, direction).astype(np.float32), (-slope * height.mean() * direction).astype(np.float32)]
    return KnownHead([kernel, (bias - floor).astype(np.float32)], output, painters)


def _painters(data: Dataset, name: str, known: np.ndarray) -> list[str]:
    """The painters whose logits tell works of a task's classes from others: those of most training works, in order.

    Each has 10 of them, beside works that are known to be outside the classes; there are at most `MOST_PAINTERS`.
    None at all where fewer than `FEWEST_PAINTERS` have so many, or where less than a third of the labelled validation
    works are by these: their logits would tell painters, and little of the classes.

    Args:
        known: int (n,), of `Dataset.known_class_task`.
    """
    of_works, train, validation = data.table["painter"], data.rows("train"), data.rows("validation")
    works = of_works.iloc[train[known[train] != 0]]
    counts = works[works != ""].value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable")
    painters = sorted(counts[counts >= MIN_WORKS].index[:MOST_PAINTERS])
    labelled = validation[data.labels[name][validation] >= 0]
    enough = len(painters) >= FEWEST_PAINTERS and of_works.iloc[labelled].isin(painters).mean() >= 1 / 3
    return painters if enough else []


def _painter_logits(
    data: Dataset, painters: list[str], known: np.ndarray, seed: int, features: FeatureExtractor
) -> Weights | None:
    """Kernel and bias of a softmax over these painters, fitted to their training works; None without painters."""
    if not painters:
        return None
    labels, train = Task("painter", tuple(painters)).encode(data.table["painter"]), data.rows("train")
    rows = train[(known[train] != 0) & (labels[train] >= 0)]
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST, replace=False))
    settings = FitSettings(UPDATES, "learning to tell painters apart", seed)
    return fit_linear_head(features.of(rows, "features of painters"), labels[rows], len(painters), settings)
