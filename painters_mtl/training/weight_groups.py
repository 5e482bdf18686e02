"""Which weights of a network are shared by tasks and which belong to a head, and the optimizers that move them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from painters_mtl.network.graph import layer_owners
from painters_mtl.training.optimizer import AdamW, build_optimizer
from painters_mtl.training.settings import TrainSettings

SHARED = ""  # as the owner of a layer, and the name of the group of its weights, beside the names of the heads
ALL_TASKS = ""  # stands for an optimizer's task where every task moves the shared weights by the same optimizer


@dataclass(frozen=True)
class WeightGroups:
    """The trainable weights of a network, by who uses them, and the layers that keep statistics."""

    shared: list[keras.Variable]
    """Those that more than one task uses."""
    branches: dict[str, list[keras.Variable]]
    """Those of each head's branch: {head: variables}."""
    shared_normalisation: list[keras.layers.BatchNormalization]
    """The BatchNormalization layers of the shared part that train and follow the statistics of the batches."""


def group_weights(network: keras.Model, heads_of_task: Mapping[str, Sequence[str]]) -> WeightGroups:
    """The trainable weights of a network, sorted by who uses them.

    Args:
        heads_of_task: {task: names of its heads}. What only heads of one task share belongs to that task.
    """
    owners = layer_owners(network, heads_of_task)
    owner_of = {id(v): owners[layer.name] for layer in network.layers for v in layer.trainable_variables}
    groups: dict[str, list[keras.Variable]] = {SHARED: [], **{head: [] for head in network.output}}
    for variable in network.trainable_variables:
        groups[owner_of[id(variable)]].append(variable)
    normalisation = [
        inner
        for layer in network.layers
        if owners[layer.name] == SHARED
        for inner in _innermost_layers(layer)
        if isinstance(inner, keras.layers.BatchNormalization) and inner.trainable
    ]
    return WeightGroups(groups.pop(SHARED), groups, normalisation)


def _innermost_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers of a model, and those of models in it, each once; of any other layer, itself."""
    if not isinstance(layer, keras.Model):
        return [layer]
    layers = {id(inner): inner for outer in layer.layers for inner in _innermost_layers(outer)}
    return list(layers.values())


class GroupOptimizers:
    """An AdamW for each group of weights.

    The shared weights have one, and each head's branch another: a branch without a label in the batch stands still.
    With `by_task`, each task has optimizers of its own, for the shared weights and for its branches.
    """

    def __init__(
        self,
        groups: WeightGroups,
        heads_of_task: Mapping[str, Sequence[str]],
        pretrained: Sequence[keras.Variable],
        settings: TrainSettings,
        by_task: bool,
    ) -> None:
        """Args:
        pretrained: the weights of a pretrained backbone.
        """
        self.tasks, self.by_task = list(heads_of_task), by_task
        self.sizes = {SHARED: len(groups.shared), **{head: len(of) for head, of in groups.branches.items()}}
        ids = {id(variable) for variable in pretrained}
        variables_of = {SHARED: groups.shared, **groups.branches}
        self.optimizers: dict[tuple[str, str], AdamW] = {}
        """Keyed by task, or `ALL_TASKS`, and by head, or `SHARED`."""
        for task in self.tasks if by_task else [ALL_TASKS]:
            for group, variables in variables_of.items():
                if group == SHARED or task == ALL_TASKS or group in heads_of_task[task]:
                    self.optimizers[task, group] = build_optimizer(variables, ids, settings)

    @property
    def state(self) -> list[tf.Variable]:
        """All that they remember, in a fixed order; saved with a checkpoint."""
        return [variable for optimizer in self.optimizers.values() for variable in optimizer.state]

    def apply(
        self,
        gradients: Sequence[tf.Tensor],
        rate: tf.Tensor,
        moves: Mapping[str, tf.Tensor],
        task: tf.Tensor,
    ) -> None:
        """One step of each group, in place.

        Args:
            gradients: of the shared weights, then of the branches, head after head.
            rate: the learning rate, float32 scalar.
            moves: {head or `SHARED`: 1.0, or 0.0 for a group that stands still}.
            task: the number of the task whose step it is; with `by_task`, only its optimizers move anything.
        """
        ends = np.cumsum(list(self.sizes.values()))
        of_group = {
            group: gradients[end - size : end] for (group, size), end in zip(self.sizes.items(), ends, strict=True)
        }

        def apply_those_of(name: str) -> tf.Tensor:
            for (owner, group), optimizer in self.optimizers.items():
                if owner == name:
                    optimizer.apply(of_group[group], rate, moves[group])
            return tf.constant(0)

        if self.by_task:
            tf.switch_case(task, [lambda name=name: apply_those_of(name) for name in self.tasks])
        else:
            apply_those_of(ALL_TASKS)
