"""A network as plain data, and back: arrays by name, and a manifest of all that is needed to build it by code.

    manifest, arrays = describe_network(network, settings), network_arrays(network)
    same = build_from_manifest(manifest, arrays)

No version of Keras's serialisation is asked to read another's: what stands in `manifest` are settings of this project
and numbers. `runs.network_files` keeps both in a run folder; this module reads and writes no file.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import Task, known_output
from painters_mtl.network.backbones import build_backbone, rescaling_behind_normalization, set_trainable
from painters_mtl.network.graph import named_tensors
from painters_mtl.network.multitask import backbone_of, build_model, with_known_head
from painters_mtl.network.pyramid import pyramid_channels
from painters_mtl.network.settings import NetworkSettings, backbone_key
from painters_mtl.network.weight_names import named_variables, set_arrays

FORMAT = 1  # of the manifest; a program that knows only lower ones refuses it
PROBE_SEED, PROBES = 0, 2  # of the random images on which a network built by another version of Keras is compared
TOLERANCE = 1e-3  # of a probability


def describe_network(network: keras.Model, settings: NetworkSettings) -> dict[str, Any] | None:
    """The manifest of a network of `build_model`, in plain JSON values; None for one that code cannot build again.

    Such is one with a backbone that has no name in the settings, as `build_model` takes from a notebook.

    Args:
        settings: those that it was built with.
    """
    backbone, tensors = backbone_of(network), named_tensors(network)
    if backbone_key(backbone.name) != backbone_key(settings.backbone):
        return None
    heads = {name: output.shape[-1] for name, output in network.output.items()}
    known_heads = {
        known_output(name): heads.pop(known_output(name)) for name in list(heads) if known_output(name) in heads
    }
    return {
        "format": FORMAT,
        "keras": keras.__version__,
        "settings": {name: settings.to_dict()[name] for name in NetworkSettings().to_dict()},
        "heads": heads,
        "multi_scale": any(bool(pyramid_channels(tensors[f"{name}_features"]).any()) for name in heads),
        "known_heads": {
            name: {"classes": classes, "width": network.get_layer(f"{name}_0").units, **_painters(network, name)}
            for name, classes in known_heads.items()
        },
        "rescaling": rescaling_behind_normalization(backbone),
        "arrays": {name: " x ".join(map(str, array.shape)) for name, array in network_arrays(network).items()},
        "probe": _probe(network, settings),
    }


def network_arrays(network: keras.Model) -> dict[str, np.ndarray]:
    """The weights of a network by name, "layer/weight" or "backbone/layer/weight", in the order of the layers.

    Keras numbers layers that were given no name, differently in each network of a process; here they are numbered
    within the network.
    """
    return {name: np.asarray(variable) for name, variable in named_variables(network)}


def build_from_manifest(manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> keras.Model:
    """The network that `describe_network` and `network_arrays` told of.

    Raises `UserError` that names what does not fit: a newer format, a setting or layer that this version does not
    have, an array of another shape, probabilities that are not those of the network that was saved.
    """
    if manifest.get("format") != FORMAT:
        stored = manifest.get("format")
        raise UserError(
            f"the network is stored in format {stored}, and this version reads {FORMAT}: update painters-mtl"
        )
    settings = NetworkSettings.from_dict(manifest["settings"], "the stored network")
    backbone = build_backbone(settings.backbone, settings.image_size, None, manifest["rescaling"])
    set_trainable(backbone, settings.fine_tune, settings.starts_pretrained())
    tasks = {name: _task(name, classes) for name, classes in manifest["heads"].items()}
    network = build_model(tasks, settings, backbone, manifest["multi_scale"])
    for name, head in manifest["known_heads"].items():
        network = with_known_head(network, _task(name, head["classes"]), head["width"], head.get("painters", 0))
    set_arrays(network, arrays)
    if manifest["keras"] != keras.__version__:
        _check_probe(network, settings, manifest)
    return network


def _painters(network: keras.Model, head: str) -> dict[str, int]:
    """How many painters' logits a known-class head reads, where it reads any: see `with_known_head`."""
    layer = f"{head}_painters"
    return {"painters": network.get_layer(layer).units} if any(one.name == layer for one in network.layers) else {}


def _task(name: str, classes: int) -> Task:
    """A task whose classes have no names: those are in `labels.json`."""
    return Task(name, tuple(map(str, range(classes))))


def _probe(network: keras.Model, settings: NetworkSettings) -> dict[str, list[list[float]]]:
    """The probabilities of a network for a few images of noise, {head: rows}: what a version of Keras must agree on."""
    shape = (PROBES, settings.image_size, settings.image_size, 3)
    images = np.random.RandomState(PROBE_SEED).randint(0, 256, shape).astype(np.float32)  # the same in every NumPy
    inputs = {name: images for name in ("image", "detail")} if len(settings.views) > 1 else images
    outputs = network(inputs, training=False)
    return {name: np.asarray(values, np.float64).round(6).tolist() for name, values in outputs.items()}


def _check_probe(network: keras.Model, settings: NetworkSettings, manifest: Mapping[str, Any]) -> None:
    """Raise `UserError` where this version of Keras builds another network than the one that was saved."""
    built = _probe(network, settings)
    difference = max(float(np.abs(np.subtract(built[name], rows)).max()) for name, rows in manifest["probe"].items())
    if not difference <= TOLERANCE:
        raise UserError(
            f"Keras {keras.__version__} builds another network from these arrays than Keras {manifest['keras']} did: "
            f"probabilities differ by {difference:.2g}; use the version that it was trained with"
        )
