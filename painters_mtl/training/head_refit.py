"""The heads of a trained network fitted again, to features of whole paintings: linear probes that may replace them.

While all tasks train together, a head with few labels has a share in a loss that is mostly the others'. The features
are good for more than it has learned to read from them: on real paintings the painters' head got 1 to 4 points more
right after seconds of fitting (docs/experiments.md). Classifiers may well be trained after their backbone (Kang et al.
2020, arXiv 1910.09217), and here they see whole paintings, as in prediction, not crops (Touvron et al. 2019, arXiv
1906.06423).
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from painters_mtl.data.dataset import Dataset
from painters_mtl.evaluation.calibration import MIN_LABELLED, likeliest_temperature
from painters_mtl.network.features import FeatureExtractor
from painters_mtl.network.graph import FEATURES, named_tensors
from painters_mtl.network.linear_head import FitSettings, fit_linear_head
from painters_mtl.network.pyramid import pyramid_channels

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the fitted head in the one that is kept
OF_EVERY_MAP = (0.0, 0.25, 0.5)  # of the head that is fitted to every map
PENALTY = 1e-2  # on the squares of that head's kernel: without it the last map would be trusted too much
MOST = 12_000  # training paintings that a head is fitted to
UPDATES, FAST = 400, 3e-3  # of such a fit, at least; its learning rate
Weights = list[np.ndarray]  # kernel and bias
LEAST_SPREAD = 0.1  # added to each channel's standard deviation, as a share of their mean: no division by nearly 0


@dataclass(frozen=True)
class _Head:
    """A head, and what it reads of the paintings it is fitted to and chosen by."""

    layer: Any  # the Dense layer with the softmax
    channels: np.ndarray  # int (m,): those of `channels_to_fit`
    inputs: np.ndarray  # float32 (n, all channels), of all paintings that any head is fitted to or chosen by
    training_rows: np.ndarray  # those of `inputs` that it is fitted to
    training_labels: np.ndarray
    validation_inputs: np.ndarray
    validation_labels: np.ndarray


def refit_heads(
    network: keras.Model,
    data: Dataset,
    tasks: Iterable[str],
    seed: int,
    features: FeatureExtractor,
    earlier: Mapping[str, Weights] | None = None,
) -> list[str]:
    """Tasks whose head is another one now: fitted to features of whole training paintings, in place.

    A head that reads pyramid maps beside the last map (`multitask.with_multi_scale_heads`) is fitted to these alone,
    see `channels_to_fit`. Of the head as it was, the fitted one, and three between them (their weights averaged, which
    averages their logits; Wortsman et al. 2022, arXiv 2109.01903), the one under which the validation paintings' labels
    are likeliest is kept, each at its best temperature. A head that is fitted to all maps, with a penalty on its
    weights, is then mixed into that one in the same way (docs/experiments/which-maps.md).

    Args:
        features: of whole paintings under this network.
        earlier: heads that other networks ended with, {task: kernel and bias}, for a network that began with the mean
            of theirs: each is taken in the place of the head as it was, where it makes the labels likelier.
    """
    changed = []
    for name, head in _heads(network, data, _rows_by_task(data, tasks, seed), features).items():
        trained = before = head.layer.get_weights()
        mean = (earlier or {}).get(name, [])
        if [array.shape for array in mean] == [array.shape for array in trained]:
            before = min([trained, mean], key=partial(_validation_loss, head))
        settings = FitSettings(UPDATES, f"fitting the {name} head", seed, FAST)
        kept = _best_mix(head, before, _fit(head, head.channels, settings), SHARES)
        every_channel = np.arange(head.inputs.shape[1])
        if len(head.channels) < len(every_channel):
            settings = replace(settings, title=f"fitting the {name} head to all maps", penalty=PENALTY)
            kept = _best_mix(head, kept, _fit(head, every_channel, settings), OF_EVERY_MAP)
        if kept is not trained:
            head.layer.set_weights(kept)
            changed.append(name)
    return changed


def _best_mix(head: _Head, before: Weights, fitted: Weights, shares: Iterable[float]) -> Weights:
    """The mix of two heads under which the validation paintings' labels are likeliest; `before` itself for share 0."""
    mixes = [
        before if share == 0 else [(1 - share) * a + share * b for a, b in zip(before, fitted, strict=True)]
        for share in shares
    ]
    return min(mixes, key=partial(_validation_loss, head))


def channels_to_fit(head_features: Any) -> np.ndarray:
    """The channels that a head is fitted to at the end of a training, int (m,): the pyramid maps', else all.

    The last map has learned the training paintings by heart: what it says of them is surer than what it says of any
    other painting, and whatever is fitted to it trusts it too much. The maps on the way there have not
    (docs/experiments/which-maps.md). The known-class heads try all maps beside these.

    Args:
        head_features: the tensor that the head reads, (n, channels).
    """
    pyramid = pyramid_channels(head_features)
    return np.flatnonzero(pyramid if pyramid.any() else ~pyramid)


def _rows_by_task(data: Dataset, tasks: Iterable[str], seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The training paintings to fit each task's head to, and the validation paintings to choose by; both labelled.

    Tasks with too few to choose by are left out.
    """
    drawn = np.random.default_rng(seed).permutation(data.rows("train"))  # one order, so that tasks share their works
    rows = {}
    for name in tasks:
        train = np.sort(drawn[data.labels[name][drawn] >= 0][:MOST])
        validation = data.rows("validation")
        validation = validation[data.labels[name][validation] >= 0]
        if len(train) and len(validation) >= MIN_LABELLED:
            rows[name] = train, validation
    return rows


def _heads(
    network: keras.Model,
    data: Dataset,
    rows: Mapping[str, tuple[np.ndarray, np.ndarray]],
    features: FeatureExtractor,
) -> dict[str, _Head]:
    """The heads with their inputs; the features of each painting are computed once for all of them."""
    if not rows:
        return {}
    every = np.unique(np.concatenate([*itertools.chain(*rows.values())]))
    tensors = named_tensors(network)
    read = {name: tensors[f"{name}_features"] for name in rows}
    shared = tensors[FEATURES]
    values = features.of(every, "features for the heads")[:, 0]
    inputs = {id(shared): values}
    for tensor in read.values():
        if id(tensor) not in inputs:  # behind hidden layers; several heads may read the same
            inputs[id(tensor)] = np.asarray(keras.Model(shared, tensor)(values, training=False))
    heads = {}
    for name, (train, validation) in rows.items():
        channels = channels_to_fit(read[name])
        of_head, labels = inputs[id(read[name])], data.labels[name]
        heads[name] = _Head(
            network.get_layer(name),
            channels,
            of_head,
            np.searchsorted(every, train),
            labels[train],
            of_head[np.searchsorted(every, validation)],
            labels[validation],
        )
    return heads


def _fit(head: _Head, channels: np.ndarray, settings: FitSettings) -> Weights:
    """Kernel and bias of a head fitted to these channels; for all others the kernel is 0."""
    inputs = head.inputs[np.ix_(head.training_rows, channels)]
    spread = inputs.std(axis=0)  # of each channel, for one map is not like another
    spread += LEAST_SPREAD * spread.mean() or 1.0
    kernel, bias = fit_linear_head(inputs[:, None] / spread, head.training_labels, head.layer.units, settings)
    whole = np.zeros_like(head.layer.get_weights()[0])
    whole[channels] = kernel / spread[:, None]
    return [whole, bias]


def _validation_loss(head: _Head, weights: Weights) -> float:
    """The mean cross-entropy of the validation paintings' labels, at the temperature that suits the weights best."""
    kernel, bias = weights
    return likeliest_temperature(head.validation_labels, head.validation_inputs @ kernel + bias)[1]
