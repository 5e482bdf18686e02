"""What is read out of the graph of a finished network: its named tensors, who uses a layer, where a map may be cut.

Keras keeps a graph in nodes: a node is one call of a layer, with the tensors that go in and come out. A layer that is
called twice, or is part of several models, has several nodes, so `layer.output` does not tell which model is meant.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from painters_mtl.common import lazy_imports

lazy_imports.import_tensorflow()  # as this program needs Keras, also where a notebook imports this module alone

FEATURES = "features"  # the layer whose output the heads share: (n, channels)
TRUNK = "trunk"  # the name of the tensor behind the last shared hidden layer
PROBE = 256  # side of the image by which the sizes of maps are told


def named_tensors(model: keras.Model) -> dict[str, Any]:
    """The tensors of a network of `build_model` by name, (n, channels) each.

    features: what the backbone gives, pooled. trunk: the tensor at which the branches of the tasks begin, behind the
    last shared hidden layer; without any, or with one that is called for each of two views, the features.
    `{task}_features`: what a head reads, before its dropout. `{task}`: the probabilities. A model of the heads alone
    has all but what is before its input.
    """
    nodes: dict[str, list[Any]] = {}
    for node in model_nodes(model):
        nodes.setdefault(node.operation.name, []).append(node)
    tensors = {FEATURES: nodes[FEATURES][0].output_tensors[0] if FEATURES in nodes else model.input}
    hidden = [name for name in nodes if name.startswith("shared_") and name.removeprefix("shared_").isdecimal()]
    last = nodes[max(hidden, key=lambda name: int(name.removeprefix("shared_")))] if hidden else []
    tensors[TRUNK] = last[0].output_tensors[0] if len(last) == 1 else tensors[FEATURES]
    for name, output in model.output.items():
        tensors[f"{name}_features"], tensors[name] = _before_dropout(producing_node(output).input_tensors[0]), output
    return tensors


def model_nodes(model: keras.Model) -> Iterator[Any]:
    """The nodes of a model, from its inputs to its outputs."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from model._nodes_by_depth[depth]


def producing_node(tensor: Any) -> Any:
    """The node of the graph that made a tensor: the call of a layer (`operation`), with its `input_tensors`."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def _before_dropout(tensor: Any) -> Any:
    while isinstance((node := producing_node(tensor)).operation, keras.layers.Dropout):
        tensor = node.input_tensors[0]
    return tensor


def heads_by_layer(network: keras.Model) -> dict[str, tuple[str, ...]]:
    """Which heads each layer serves, in the order of the heads: {layer: heads}.

    A layer serves a head when the way from the image to that head leads through it. An input that nothing reads, such
    as a view that every head leaves out, counts as serving all.
    """
    serves: dict[str, tuple[str, ...]] = {}
    for head, output in network.output.items():
        passed: dict[int, Any] = {}
        waiting = [producing_node(output)]
        while waiting:
            node = waiting.pop()
            if id(node) not in passed:
                passed[id(node)] = node
                waiting += [producing_node(tensor) for tensor in node.input_tensors]
        for name in {node.operation.name for node in passed.values()}:
            serves[name] = (*serves.get(name, ()), head)
    return {layer.name: serves.get(layer.name, tuple(network.output)) for layer in network.operations}


def layer_owners(network: keras.Model, groups: Mapping[str, Sequence[str]] | None = None) -> dict[str, str]:
    """The head in whose branch each layer is: {layer: head}; "" for a layer that the tasks share.

    This is what "a task's own layers" means everywhere: in training, in a warm start, in descriptions.

    Args:
        groups: {task: names of its heads}. What the heads of one task share, and no other task uses, is in the branch
            of the first of them. Without it, each head is a task.

    In a network for one task every layer serves that task alone. Its own are those that are named after a head, for
    they would be its own beside other tasks; the rest is what it would share with them.
    """
    task_of = {head: task for task, heads in (groups or {}).items() for head in heads}
    tasks = {task_of.get(head, head) for head in network.output}
    owners = {}
    for layer, heads in heads_by_layer(network).items():
        if len(tasks) == 1:
            heads = tuple(h for h in heads if layer == h or layer.startswith(f"{h}_"))
        one_task = len({task_of.get(head, head) for head in heads}) == 1
        owners[layer] = heads[0] if one_task else ""
    return owners


def block_outputs(backbone: keras.Model) -> list[Any]:
    """The tensors that everything passes through on its way from the image to the last map, in order.

    Not those inside a branch that a residual connection goes around.
    """
    nodes = list(model_nodes(backbone))
    readers: dict[int, int] = {}
    for node in nodes:
        for tensor in node.input_tensors:
            readers[id(tensor)] = readers.get(id(tensor), 0) + 1
    unread: set[int] = set()  # tensors that are made and still have a reader to come
    passed = []
    for node in nodes:
        for tensor in node.input_tensors:
            readers[id(tensor)] -= 1
            if not readers[id(tensor)]:
                unread.discard(id(tensor))
        unread.update(id(tensor) for tensor in node.output_tensors)
        if len(unread) == 1 and not node.is_input and node.output_tensors[0] is not backbone.outputs[0]:
            passed.append(node.output_tensors[0])
    return passed


def map_shapes(backbone: keras.Model, tensors: Sequence[Any]) -> list[tuple]:
    """Shapes of tensors of a backbone for an image of `PROBE` x `PROBE`; it takes any size, so it does not tell."""
    image = keras.KerasTensor((1, PROBE, PROBE, 3))
    return [spec.shape for spec in keras.Model(backbone.inputs, list(tensors)).compute_output_spec(image)]


def halvings(shape: Sequence[int]) -> int:
    """How often the side of the image is halved in a map of this shape, for an image of `PROBE` x `PROBE`."""
    return round(np.log2(PROBE / shape[1]))
