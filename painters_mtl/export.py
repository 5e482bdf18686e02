"""Convert a trained network for use without Python: on servers, on phones, in other languages.

    painters-mtl export --model models/full --format saved_model --output full_saved_model
    painters-mtl export --model models/full --format litert-int8 --data PAINTINGS --output full_int8
    painters-mtl export --model models/full --format package --output to_give_away

The exported network takes 8-bit RGB pictures, squashed to a fixed square, and gives a vector of calibrated
probabilities for each task, by name. Beside it: `labels.json`, `manifest.json` and `README.md` with all that a caller
has to know, and `comparison.json`: the exported network first runs in its own runtime on real paintings and is compared
with Keras. Where a probability differs by more than 1e-3, nothing is written and the exit status is 1. In 8 bits
(`litert-int8`) the ranges are measured on training paintings, and the loss of accuracy on the labelled test paintings.

A package is the run folder in small, for this program itself: weights in 16 bits or 8, labels, metrics and a manifest
with checksums, at most 8 MB; --model takes it as a run folder. It is compared with the run on all test paintings, and
written where the likeliest class stays the same on 99.5 % of them, and whether it is unknown.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_folder, write_json
from painters_mtl.common.lazy_imports import import_extra, import_tensorflow
from painters_mtl.common.messages import say

if TYPE_CHECKING:
    import numpy as np

    from painters_mtl.data.dataset import Dataset
    from painters_mtl.inference.painter_pairs import PainterHead
    from painters_mtl.runs.run import Run

COMPARED = 256  # paintings
CALIBRATION = 300  # training paintings from which the ranges of 8 bits are measured
NEEDED_PACKAGES: dict[str, tuple[str, ...]] = {  # that a format needs beside TensorFlow
    "saved_model": (),
    "litert": ("ai_edge_litert",),
    "litert-int8": ("ai_edge_litert",),
    "onnx": ("onnx", "onnxruntime", "tf2onnx"),
    "openvino": ("openvino",),
    "package": ("ai_edge_litert",),
}


@dataclass
class Settings:
    """What to export, and as what."""

    output: Path
    """the folder to write"""
    format: Literal["saved_model", "litert", "litert-int8", "onnx", "openvino", "package"] = "saved_model"
    """saved_model (TensorFlow, TF Serving), litert (phones, small boards), litert-int8 (its backbone in 8 bits: four
    tenths of the size), onnx (ONNX Runtime), openvino (Intel and AMD processors), package (for this program, in at
    most 16 bits)"""
    model: Path | None = None
    """run folder of the model, such as models/full, or paintings: the bundled model; without it the newest run
    of real paintings in models, else the bundled model"""
    images: tuple[Path, ...] = ()
    """paintings to compare on: folders, zips or files; without them test paintings of the run's own data"""
    data: Path | None = None
    """where the run's labelled paintings are now, if not where they were in training"""
    max_loss: float = 0.02
    """litert-int8: the share of right answers that a task may lose"""
    overwrite: bool = False
    """replace an earlier export in --output"""


def export(settings: Settings) -> int:
    """The verb. Returns 0, or 1 when the exported network does not give what Keras gives."""
    from painters_mtl.data.dataset import prepare
    from painters_mtl.runs.model_choice import open_run_for_pictures
    from painters_mtl.runs.training_data import run_data_settings

    _check(settings)
    run = open_run_for_pictures(settings.model)
    if settings.output.resolve() == run.folder.resolve():
        raise UserError(f"--output {settings.output} is the very model that is exported: name another folder")
    for package in NEEDED_PACKAGES[settings.format]:
        if package == "tf2onnx":  # it imports TensorFlow
            import_tensorflow()
        import_extra(package, "litert" if "litert" in package else settings.format)
    import_tensorflow()
    way_out = "name paintings with --images, or the run's data with --data"
    if run.packaged and settings.format == "litert-int8":
        way_out = "--format litert-int8 needs them, to measure ranges and accuracy; name a run folder with --model"
    elif run.packaged:
        way_out = "name a folder of paintings to compare on with --images"
    own = None if settings.images else run_data_settings(run, settings.data, way_out)
    data = None if own is None else prepare(own)
    try:
        if settings.format == "package":
            _write_package(settings, run, data, own.seed if own else 0)
        else:
            _write(settings, run, data)
    except _Refused as refusal:
        print(f"error: {settings.output} is not written: {refusal}", file=sys.stderr)
        return 1
    size = sum(file.stat().st_size for file in settings.output.rglob("*") if file.is_file())
    use = f"use it with --model {settings.output}" if settings.format == "package" else "its README.md says how"
    print(f"wrote {settings.output} ({size / 1e6:.2f} MB); {use}")
    return 0


class _Refused(Exception):
    """The exported network does not give what Keras gives."""


def _check(settings: Settings) -> None:
    from painters_mtl.inference.export_manifest import is_export

    output = settings.output
    if not output.absolute().parent.is_dir():
        raise UserError(f"--output {output}: there is no folder {output.absolute().parent}")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        if not is_export(output):
            raise UserError(f"--output {output} is there already and is no earlier export: name another folder")
        if not settings.overwrite:
            raise UserError(f"--output {output} holds an export already: name another folder, or --overwrite")
    if settings.format == "litert-int8" and settings.images:
        raise UserError(
            "--format litert-int8 measures the accuracy, and --images has no labels for that: name a collection with "
            "--data, or leave --images out"
        )
    if settings.images and settings.data is not None:
        raise UserError("--images and --data both say what to compare on: give one of them")
    if settings.max_loss != Settings.max_loss and settings.format != "litert-int8":
        raise UserError(f"--max-loss {settings.max_loss:g} is for --format litert-int8: leave it out")
    if not 0 <= settings.max_loss < 1:
        raise UserError(f"--max-loss {settings.max_loss} must be at least 0 and below 1")


def _write(settings: Settings, run: "Run", data: "Dataset | None") -> None:
    """Export and compare with Keras; the folder appears when both went well. Raises `_Refused`.

    Args:
        data: the run's own paintings; None: compare on `settings.images`.
    """
    from painters_mtl.images.files import find_images
    from painters_mtl.inference import parity
    from painters_mtl.inference.export_manifest import COMPARISON, write_manifest
    from painters_mtl.inference.exporters import export_network
    from painters_mtl.inference.open_network import open_network

    labels = training = None
    if data is None:
        images = parity.sample_images(run, find_images(*settings.images), COMPARED)
    elif settings.format == "litert-int8":
        test = data.rows("test")
        images = _images(data, test)
        labels = {name: values[test] for name, values in data.labels.items()}
        training = _images(data, parity.evenly_spaced(data.rows("train"), CALIBRATION))
    else:
        images = _images(data, parity.evenly_spaced(data.rows("test"), COMPARED))
    with atomic_folder(settings.output.absolute(), settings.overwrite) as folder:
        say(f"exporting {run.title} as {settings.format}")
        network = open_network(run)
        file = export_network(run, network, settings.format, folder, calibrated=True, training=training)
        say(f"comparing with Keras on {len(images)} paintings")
        comparison = parity.compare_export(run, settings.format, file, images, labels)
        print(comparison_table(comparison))
        if faults := parity.export_faults(comparison, settings.max_loss):
            raise _Refused(faults)
        write_json(folder / COMPARISON, comparison)
        write_manifest(run, settings.format, file, {k: v.shape[-1] for k, v in network.output.items()}, folder)


def _write_package(settings: Settings, run: "Run", data: "Dataset | None", seed: int) -> None:
    """As `_write`, for the form that this program opens itself; compared on all test paintings.

    Args:
        seed: of the run, for the head by which `pairs` tells painters apart.
    """
    from painters_mtl.data.seen_works import codes_of
    from painters_mtl.images.files import find_images
    from painters_mtl.inference import packaging, painter_pairs, parity
    from painters_mtl.runs.packaged import training_codes

    labels, codes, head = None, None, painter_pairs.load_head(run)
    if data is None:
        images = parity.sample_images(run, find_images(*settings.images), COMPARED)
        codes = training_codes(run.folder) if run.packaged else None
        lacking = []
        if codes is None:
            lacking.append("the marks by which train knows its training paintings again")
        if head is None and "painter" in run.tasks:
            lacking.append("the learned score of pairs")
        if lacking:
            way = "" if run.packaged else "; without --images it has what the run's own paintings give"
            say(f"note: this package lacks {' and '.join(lacking)}{way}")
    else:
        test = data.rows("test")
        images, labels = _images(data, test), {name: values[test] for name, values in data.labels.items()}
        codes = codes_of(data.images.hashes[data.images.rows >= 0][data.rows("train")])
        head = head or _learn_painters(run, data, seed)
    with atomic_folder(settings.output.absolute(), settings.overwrite) as folder:
        packaging.save_package(run, folder, head, codes)
        packaging.add_litert(run, folder)
        comparison = packaging.compare_package(run, folder, images, labels)
        print(f"compared with the run in 32 bits on {len(images):,} paintings\n{comparison_table(comparison)}")
        if litert := comparison.get("litert"):
            largest = max(litert["largest_difference"].values())
            print(f"LiteRT, on {litert['paintings']} of them: largest difference from Keras {largest:.1e}")
        if faults := packaging.package_faults(run, folder, comparison):
            raise _Refused(faults)
        packaging.finish_package(run, folder, comparison)


def _learn_painters(run: "Run", data: "Dataset", seed: int) -> "PainterHead | None":
    """The head by which `pairs` tells painters apart, kept in the run folder too; None where the data has too few."""
    from painters_mtl.inference.painter_pairs import learn_on

    if "painter" not in run.tasks:
        return None
    try:
        return learn_on(run, data, seed)
    except UserError as error:
        say(f"note: with this package, pairs will have no learned score: {error}")
        return None


def _images(data: "Dataset", rows: "np.ndarray") -> "np.ndarray":
    """The cached images of rows of the table."""
    return data.images.pixels[data.image_rows[rows]]


def comparison_table(comparison: dict[str, Any]) -> str:
    """The comparison (`parity.compare_export`) as a table for the terminal."""
    accuracy = comparison.get("accuracy", {})
    lines = [f"{'output':<16}{'largest difference':>20}{'same class':>12}"]
    if accuracy:
        lines[0] += f"{'right in Keras':>16}{'exported':>10}{'lost':>8}{'paintings':>11}"
    for name, value in comparison["largest_difference"].items():
        line = f"{name:<16}{value:>20.1e}{comparison['agreement'][name]:>12.1%}"
        if a := accuracy.get(name):
            line += f"{a['keras']:>16.1%}{a['exported']:>10.1%}{a['loss']:>8.1%}{a['paintings']:>11}"
        lines.append(line)
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, export, argv, "painters-mtl export", __doc__)


if __name__ == "__main__":
    sys.exit(main())
