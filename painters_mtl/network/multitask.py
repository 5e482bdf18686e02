"""The network: one shared backbone, optional shared layers, then a branch and a softmax head for each task."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import ALL_PAINTERS, Task
from painters_mtl.network.backbones import build_backbone, set_trainable, with_pyramid_maps
from painters_mtl.network.settings import NetworkSettings

PROJECTION = "projection"  # the layer that every branch goes through behind the split
FEATURES = "features"  # the layer whose output the heads share: (n, channels)
LAST_POOL = "pool_0"  # with finer levels, the layer that pools the last map; pool_1 and so on pool the finer ones


def build_model(
    tasks: Mapping[str, Task],
    settings: NetworkSettings | None = None,
    backbone: keras.Model | None = None,
    multi_scale: bool = False,
) -> keras.Model:
    """A Functional-API model from images to a dict of class probabilities, keyed by task.

    Input: (n, height, width, 3), uint8 or float 0 to 255, RGB; preprocessing is inside. Any size works; the accuracy is
    best near the one it was trained for. With the views whole and detail, a dict {"image", "detail"} of two such.
    Output: {task: float32 (n, number of classes)}, rows sum to 1. One task gives the single-task network.

    Args:
        tasks: the heads to build, by name.
        settings: of `TrainSettings`, its base `NetworkSettings` is enough; None: the defaults.
        backbone: a network from images of any size to a map (n, height, width, channels), which is taken as it is,
            instead of the one that the settings name.
        multi_scale: the heads read the pyramid maps of the backbone too (`backbones.with_pyramid_maps`), the mean of
            each brought to length 1 (Liu et al. 2015, ParseNet, arXiv 1506.04579): maps with many cells hold larger
            values, and would drown the last one. With one view only.

    >>> settings = NetworkSettings(backbone="small_convnet", image_size=32)
    >>> model = build_model({"style": Task("style", ("Cubism", "Fauvism"))}, settings)
    >>> model.output["style"].shape
    (None, 2)
    """
    settings = NetworkSettings() if settings is None else settings
    views, dropout = settings.views, settings.dropout
    if not tasks:
        raise UserError("a network needs at least one task")
    if multi_scale and len(views) > 1:
        raise ValueError("pyramid maps are for networks with one view")
    shared = _named_backbone(settings) if backbone is None else backbone
    if multi_scale:
        shared = with_pyramid_maps(shared)
    if len(views) == 1:
        inputs: Any = keras.Input((None, None, 3), name="image")
        last, *finer = keras.tree.flatten(shared(inputs))
        features = keras.layers.GlobalAveragePooling2D(name=LAST_POOL if finer else FEATURES)(last)
        if finer:
            pooled = [keras.layers.GlobalAveragePooling2D(name=f"pool_{i}")(m) for i, m in enumerate(finer, 1)]
            means = [keras.layers.UnitNormalization(name=f"level_{i}")(v) for i, v in enumerate(pooled, 1)]
            features = keras.layers.Concatenate(name=FEATURES)([features, *means])
    else:  # one backbone, called twice: its weights get the gradients of both views
        inputs = {name: keras.Input((None, None, 3), name=name) for name in ("image", "detail")}
        pool = keras.layers.GlobalAveragePooling2D(name="pool")
        pooled = [pool(shared(image)) for image in inputs.values()]
        features = keras.layers.Concatenate(name=FEATURES)(pooled)
    shared_hidden = _hidden(settings.shared_layers, dropout, "shared")
    if len(views) > 1 and settings.merge == "none":
        channels = features.shape[-1] // len(views)
        parts = [features[:, k * channels : (k + 1) * channels] for k in range(len(views))]
        seen: dict[str, Any] = {view: _through(shared_hidden, part) for view, part in zip(views, parts, strict=True)}
    else:
        seen = dict.fromkeys(views, _through(shared_hidden, features))
    # One layer object, called once for each branch: its weights get the gradients of all tasks.
    width = settings.shared_projection
    projection = keras.layers.Dense(width, activation="relu", name=PROJECTION) if width else None
    outputs = {}
    for name, task in tasks.items():
        branch = _hidden(settings.task_layers, dropout, name)
        y = _through(branch, seen[_view_of(name, settings)])
        y = y if projection is None else projection(y)
        y = keras.layers.Dropout(dropout, name=f"{name}_dropout")(y)
        # float32 whatever the precision policy: a softmax over 16 bits loses the small probabilities.
        outputs[name] = keras.layers.Dense(len(task.classes), activation="softmax", dtype="float32", name=name)(y)
    return keras.Model(inputs, outputs, name="painters_mtl")


def _named_backbone(settings: NetworkSettings) -> keras.Model:
    """The backbone that the settings name, with its weights, and what trains of it."""
    backbone = build_backbone(settings.backbone, settings.image_size, settings.weights)
    pretrained = settings.backbone != "small_convnet" and settings.weights not in (None, "none", "None", "")
    set_trainable(backbone, settings.fine_tune, pretrained)
    return backbone


def _view_of(task: str, settings: NetworkSettings) -> str:
    """The view that a head sees; the head over all painters looks where the painters' looks."""
    return settings.view_of.get("painter" if task == ALL_PAINTERS else task, settings.views[0])


def with_multi_scale_heads(network: keras.Model, tasks: Mapping[str, Task], settings: NetworkSettings) -> keras.Model:
    """A network with the same backbone that says the same, whose heads also see the finer levels of the backbone.

    What they make of them is 0. The network itself, where it has two views, or hidden layers before its heads.
    """
    if not settings.plain_heads():
        return network
    wide = build_model(tasks, settings, backbone_of(network), multi_scale=True)
    for name in tasks:
        kernel, bias = network.get_layer(name).get_weights()
        more = wide.get_layer(name).kernel.shape[0] - len(kernel)
        wide.get_layer(name).set_weights([np.pad(kernel, ((0, more), (0, 0))), bias])
    return wide


def backbone_of(model: keras.Model) -> keras.Model:
    """The backbone in a network of `build_model`."""
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def _hidden(widths: Sequence[int], dropout: float, name: str) -> list[keras.layers.Layer]:
    """Hidden layers, each with the dropout before it."""
    layers: list[keras.layers.Layer] = []
    for i, width in enumerate(widths):
        layers.append(keras.layers.Dropout(dropout, name=f"{name}_{i}_dropout"))
        layers.append(keras.layers.Dense(width, activation="relu", name=f"{name}_{i}"))
    return layers


def _through(layers: Sequence[keras.layers.Layer], x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x


def features_model(model: keras.Model) -> keras.Model:
    """Images to the features that the heads share: (n, channels), before any shared hidden layer."""
    return keras.Model(model.input, model.get_layer(FEATURES).output, name="encoder")


def heads_model(model: keras.Model) -> keras.Model:
    """The part behind the features; its layers are those of `model`, so to train it is to train them."""
    return keras.Model(model.get_layer(FEATURES).output, model.output, name="heads")


def shared_output(model: keras.Model) -> Any:
    """The tensor at which the tasks part: behind the last shared hidden layer, else the features."""
    # Not layer.output: a layer that is part of several models has an output in each.
    nodes = [node for level in model._nodes_by_depth.values() for node in level]
    names = [n.operation.name for n in nodes]
    last = max(
        (n for n in names if n.startswith("shared_") and not n.endswith("_dropout")),
        default="",
        key=lambda n: (len(n), n),
    )
    for name in (last, FEATURES):
        if names.count(name) == 1:  # a shared layer behind each of two views has two
            return nodes[names.index(name)].output_tensors[0]
    return model.input  # a model of the heads alone starts there


def producing_node(tensor: Any) -> Any:
    """The node of the graph that made a tensor: the call of a layer (`operation`), with its `input_tensors`."""
    made = tensor._keras_history
    return made.operation._inbound_nodes[made.node_index]


def head_input(head: Any) -> Any:
    """The tensor (n, channels) that a head reads, before its dropout.

    Args:
        head: the node of its call, from `producer`.
    """
    read = head.input_tensors[0]
    while isinstance((node := producing_node(read)).operation, keras.layers.Dropout):
        read = node.input_tensors[0]
    return read


def pyramid_channels(read: Any) -> np.ndarray:
    """Which channels of what a head reads (`read_by`) are those of finer levels: bool (channels,)."""
    node = producing_node(read)
    if LAST_POOL not in {producing_node(part).operation.name for part in node.input_tensors}:
        return np.zeros(read.shape[-1], bool)  # the last map's alone, those of two views, or a hidden layer
    parts = [(producing_node(part).operation.name != LAST_POOL, part.shape[-1]) for part in node.input_tensors]
    return np.concatenate([np.full(channels, finer) for finer, channels in parts])


def with_heads(model: keras.Model, tasks: Iterable[str]) -> keras.Model:
    """The same network with these heads only; what served training alone falls away."""
    return keras.Model(model.input, {name: model.output[name] for name in tasks}, name="painters_mtl")
