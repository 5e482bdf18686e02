"""Run folders with a small random network: as a training leaves it before it is calibrated, finished, and packaged."""

from pathlib import Path

import keras
import numpy as np
from helpers import small_network

from painters_mtl.common.files import write_json
from painters_mtl.data.tasks import Task
from painters_mtl.inference import packaging
from painters_mtl.inference.open_network import save_network
from painters_mtl.inference.painter_pairs import PainterHead
from painters_mtl.network.multitask import with_known_head
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.runs import run as runs

TASKS = {"painter": Task("painter", ("Ä", 'B "b", c')), "genre": Task("genre", ("portrait", "landscape", "x"))}
OTHER_TASKS = {"painter": Task("painter", ("a", "b", "c")), "style": Task("style", ("d", "e"))}


def make_run(folder: Path, seed: int = 0) -> keras.Model:
    folder.mkdir(parents=True)
    keras.utils.set_random_seed(seed)
    model = small_network(TASKS)
    runs.save_labels(folder, TASKS, 32, 40, demo=True)
    runs.save_model(model, folder)
    return model


def trained_run(
    folder: Path, seed: int = 0, demo: bool = False, largest: float = 0, backbone: str = "small_convnet"
) -> runs.Run:
    """A finished run for OTHER_TASKS, its answers spread over the classes.

    Args:
        largest: a weight to put into the style head.
    """
    keras.utils.set_random_seed(seed)
    known = Task("painter_known", ("another", "known"))
    network = with_known_head(small_network(OTHER_TASKS, backbone), known, width=9, painters=5)
    images = np.random.default_rng(1).integers(0, 256, (64, 32, 32, 3)).astype(np.float32)
    found = network(images, training=False)
    for name in OTHER_TASKS:
        head, logits = network.get_layer(name), np.log(np.asarray(found[name]))
        spread = (logits - logits.mean(axis=1, keepdims=True)).std(axis=0).mean()
        spread = spread if spread > 1e-6 else 1.0  # a deep backbone of random weights gives the same for all pictures
        head.kernel.assign(head.kernel / spread)
        head.bias.assign(-logits.mean(axis=0) / spread)
    if largest:
        kernel = np.array(network.get_layer("style").kernel)
        kernel[0, 0] = largest
        network.get_layer("style").kernel.assign(kernel)
    folder.mkdir(parents=True)
    save_network(network, NetworkSettings(backbone=backbone, image_size=32, weights="none"), folder)
    temperatures, thresholds = {"painter": 0.6, "style": 1.7}, {"painter": 0.2, "style": 0.1}
    runs.save_labels(folder, OTHER_TASKS, 32, 40, demo, temperatures=temperatures, thresholds=thresholds)
    write_json(folder / runs.METRICS, {"interrupted": False, "demo": demo})
    return runs.open_run(folder)


def package(
    run: runs.Run, folder: Path, head: PainterHead | None = None, litert: bool = False, codes: np.ndarray | None = None
) -> runs.Run:
    """The packaged model of a run; with what LiteRT needs, which takes seconds, where it is asked for."""
    folder.mkdir(parents=True)
    packaging.save_package(run, folder, head, codes)
    if litert:
        packaging.add_litert(run, folder)
    packaging.finish_package(run, folder, {"paintings": 0})
    return runs.open_run(folder)
