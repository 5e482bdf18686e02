"""What lies beside an exported network: its labels, a manifest for programs, and a README with a program that runs."""

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common.files import read_if_sound, write_json, write_text
from painters_mtl.data.tasks import known_output, tasks_to_dict
from painters_mtl.runs.run import LABELS

if TYPE_CHECKING:
    from painters_mtl.runs.run import Run

MANIFEST, COMPARISON, README = "manifest.json", "comparison.json", "README.md"


def write_manifest(run: "Run", file_format: str, file: Path, widths: dict[str, int], folder: Path) -> None:
    """Write labels.json, manifest.json and README.md into the folder of an export.

    Args:
        file: the exported network.
        widths: of the network's outputs, by name.
    """
    manifest = describe_export(run, file_format, file, widths)
    write_json(folder / LABELS, tasks_to_dict(run.tasks))
    write_json(folder / MANIFEST, manifest)
    write_text(folder / README, readme(manifest))


def describe_export(run: "Run", file_format: str, file: Path, widths: dict[str, int]) -> dict[str, Any]:
    """The manifest: inputs, outputs and what is inside; arguments as for `write_manifest`."""
    side = run.cache_side
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
    return {
        "format": file_format,
        "file": file.name,
        "inputs": {
            name: {"shape": ["n", side, side, 3], "dtype": "uint8", "content": f"RGB, 0 to 255: {content}"}
            for name, content in inputs.items()
        },
        "outputs": {
            name: {"shape": ["n", width], "dtype": "float32", "content": meanings.get(name, "")}
            for name, width in sorted(widths.items())
        },
        "inside": f"resizing to {run.image_size} x {run.image_size} (bilinear, corners aligned), preprocessing, the "
        "network, softmax at the calibrated temperatures",
        "temperatures": dict(run.temperatures),
        "thresholds": dict(run.thresholds),
        "below_its_threshold_a_task_is_unknown": "with p the largest probability of a task, its score is p; of one "
        "with an output TASK_known, (another's, known), it is known * p / (known * p + another's)",
        "made_with": {
            name: metadata.version(name) for name in ("painters-mtl", "tensorflow", "keras") if _is_installed(name)
        },
    }


def is_export(folder: Path) -> bool:
    """Whether a folder holds what `export` writes, and may be replaced by another export.

    Many programs have a manifest.json, so that it is there says little.
    """
    manifest = read_if_sound(folder / MANIFEST)
    made_with = manifest.get("made_with")
    return "format" in manifest and isinstance(made_with, dict) and "painters-mtl" in made_with


def _is_installed(package: str) -> bool:
    try:
        return bool(metadata.version(package))
    except metadata.PackageNotFoundError:
        return False


def readme(manifest: dict[str, Any]) -> str:
    """How to call an exported network, as Markdown."""
    inputs, outputs = (
        "\n".join(f"- `{name}`: {value['dtype']} {_shape(value)}, {value['content']}" for name, value in each.items())
        for each in (manifest["inputs"], manifest["outputs"])
    )
    *names, last = manifest["temperatures"]
    title = f"{', '.join(names)} and {last}" if names else last
    return f"""# {title.capitalize()} of a painting: {manifest["format"]}

Inputs, any n:

{inputs}

Outputs:

{outputs}

Inside `{manifest["file"]}`: {manifest["inside"]}. `manifest.json` says all this for programs, `labels.json` names the
classes in the order of the probabilities, `{COMPARISON}` holds how it compared with Keras on real paintings.
{_unknown_sentence(manifest)}
```python
{_program(manifest)}
```
"""


def _unknown_sentence(manifest: dict[str, Any]) -> str:
    """What a caller must do for an answer that is none of the classes; "" where the run has no thresholds."""
    if not any(manifest["thresholds"].values()):
        return ""
    return (
        "\nThe probabilities are shares among the classes, also of a picture that belongs to none of them. A score "
        f"tells such\npictures, which the program computes: below the task's threshold, in `{MANIFEST}`, the class is "
        "unknown.\n"
    )


def _shape(value: dict[str, Any]) -> str:
    """(n, 120, 120, 3)"""
    return f"({', '.join(map(str, value['shape']))})"


def _program(manifest: dict[str, Any]) -> str:
    """A program in Python that labels painting.jpg with the exported network."""
    side, names = manifest["inputs"]["image"]["shape"][1], list(manifest["inputs"])
    imports, *calls = _calls(manifest["format"], manifest["file"], names)
    pictures = [
        'picture = ImageOps.exif_transpose(Image.open("painting.jpg")).convert("RGB")',
        f"image = np.asarray(picture.resize(({side}, {side}), Image.Resampling.BICUBIC))[None]",
    ]
    if len(names) > 1:
        pictures += [
            f"left, top = (picture.width - {side}) // 2, (picture.height - {side}) // 2  # of a larger picture",
            f"detail = np.asarray(picture.crop((left, top, left + {side}, top + {side})))[None]",
        ]
    answers = [
        'for task, classes in json.load(open("labels.json", encoding="utf-8")).items():',
        "    p = np.asarray(outputs[task])[0]",
    ]
    if any(manifest["thresholds"].values()):
        answers = [
            f'thresholds = json.load(open("{MANIFEST}", encoding="utf-8"))["thresholds"]',
            *answers,
            "    score = p.max()",
            '    if f"{task}_known" in outputs:',
            '        another, known = np.asarray(outputs[f"{task}_known"])[0]',
            "        score = known * score / (known * score + another)",
            '    doubt = "unknown, perhaps " if score < thresholds.get(task, 0) else ""',
            '    print(task, doubt + classes[p.argmax()], f"{p.max():.1%}")',
        ]
    else:
        answers += ['    print(task, classes[p.argmax()], f"{p.max():.1%}")']
    return "\n".join(
        [
            *("import json", "", "import numpy as np", imports, "from PIL import Image, ImageOps", ""),
            *pictures,
            *calls,
            *answers,
        ]
    )


def _calls(file_format: str, file: str, inputs: list[str]) -> tuple[str, ...]:
    """Lines of the program that differ by format: the import first, then how `outputs` come from `inputs`."""
    as_dict = "{" + ", ".join(f'"{name}": {name}' for name in inputs) + "}"
    if file_format == "saved_model":
        return (
            "import tensorflow as tf",
            f'network = tf.saved_model.load("{file}").signatures["serving_default"]',
            f"outputs = network({', '.join(f'{name}=tf.constant({name})' for name in inputs)})",
        )
    if file_format == "onnx":
        return (
            "import onnxruntime",
            f'network = onnxruntime.InferenceSession("{file}")',
            "names = [output.name for output in network.get_outputs()]",
            f"outputs = dict(zip(names, network.run(names, {as_dict})))",
        )
    if file_format == "openvino":
        return (
            "import openvino",
            'exactly = {"INFERENCE_PRECISION_HINT": "f32"}',
            f'network = openvino.Core().compile_model("{file}", "CPU", exactly)',
            f"outputs = {{output.any_name: values for output, values in network({as_dict}).items()}}",
        )
    return (
        "from ai_edge_litert.interpreter import Interpreter",
        f'network = Interpreter("{file}").get_signature_runner()',
        f"outputs = network({', '.join(f'{name}={name}' for name in inputs)})",
    )
