"""Take a trained network out of Python: for servers, phones and other languages.

    python -m painters_mtl.export --model models/full --format saved_model --output full_saved_model
    python -m painters_mtl.export --model models/full --format litert-int8 --data PAINTINGS --output full_int8

The exported network takes 8-bit RGB pictures, squashed to a fixed square, and gives a vector of calibrated
probabilities for each task, by name. Beside it: `labels.json`, `manifest.json` and `README.md` with all that a caller
has to know, and `comparison.json`. For it is run in its own runtime on real paintings and compared with Keras: above
1e-3 of a probability nothing is written and the exit status is 1. In 8 bits (`litert-int8`) the ranges are measured
on training paintings, and what is lost of each task's accuracy on the labelled test paintings.
"""

import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from painters_mtl.common import command_line, lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import write_json, write_text

if TYPE_CHECKING:
    import numpy as np

    from painters_mtl.data.dataset import Dataset
    from painters_mtl.runs.run import Run

MANIFEST, COMPARISON = "manifest.json", "comparison.json"
COMPARED = 256  # paintings
CALIBRATION = 300  # training paintings from which the ranges of 8 bits are measured


@dataclass
class Settings:
    """What to export, and as what."""

    output: Path
    """the folder to write"""
    format: Literal["saved_model", "litert", "litert-int8", "onnx", "openvino"] = "saved_model"
    """saved_model (TensorFlow, TF Serving), litert (phones, small boards), litert-int8 (its backbone in 8 bits: four
    tenths of the size), onnx (ONNX Runtime), openvino (Intel and AMD processors)"""
    model: Path | None = None
    """run folder of the model, such as models/full; without it the newest one in models"""
    images: tuple[Path, ...] = ()
    """paintings to compare on: folders, zips or files; without them test paintings of the run's own data"""
    data: Path | None = None
    """where the run's labelled paintings are now, if not where they were in training"""
    max_loss: float = 0.02
    """litert-int8: the share of right answers that a task may lose"""
    overwrite: bool = False
    """replace an earlier export in --output"""


def export(settings: Settings) -> int:
    """The verb. Returns 0, or 1 when the exported network does not say what Keras says."""
    from painters_mtl.data.dataset import prepare
    from painters_mtl.images import files as images
    from painters_mtl.inference import runtimes
    from painters_mtl.runs.run import open_run, run_data_settings

    _check_output(settings)
    eight_bits = settings.format == "litert-int8"
    if eight_bits and settings.images:
        raise UserError("--images has no labels: in 8 bits the accuracy is measured, on --data or the run's own data")
    if settings.images and settings.data is not None:
        raise UserError("--images and --data both say what to compare on: give one of them")
    if not 0 <= settings.max_loss < 1:
        raise UserError(f"--max-loss {settings.max_loss} must be at least 0 and below 1")
    run = open_run(settings.model)
    needed = {"saved_model": (), "onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",)}
    for module in needed.get(settings.format, ("ai_edge_litert",)):
        lazy_imports.import_extra(module, settings.format.removesuffix("-int8"))
    lazy_imports.import_tensorflow()
    if settings.format == "onnx":  # it imports TensorFlow itself
        lazy_imports.import_extra("tf2onnx", "onnx")
    from painters_mtl.inference.exporters import save

    way_out = "name paintings with --images, or the run's data with --data"
    data = None if settings.images else prepare(run_data_settings(run, settings.data, way_out))
    training = None
    if data is None:
        copies = runtimes.cached_images_of(run, images.find_images(*settings.images), COMPARED)
    else:
        test = data.rows("test")
        copies = _copies(data, test if eight_bits else runtimes.evenly_spaced(test, COMPARED))
        if eight_bits:
            training = _copies(data, runtimes.evenly_spaced(data.rows("train"), CALIBRATION))
    output = settings.output.absolute()
    try:
        with runtimes.new_folder(output, settings.overwrite) as folder:
            print(f"exporting {run.folder} as {settings.format}", flush=True)
            network = run.model()
            file = save(run, network, settings.format, folder, calibrated=True, training=training)
            print(f"comparing with Keras on {len(copies)} paintings", flush=True)
            comparison = _compare(run, settings.format, file, copies, data if eight_bits else None)
            print(table(comparison))
            if fault := _fault(comparison, settings.max_loss):
                raise _Refused(fault)
            write_json(folder / COMPARISON, comparison)
            _describe(run, settings.format, file, {k: v.shape[-1] for k, v in network.output.items()}, folder)
    except _Refused as refusal:
        print(f"error: {settings.output} is not written: {refusal}", file=sys.stderr)
        return 1
    size = sum(f.stat().st_size for f in output.rglob("*") if f.is_file())
    print(f"wrote {settings.output} ({size / 1e6:.1f} MB); its README.md says how to use it")
    return 0


class _Refused(Exception):
    """The exported network does not say what Keras says."""


def _check_output(settings: Settings) -> None:
    place = settings.output
    if not place.absolute().parent.is_dir():
        raise UserError(f"--output {place}: there is no folder {place.absolute().parent}")
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    if not (place / MANIFEST).is_file():
        raise UserError(f"--output {place} is there already and is no earlier export: name another folder")
    if not settings.overwrite:
        raise UserError(f"--output {place} holds an export already: name another folder, or --overwrite")


def _copies(data: "Dataset", rows: "np.ndarray") -> "np.ndarray":
    return data.store.pixels[data.pixel_rows[rows]]


def _compare(run: "Run", file_format: str, file: Path, copies: "np.ndarray", data: "Dataset | None") -> dict[str, Any]:
    """The exported network in its own runtime, against Keras softened by `calibration.soften`.

    `data` is given where the copies are its test paintings, for the accuracy. Returns what comparison.json holds.
    """
    import numpy as np

    from painters_mtl.evaluation.calibration import apply_temperature
    from painters_mtl.inference import runtimes

    keras = runtimes.in_parts(runtimes.keras_forward(run), copies)
    wanted = {
        name: apply_temperature(p, run.temperatures[name]) if name in run.tasks else p for name, p in keras.items()
    }
    found = runtimes.in_parts(runtimes.open_exported(file_format, file), copies)
    alone = runtimes.in_parts(runtimes.open_exported(file_format, file, batch=1), copies[:8], 1)
    apart = max(float(np.abs(alone[name] - found[name][: len(alone[name])]).max()) for name in found)
    comparison = {"format": file_format, **runtimes.difference(found, wanted), "one_at_a_time_differs_by": apart}
    if data is not None:
        truths = {name: labels[data.rows("test")] for name, labels in data.labels.items()}
        comparison["accuracy"] = {
            name: accuracy(truths[name], wanted[name], found[name]) for name in run.tasks if (truths[name] >= 0).any()
        }
    return comparison


def accuracy(truth: "np.ndarray", keras: "np.ndarray", exported: "np.ndarray") -> dict[str, float]:
    """Share of right answers of Keras and of the exported network, and what is lost.

    Args:
        truth: int (n,), -1 for "no label".
        keras, exported: float (n, classes).
    """
    known = truth >= 0
    before, now = (float((p[known].argmax(1) == truth[known]).mean()) for p in (keras, exported))
    return {"paintings": int(known.sum()), "keras": before, "exported": now, "loss": before - now}


def _fault(comparison: dict[str, Any], max_loss: float) -> str:
    """Why this export must not be used; "" if it may."""
    from painters_mtl.inference import runtimes

    if "accuracy" not in comparison:
        if comparison["one_at_a_time_differs_by"] > runtimes.TOLERANCE:
            return f"one picture alone gives probabilities {comparison['one_at_a_time_differs_by']:.2g} apart"
        return runtimes.parity_faults(comparison, exact=True)
    lost = [f"{name} {v['loss']:.1%}" for name, v in comparison["accuracy"].items() if not v["loss"] <= max_loss]
    return f"8 bits cost too much accuracy: {', '.join(lost)} (--max-loss {max_loss:g} is allowed)" if lost else ""


def table(comparison: dict[str, Any]) -> str:
    """The comparison as a table for the terminal."""
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


def _describe(run: "Run", file_format: str, file: Path, outputs: dict[str, int], folder: Path) -> None:
    """Write labels.json, manifest.json and README.md; `outputs` are those of the network with their widths."""
    from painters_mtl.data.tasks import known_output, tasks_to_dict
    from painters_mtl.runs.run import LABELS

    side = run.copy_side
    pictures = {
        "image": f"the whole picture, turned as its EXIF says, squashed to {side} x {side} (bicubic, antialiased)",
        "detail": f"the middle {side} x {side} pixels of the picture at its own resolution; a smaller one is enlarged",
    }
    inputs = {name: pictures[name] for name in ("image", "detail")[: len(run.views)]}
    meanings = {name: f"probabilities of the classes in {LABELS}, calibrated" for name in run.tasks}
    meanings |= {
        known_output(name): f"another's, known: that it belongs to none of the {name} classes, or to one"
        for name in run.tasks
    }
    manifest = {
        "format": file_format,
        "file": file.name,
        "inputs": {
            name: {"shape": ["n", side, side, 3], "dtype": "uint8", "content": f"RGB, 0 to 255: {content}"}
            for name, content in inputs.items()
        },
        "outputs": {
            name: {"shape": ["n", width], "dtype": "float32", "content": meanings.get(name, "")}
            for name, width in sorted(outputs.items())
        },
        "inside": f"resizing to {run.image_size} x {run.image_size} (bilinear, corners aligned), preprocessing, the "
        "network, softmax at the calibrated temperatures",
        "temperatures": dict(run.temperatures),
        "thresholds": dict(run.thresholds),
        "below_its_threshold_a_task_is_unknown": "with p the largest probability of a task, its score is p; of one "
        "with an output TASK_known, (another's, known), it is known * p / (known * p + another's)",
        "made_with": {name: metadata.version(name) for name in ("painters-mtl", "tensorflow", "keras") if _known(name)},
    }
    write_json(folder / LABELS, tasks_to_dict(run.tasks))
    write_json(folder / MANIFEST, manifest)
    write_text(folder / "README.md", readme(manifest))


def _known(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def readme(manifest: dict[str, Any]) -> str:
    """How to call an exported network, as Markdown."""
    side, names = manifest["inputs"]["image"]["shape"][1], list(manifest["inputs"])
    fed = ", ".join(f'"{name}": {name}' for name in names)
    call = {
        "saved_model": (
            "import tensorflow as tf",
            f'network = tf.saved_model.load("{manifest["file"]}").signatures["serving_default"]',
            f"found = network({', '.join(f'{name}=tf.constant({name})' for name in names)})",
        ),
        "onnx": (
            "import onnxruntime",
            f'network = onnxruntime.InferenceSession("{manifest["file"]}")',
            "names = [output.name for output in network.get_outputs()]",
            f"found = dict(zip(names, network.run(names, {{{fed}}})))",
        ),
        "openvino": (
            "import openvino",
            'exactly = {"INFERENCE_PRECISION_HINT": "f32"}',
            f'network = openvino.Core().compile_model("{manifest["file"]}", "CPU", exactly)',
            f"found = {{output.any_name: values for output, values in network({{{fed}}}).items()}}",
        ),
    }.get(
        manifest["format"],
        (
            "from ai_edge_litert.interpreter import Interpreter",
            f'network = Interpreter("{manifest["file"]}").get_signature_runner()',
            f"found = network({', '.join(f'{name}={name}' for name in names)})",
        ),
    )
    pictures = ['picture = ImageOps.exif_transpose(Image.open("painting.jpg")).convert("RGB")']
    pictures += [f"image = np.asarray(picture.resize(({side}, {side}), Image.Resampling.BICUBIC))[None]"]
    if len(names) > 1:
        pictures += [
            f"left, top = (picture.width - {side}) // 2, (picture.height - {side}) // 2  # of a larger picture",
            f"detail = np.asarray(picture.crop((left, top, left + {side}, top + {side})))[None]",
        ]
    code = "\n".join(
        [
            *("import json", "", "import numpy as np", call[0], "from PIL import Image, ImageOps", ""),
            *pictures,
            *call[1:],
            'for task, classes in json.load(open("labels.json", encoding="utf-8")).items():',
            "    p = np.asarray(found[task])[0]",
            '    print(task, classes[p.argmax()], f"{p.max():.1%}")',
        ]
    )
    inputs = "\n".join(f"- `{k}`: {v['dtype']} {shape(v)}, {v['content']}" for k, v in manifest["inputs"].items())
    outputs = "\n".join(f"- `{k}`: {v['dtype']} {shape(v)}, {v['content']}" for k, v in manifest["outputs"].items())
    return f"""# Painter, style and genre of a painting: {manifest["format"]}

Inputs, any n:

{inputs}

Outputs:

{outputs}

Inside `{manifest["file"]}`: {manifest["inside"]}. `manifest.json` says all this for programs, `labels.json` names the
classes in the order of the probabilities, `{COMPARISON}` holds how it compared with Keras on real paintings.

```python
{code}
```
"""


def shape(value: dict[str, Any]) -> str:
    """(n, 120, 120, 3)"""
    return f"({', '.join(map(str, value['shape']))})"


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, export, argv, "painters-mtl export", __doc__)


if __name__ == "__main__":
    sys.exit(main())
