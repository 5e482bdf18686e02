"""A trained run to a packaged model, at most 16 bits a weight; and whether that still says what the run says.

It stands beside `open_network`, for it builds the network with the rounded weights; `runs.packaged` has the form.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from painters_mtl import __version__
from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import say
from painters_mtl.common.small_floats import to_8_bits, to_byte_planes, unpacked
from painters_mtl.inference.exporters import export_network
from painters_mtl.inference.litert_template import TEMPLATE, drawn_images, fill_template, write_template
from painters_mtl.inference.open_network import open_network
from painters_mtl.inference.painter_pairs import HEAD, PainterHead, head_arrays
from painters_mtl.inference.parity import (
    accuracy_losses,
    compare_outputs,
    evenly_spaced,
    outputs_in_batches,
    parity_faults,
)
from painters_mtl.inference.predictor import calibrated
from painters_mtl.inference.runtimes import FILES, open_exported
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.network.manifest import build_from_manifest, describe_network, network_arrays
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.runs.network_files import (
    has_network_files,
    network_digest,
    read_network_files,
    save_network_files,
    write_arrays,
)
from painters_mtl.runs.packaged import TRAINING_WORKS, training_codes_arrays, write_package_manifest
from painters_mtl.runs.run import HEADS, METRICS, Run, copy_labels

LARGEST = 8_000_000  # bytes of all files
IN_LITERT = 256  # paintings on which LiteRT is compared with Keras
AGREEMENT = 0.995  # share of the paintings whose likeliest class must stay, for every task, and whether it is unknown
KNOWN_HEAD_KERNEL = re.compile(r"\w+_known_(0|painters)/kernel")  # as large as all other heads, and it decides less


def packed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of a network as they are kept: `small_floats.unpacked` reads them.

    In 16 bits (`in_16_bits`); in 8 where a known-class head looks at the features.
    """
    kept = {}
    for name, array in arrays.items():
        if KNOWN_HEAD_KERNEL.fullmatch(name) and np.isfinite(array).all():
            kept[name], kept[f"{name}_scale"] = to_8_bits(array)
        else:
            kept[name] = in_16_bits(array)
    return kept


def in_16_bits(array: np.ndarray) -> np.ndarray:
    """A weight as it is kept: tables of numbers in 16 bits; vectors, which are few, in 32.

    Among the vectors are the variances of normalisation, some of which 16 bits cannot hold.
    """
    with np.errstate(over="ignore"):
        return to_byte_planes(array) if array.ndim > 1 and array.dtype == np.float32 else array


def save_package(run: Run, folder: Path, head: PainterHead | None, codes: np.ndarray | None = None) -> None:
    """Write the files of a packaged model into an empty folder, all but the manifest: see `finish_package`.

    Beside labels, network and weights, as far as they are there: the run's metrics, the heads that another training can
    start from, the head by which `pairs` tells painters apart, and the codes of the training works.

    Args:
        head: by which `pairs` tells painters apart.
        codes: of the training works, uint32 (n,), as `data.seen_works` has them.

    Raises `UserError` for a run that has no arrays, and for weights that 16 bits cannot hold.
    """
    if not has_network_files(run.folder):
        raise UserError(f"{run.folder} has no weights.npz, for version 0.4 made it: train it again, then export it")
    run.check()
    manifest, arrays = read_network_files(run.folder, run.network_digest)
    rounded = unpacked(packed(arrays))
    if large := [name for name, array in rounded.items() if not np.isfinite(array).all()]:
        raise UserError(f"{run.folder}: the weights {large[0]} are too large for 16 bits, or are no numbers")
    network = build_from_manifest(manifest | {"keras": keras.__version__}, rounded)
    settings = NetworkSettings.from_dict(manifest["settings"], "the stored network")
    described = describe_network(network, settings)
    assert described is not None
    save_network_files(folder, described, packed(network_arrays(network)), compressed=True)
    copy_labels(run, folder)
    if (run.folder / METRICS).is_file():
        shutil.copyfile(run.folder / METRICS, folder / METRICS)
    for name, more in _optional_arrays(run, folder, head, codes).items():
        write_arrays(folder / name, more, compressed=True)
        if size_of(folder) > LARGEST:
            (folder / name).unlink()
            say(f"note: {name} is left out: with it the package would be above {LARGEST / 1e6:g} MB")


def add_litert(run: Run, folder: Path) -> None:
    """Write what LiteRT needs to open the package without TensorFlow: see `litert_template`.

    Left out with a note where it would make the package too large, as that of a backbone whose layers are not folded.

    Raises `UserError` where what comes back says something else than Keras.
    """
    packaged = _as_packaged(run, folder)
    manifest, arrays = read_network_files(folder)
    network = build_from_manifest(manifest, arrays)
    forward = forward_function(network, run.image_size)
    images = drawn_images(packaged)
    in_keras = predict_in_batches(forward, images, np.arange(len(images)))
    with TemporaryDirectory() as place:
        file = export_network(packaged, network, "litert", Path(place), calibrated=False)
        write_template(packaged, file.read_bytes(), in_keras)
        if faults := parity_faults(_compare_litert(packaged, images, in_keras), exact=True):
            raise UserError(f"LiteRT says something else than Keras: {faults}")
    for name in (HEADS, TEMPLATE):  # to start at once is worth more than the heads that --start-from could use
        if size_of(folder) > LARGEST and (folder / name).is_file():
            (folder / name).unlink()
            say(f"note: {name} is left out: with it the package would be above {LARGEST / 1e6:g} MB")


def _as_packaged(run: Run, folder: Path) -> Run:
    """The package of a run, while its manifest is not there yet."""
    return replace(run, folder=folder, packaged=True, digest="", network_digest=network_digest(folder), title="")


def _compare_litert(packaged: Run, images: np.ndarray, in_keras: Mapping[str, np.ndarray]) -> dict[str, Any]:
    with TemporaryDirectory() as place:
        file = Path(place) / FILES["litert"]
        file.write_bytes(fill_template(packaged))
        return compare_outputs(outputs_in_batches(open_exported("litert", file), images), in_keras)


def _optional_arrays(
    run: Run, folder: Path, head: PainterHead | None, codes: np.ndarray | None
) -> dict[str, Mapping[str, np.ndarray]]:
    """The arrays of files that not every run has, by file."""
    arrays: dict[str, Mapping[str, np.ndarray]] = {}
    if codes is not None:
        arrays[TRAINING_WORKS] = training_codes_arrays(codes)
    if (run.folder / HEADS).is_file():
        with np.load(run.folder / HEADS, allow_pickle=False) as heads:
            arrays[HEADS] = {name: in_16_bits(heads[name]) for name in heads}
    if head is not None:
        # In 8 bits: the head over some hundred painters would else have a quarter of the network's size.
        kernel, scale = to_8_bits(head.kernel)
        arrays[HEAD] = {**head_arrays(head, network_digest(folder)), "kernel": kernel, "kernel_scale": scale}
    return arrays


def finish_package(run: Run, folder: Path, comparison: Mapping[str, Any]) -> None:
    """Write the manifest, last.

    Args:
        comparison: what `compare_package` found.
    """
    about = {
        "made_from": {"run": run.folder.name, "checksum": run.digest},
        "made_with": {"painters-mtl": __version__, "tensorflow": tf.__version__, "keras": keras.__version__},
        "classes": {name: len(task.classes) for name, task in run.tasks.items()},
        "compared_with_32_bits": dict(comparison),
    }
    write_package_manifest(folder, about)


def compare_package(
    run: Run, folder: Path, images: np.ndarray, labels: Mapping[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """How far the outputs of a packaged model are from those of its run: see `parity.compare_outputs`.

    Args:
        folder: of the package; its manifest need not be there yet.
        images: cached images, uint8 (n, ...), to compare on.
        labels: int (n,) for each task, -1 for "no label": then the accuracy is compared too.
    """
    rows = np.arange(len(images))
    manifest, arrays = read_network_files(folder)
    networks = {"the run": open_network(run), "16 bits": build_from_manifest(manifest, arrays)}
    outputs = {
        name: predict_in_batches(forward_function(network, run.image_size), images, rows, f"comparing: {name}")
        for name, network in networks.items()
    }
    before, after = outputs["the run"], outputs["16 bits"]
    comparison = compare_outputs(after, before)
    doubts = [_doubts(run, values) for values in (before, after)]
    comparison["same_doubt"] = {name: float((doubts[0][name] == doubts[1][name]).mean()) for name in run.tasks}
    if (folder / TEMPLATE).is_file():
        some = evenly_spaced(rows, IN_LITERT)
        in_keras = {name: values[some] for name, values in after.items()}
        comparison["litert"] = _compare_litert(_as_packaged(run, folder), images[some], in_keras)
    if labels is not None:
        comparison["accuracy"] = accuracy_losses(run.tasks, labels, before, after)
    return comparison


def _doubts(run: Run, outputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which paintings each task calls unknown: bool (n,)."""
    return {name: np.asarray(run.unknown(name, score)) for name, score in calibrated(run, outputs)[1].items()}


def package_faults(run: Run, folder: Path, comparison: Mapping[str, Any]) -> str:
    """What speaks against a package with this comparison (`compare_package`); "" if nothing does."""
    agreement = comparison["agreement"]
    doubt = comparison["same_doubt"]
    allowed = min(AGREEMENT, 1 - 1 / comparison["paintings"])  # thresholds lie where works are: one may pass over
    faults = [f"{name} agrees on {agreement[name]:.1%}" for name in run.tasks if not agreement[name] >= AGREEMENT]
    faults += [f"whether the {name} is unknown on {doubt[name]:.1%}" for name in run.tasks if doubt[name] < allowed]
    if faults:
        return f"{', '.join(faults)} of the paintings with the run in 32 bits (at least {AGREEMENT:.1%} is asked)"
    if "litert" in comparison and (faults_of_litert := parity_faults(comparison["litert"], exact=True)):
        return f"LiteRT says something else than Keras: {faults_of_litert}"
    if (size := size_of(folder)) > LARGEST:
        return f"it has {size / 1e6:.1f} MB, and at most {LARGEST / 1e6:g} are allowed"
    return ""


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())
