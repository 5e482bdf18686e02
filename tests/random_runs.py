"""Run folders with networks of random weights, and pictures to give them: for the tests of inference."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import small_network
from PIL import Image

from painters_mtl.data.tasks import Task
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.images import files as images
from painters_mtl.images.files import ImageFile
from painters_mtl.inference import runtimes
from painters_mtl.network.forward import forward_function
from painters_mtl.runs.run import Run, open_run, save_labels, save_model

TASKS = {"painter": Task("painter", ("a", "b", "c")), "style": Task("style", ("d", "e"))}
KINDS = {
    "convnet": ("small_convnet", ("whole",), 40),
    "lite0": ("efficientnet_lite0", ("whole",), 40),
    "views": ("small_convnet", ("whole", "detail"), 48),
}
TEMPERATURES = {"painter": 0.6, "style": 1.7}


FORMATS: dict[str, tuple[str, ...]] = {  # packages that an export needs to be run
    "saved_model": (),
    "litert": ("ai_edge_litert",),
    "onnx": ("onnxruntime", "tf2onnx", "onnx"),
    "openvino": ("openvino",),
}


def needs_format(file_format: str) -> None:
    """Skip the test where a package of an export format is not installed."""
    for package in FORMATS[file_format.removesuffix("-int8")]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f'needs {package}: pip install "painters-mtl[{file_format}]"')


def needs(name: str) -> None:
    """Skip the test where the package of a runtime is not installed."""
    if importlib.util.find_spec(runtimes.PACKAGES[name]) is None:
        pytest.skip(f'needs pip install "painters-mtl[{name}]"')


def any_installed() -> str:
    """A runtime other than Keras."""
    if not (names := runtimes.installed()):
        pytest.skip('needs pip install "painters-mtl[openvino]" or "painters-mtl[litert]"')
    return names[0]


def run_of_kind(kind: str, base: Path, to: Path) -> Run:
    """A copy in `to` of the run of `make_run` in `base`, which is made when it is asked for first."""
    if not (base / kind).is_dir():
        make_run(base / kind, kind)
    return fresh_copy(base / kind, to)


def fresh_copy(run: Path, to: Path) -> Run:
    """A copy of a run, never exported."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("runtimes"))
    return open_run(to)


def rounding(kind: str) -> float:
    """What 32 bits may change of a probability: 50 layers of random weights pass on more of it than trained ones."""
    return 1e-4 if kind == "lite0" else 1e-5


def make_run(folder: Path, kind: str = "convnet", seed: int = 0) -> Run:
    """A run folder with a network of random weights whose answers differ from picture to picture."""
    import keras

    backbone, views, side = KINDS[kind]
    keras.utils.set_random_seed(seed)
    network = small_network(TASKS, backbone, len(views) == 1, shared_layers=(9,), views=views)
    seen = np.stack([drawn(np.random.default_rng(i), (32, 32)) for i in range(16)]).astype(np.float32)
    inputs = seen if len(views) == 1 else dict.fromkeys(("image", "detail"), seen)
    parts = [network, *(layer for layer in network.layers if isinstance(layer, keras.Model))]
    normalisations = [x for p in parts for x in p.layers if isinstance(x, keras.layers.BatchNormalization)]
    for layer in normalisations:
        layer.momentum, layer.trainable = 0.0, True
    network(inputs, training=True)
    for layer in normalisations:  # as if trained: the statistics are those of the pictures, gamma and beta are not 1, 0
        gamma, beta, mean, variance = layer.get_weights()
        layer.set_weights([gamma * np.linspace(0.8, 1.2, len(gamma)), beta + 0.1, mean, variance])
        layer.momentum = 0.99
    found = network(inputs, training=False)
    for name in TASKS:  # logits around 0, each class the likeliest one of some pictures
        head, logits = network.get_layer(name), np.log(found[name].numpy())
        logits -= logits.mean(axis=1, keepdims=True)
        spread = logits.std(axis=0).mean()
        head.kernel.assign(head.kernel / spread)
        head.bias.assign(-logits.mean(axis=0) / spread)
    folder.mkdir(parents=True, exist_ok=True)
    save_model(network, folder)
    save_labels(folder, TASKS, 32, side, False, views, TEMPERATURES, thresholds={})
    return open_run(folder)


def drawn(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Smooth colours and edges: uint8 of this (width, height)."""
    small = rng.integers(0, 256, (4, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC))


def pictures(folder: Path, count: int = 7) -> list[ImageFile]:
    """PNGs, larger than the copies."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(drawn(np.random.default_rng(100 + i), (90, 70))).save(folder / f"{i}.png")
    return images.find_images(folder)


def calibrated(run: Run, copies: np.ndarray) -> dict[str, np.ndarray]:
    """What the exported network has to say: Keras's probabilities, softened outside of it."""
    found = forward_function(run.model(), run.image_size)(copies)
    return {name: apply_temperature(values.numpy(), run.temperatures[name]) for name, values in found.items()}
