"""The network: one shared backbone, optional shared layers, then a branch and a softmax head for each task.

Its tensors have names, which `graph.named_tensors` finds: `features`, pooled from the backbone's maps; `trunk`, at
which the branches of the tasks begin; `{task}_features`, which a head reads; `{task}`, its probabilities.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import ALL_PAINTERS, Task
from painters_mtl.network.backbones import build_backbone, set_trainable
from painters_mtl.network.graph import FEATURES, named_tensors
from painters_mtl.network.pyramid import pyramid_features, with_pyramid_maps
from painters_mtl.network.settings import NetworkSettings

PROJECTION = "projection"  # the layer that every branch goes through, behind the trunk


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
        multi_scale: the heads read the pyramid maps of the backbone too (`pyramid.pyramid_features`). With one view
            only.

    Raises:
        UserError: without a task, and for what `build_backbone` refuses.

    >>> settings = NetworkSettings(backbone="small_convnet", image_size=32)
    >>> model = build_model({"style": Task("style", ("Cubism", "Fauvism"))}, settings)
    >>> model.output["style"].shape
    (None, 2)
    """
    settings = NetworkSettings() if settings is None else settings
    if not tasks:
        raise UserError("a network needs at least one task")
    if multi_scale and len(settings.views) > 1:
        raise ValueError("pyramid maps are for networks with one view")
    backbone = _named_backbone(settings) if backbone is None else backbone
    inputs, features = _inputs_and_features(backbone, settings, multi_scale)
    trunks = _trunks(features, settings)
    # One layer object, called once for each branch: its weights get the gradients of all tasks.
    width = settings.shared_projection
    projection = [keras.layers.Dense(width, activation="relu", name=PROJECTION)] if width else []
    outputs = {}
    for name, task in tasks.items():
        branch = [*_hidden(settings.task_layers, settings.dropout, name), *projection]
        branch.append(keras.layers.Dropout(settings.dropout, name=f"{name}_dropout"))
        # float32 whatever the precision policy: a softmax over 16 bits loses the small probabilities.
        branch.append(keras.layers.Dense(len(task.classes), activation="softmax", dtype="float32", name=name))
        outputs[name] = _apply(branch, trunks[_view_of(name, settings)])
    return keras.Model(inputs, outputs, name="painters_mtl")


def _named_backbone(settings: NetworkSettings) -> keras.Model:
    """The backbone that the settings name, with its weights, and what trains of it."""
    backbone = build_backbone(settings.backbone, settings.image_size, settings.weights)
    set_trainable(backbone, settings.fine_tune, settings.starts_pretrained())
    return backbone


def _inputs_and_features(backbone: keras.Model, settings: NetworkSettings, multi_scale: bool) -> tuple[Any, Any]:
    """The inputs of the network, and the features that the heads share."""
    if len(settings.views) == 1:
        inputs: Any = keras.Input((None, None, 3), name="image")
        if not multi_scale:
            return inputs, keras.layers.GlobalAveragePooling2D(name=FEATURES)(backbone(inputs))
        last, *finer = keras.tree.flatten(with_pyramid_maps(backbone)(inputs))
        return inputs, pyramid_features(last, finer)
    # One backbone, called twice: its weights get the gradients of both views.
    inputs = {name: keras.Input((None, None, 3), name=name) for name in ("image", "detail")}
    pool = keras.layers.GlobalAveragePooling2D(name="pool")
    pooled = [pool(backbone(image)) for image in inputs.values()]
    return inputs, keras.layers.Concatenate(name=FEATURES)(pooled)


def _trunks(features: Any, settings: NetworkSettings) -> dict[str, Any]:
    """For each view, the tensor at which the branches of the tasks begin that see it."""
    views, hidden = settings.views, _hidden(settings.shared_layers, settings.dropout, "shared")
    if settings.merge == "none":
        channels = features.shape[-1] // len(views)
        of_views = [features[:, k * channels : (k + 1) * channels] for k in range(len(views))]
        return {view: _apply(hidden, tensor) for view, tensor in zip(views, of_views, strict=True)}
    return dict.fromkeys(views, _apply(hidden, features))


def _view_of(task: str, settings: NetworkSettings) -> str:
    """The view that a head sees; the head over all painters looks where the painters' looks."""
    return settings.view_of.get("painter" if task == ALL_PAINTERS else task, settings.views[0])


def _hidden(widths: Sequence[int], dropout: float, name: str) -> list[keras.layers.Layer]:
    """Hidden layers, each with the dropout before it."""
    layers: list[keras.layers.Layer] = []
    for i, width in enumerate(widths):
        layers.append(keras.layers.Dropout(dropout, name=f"{name}_{i}_dropout"))
        layers.append(keras.layers.Dense(width, activation="relu", name=f"{name}_{i}"))
    return layers


def _apply(layers: Sequence[keras.layers.Layer], x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x


def with_multi_scale_heads(network: keras.Model, tasks: Mapping[str, Task], settings: NetworkSettings) -> keras.Model:
    """A network with the same backbone and outputs, whose heads read the pyramid maps too.

    Their weights for these are 0. The network itself, where it has two views, or hidden layers before its heads.
    """
    if not settings.plain_heads():
        return network
    multi_scale = build_model(tasks, settings, backbone_of(network), multi_scale=True)
    for name in tasks:
        kernel, bias = network.get_layer(name).get_weights()
        more = multi_scale.get_layer(name).kernel.shape[0] - len(kernel)
        multi_scale.get_layer(name).set_weights([np.pad(kernel, ((0, more), (0, 0))), bias])
    return multi_scale


def with_known_head(network: keras.Model, task: Task, width: int, painters: int = 0) -> keras.Model:
    """The network with one more head, which says whether a work is of any of a task's classes.

    A softmax behind a hidden layer of its own on the features; its layers are named `{task}_0` and `{task}`. With
    `painters` the softmax also reads the largest of so many painters' logits, those of a layer `{task}_painters`.

    Args:
        task: `data.Dataset.known_class_task`, such as "painter_known" with the classes another and known.
        width: of the hidden layer.
    """
    features = named_tensors(network)[FEATURES]
    reads = keras.layers.Dense(width, activation="relu", name=f"{task.name}_0")(features)
    if painters:
        logits = keras.layers.Dense(painters, name=f"{task.name}_painters")(features)
        column = keras.layers.Reshape((painters, 1), name=f"{task.name}_column")(logits)
        largest = keras.layers.GlobalMaxPooling1D(name=f"{task.name}_largest")(column)
        reads = keras.layers.Concatenate(name=f"{task.name}_reads")([reads, largest])
    head = keras.layers.Dense(len(task.classes), activation="softmax", dtype="float32", name=task.name)
    return keras.Model(network.input, {**network.output, task.name: head(reads)}, name=network.name)


def with_heads(model: keras.Model, tasks: Iterable[str]) -> keras.Model:
    """The same network with these heads only; what served training alone falls away."""
    return keras.Model(model.input, {name: model.output[name] for name in tasks}, name="painters_mtl")


def backbone_of(model: keras.Model) -> keras.Model:
    """The backbone in a network of `build_model`."""
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def features_model(model: keras.Model) -> keras.Model:
    """Images to the features that the heads share: (n, channels), before any shared hidden layer."""
    return keras.Model(model.input, named_tensors(model)[FEATURES], name="encoder")


def heads_model(model: keras.Model) -> keras.Model:
    """The part behind the features; its layers are those of `model`, so to train it is to train them."""
    return keras.Model(named_tensors(model)[FEATURES], model.output, name="heads")
