"""Run folders: `models/NAME` holds all that is needed to predict, explain, export or go on training."""

import hashlib
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_write, write_json
from painters_mtl.data.locations import DEMO_FOLDER, resolve_demo
from painters_mtl.data.settings import DataSettings
from painters_mtl.data.tasks import Task, known_output, tasks_from_dict, tasks_to_dict

if TYPE_CHECKING:
    import keras
    import numpy as np

MODEL, LABELS, CONFIG, SPLIT = "model.keras", "labels.json", "config.json", "split.csv"
HISTORY, METRICS, REPORT, FIGURES = "history.csv", "metrics.json", "report.html", "figures"
BASELINES, COMPARISON = "baselines", "comparison.json"
HEADS = "heads.npz"  # as they were before they were fitted to finer levels
MOST = 4 << 30  # bytes of a network, unpacked; the largest of keras.applications has 1.4 GB


@dataclass(frozen=True)
class Run:
    """A trained network with what its outputs mean."""

    folder: Path
    tasks: dict[str, Task]
    image_size: int  # side of the square that the network sees
    copy_side: int  # a picture is first squashed to this side, as in training, then resized to `image_size`
    demo: bool  # trained on paintings drawn by code
    temperatures: Mapping[str, float]  # what divides the logits so that confidences mean what they say; 1 by default
    views: tuple[str, ...] = ("whole",)  # or ("whole", "detail"), for a network with two inputs
    thresholds: Mapping[str, float] = field(default_factory=dict)  # for each task: a lower score is "none of these"
    digest: str = ""  # of model.keras, as the training left it; "" while it is being trained

    def unknown(self, task: str, score: Any) -> Any:
        """Whether a score of `novelty.scores`, a number or an array, is below the task's threshold."""
        return score < self.thresholds.get(task, 0.0)

    def model(self) -> "keras.Model":
        """Load the network, without its optimiser. No code in the file is run.

        Its outputs are {task: probabilities}, and for some tasks `{task}_known`: see `novelty`.
        """
        lazy_imports.import_tensorflow()
        import keras

        file = self.folder / MODEL
        self.check()
        try:
            model = keras.saving.load_model(file, compile=False, safe_mode=True)
        except Exception as error:  # keras raises whatever its parts raise
            reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
            raise UserError(f"{file} cannot be loaded ({reason}): train it again or get a sound copy") from error
        beside = {known_output(name) for name in self.tasks}
        found = {name: output.shape[-1] for name, output in model.output.items() if name not in beside}
        if found != (wanted := {name: len(task.classes) for name, task in self.tasks.items()}):
            raise UserError(f"{self.folder / LABELS} does not belong to {MODEL}: it has {wanted} classes, that {found}")
        return model

    def trained_head(self, task: str) -> "list[np.ndarray]":
        """Kernel, float32 (channels of the last map, classes), and bias of a head, as `save_heads` wrote them."""
        import numpy as np

        file = self.folder / HEADS
        try:
            with np.load(file, allow_pickle=False) as found:
                return [found[f"{task}_kernel"], found[f"{task}_bias"]]
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"{file} is missing or damaged: get a sound copy of the run, or train it again") from error

    def check(self) -> None:
        """Refuse a model file that is not the one the training wrote, or that holds more than layers of Keras.

        Raises `UserError`. A checksum finds damage and mistakes; it is no signature: who can write to the folder can
        write both.
        """
        file = self.folder / MODEL
        layers, weights, config = _opened(file)
        if self.digest and self.digest != _digest(layers, weights):
            raise UserError(
                f"{file} is not the one that the training wrote (its checksum is not that in {LABELS}): get a sound "
                "copy of the folder, or train it again"
            )
        for module, name in _classes(config):
            if name == "Lambda" or module.split(".")[0] != "keras":
                raise UserError(f"{file} is refused: it holds {module}.{name}; only Keras's own layers are loaded")


def _classes(config: Any) -> Iterator[tuple[str, str]]:
    """Every (module, class) that a configuration of Keras asks for."""
    if isinstance(config, dict):
        if "class_name" in config and config["class_name"] != "__keras_tensor__":
            yield str(config.get("module") or "keras"), str(config["class_name"])
        config = list(config.values())
    if isinstance(config, list):
        for value in config:
            yield from _classes(value)


def run_data_settings(run: Run, place: Path | None, way_out: str) -> DataSettings:
    """The settings with which `dataset.prepare` finds a run's paintings again, with its classes and its split.

    Args:
        place: where the paintings are now, if not where they were in training.
        way_out: what the user can do where they are not to be found; ends the sentence of the `UserError`.
    """
    for name in (CONFIG, SPLIT):
        if not (run.folder / name).is_file():
            raise UserError(f"{run.folder} lacks {name}, so its own paintings are not known: {way_out}")
    settings = DataSettings.load(run.folder / CONFIG, ignore_others=True)
    place = resolve_demo(place) or settings.data
    if run.demo and (place is None or (place == DEMO_FOLDER and not place.exists())):
        from painters_mtl.data.demo.collection import make_demo

        place = make_demo(DEMO_FOLDER)
    if place is not None and not place.exists():
        raise UserError(f"the paintings of {run.folder} are not in {place}: {way_out}")
    classes = {f"{name}s": task.classes for name, task in run.tasks.items()}
    return replace(settings, data=place, split=run.folder / SPLIT, **classes)  # type: ignore[arg-type]


def digest_of(file: Path) -> str:
    """Checksum of a saved model, its layers and weights but not when it was saved; 32 hexadecimal digits.

    Raises `UserError` when the file cannot be read.
    """
    layers, weights, _ = _opened(file)
    return _digest(layers, weights)


def _opened(file: Path) -> tuple[bytes, bytes, Any]:
    """What a `.keras` file holds: its layers as JSON, its weights as HDF5, and the layers as they are read."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = [archive.getinfo(name) for name in ("config.json", "model.weights.h5")]
            if sum(member.file_size for member in members) > MOST:
                raise ValueError(f"it would be larger than {MOST >> 30} GB in memory")
            layers, weights = map(archive.read, members)
        return layers, weights, json.loads(layers)
    # RuntimeError: a password, a compression that Python does not know, or JSON in a thousand brackets
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{file} cannot be loaded ({error}): train it again or get a sound copy") from error


def _digest(layers: bytes, weights: bytes) -> str:
    same_each_time = re.sub(rb'"shared_object_id": \d+', b"", layers)  # it is an address in memory
    return hashlib.blake2b(same_each_time + weights, digest_size=16).hexdigest()


def save_labels(
    folder: Path,
    tasks: dict[str, Task],
    image_size: int,
    copy_side: int,
    demo: bool,
    views: Sequence[str] = ("whole",),
    temperatures: Mapping[str, float] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> None:
    """Write `labels.json`: what a model's inputs and outputs mean.

    A probability of the network, p, stands for the softmax of log(p) / temperature. With `thresholds` (see `novelty`)
    the model is finished, and its checksum is written too.
    """
    content = {
        "classes": tasks_to_dict(tasks),
        "image_size": image_size,
        "copy_side": copy_side,
        "preprocessing": "RGB 0-255, whole picture squashed to copy_side (bicubic), then to image_size (bilinear)",
        "demo": demo,
        "views": list(views),
        "temperatures": {name: round((temperatures or {}).get(name, 1.0), 4) for name in tasks},
    }
    if thresholds is not None:
        content |= {"thresholds": dict(thresholds), "model_checksum": digest_of(folder / MODEL)}
    write_json(folder / LABELS, content | {"checksum": _checksum(content)})


def _checksum(content: Mapping[str, Any]) -> str:
    """Of all that `labels.json` says but the checksum itself; 32 hexadecimal digits."""
    said = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).hexdigest()


def save_model(model: "keras.Model", folder: Path) -> None:
    """Write `model.keras`, whole."""
    with atomic_write(folder / MODEL) as temporary:
        model.save(temporary)


def save_heads(model: "keras.Model", tasks: Iterable[str], folder: Path) -> None:
    """Write `heads.npz`, whole: what another training can start from, for at its start no head sees finer levels."""
    import numpy as np

    named = {}
    for name in tasks:
        named[f"{name}_kernel"], named[f"{name}_bias"] = model.get_layer(name).get_weights()
    with atomic_write(folder / HEADS) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **named)  # type: ignore[arg-type]


def open_run(folder: Path | None, models: Path = Path("models"), option: str = "--model") -> Run:
    """The run in `folder`; without one, the newest in `models`. Raises `UserError` that names what is missing."""
    folder = newest(models) if folder is None else Path(folder)
    if not folder.is_dir():
        near = sorted(p.parent.name for p in folder.parent.glob(f"*/{MODEL}")) if folder.parent.is_dir() else []
        has = f"there are {', '.join(near[:5])}" if near else "train one with python -m painters_mtl.train"
        raise UserError(f"{option} {folder} is not a folder; {has}")
    for name in (MODEL, LABELS):
        if not (folder / name).is_file():
            raise UserError(f"{option} {folder} lacks {name}: it is not the folder of a finished run")
    try:
        content: dict[str, Any] = json.loads((folder / LABELS).read_text(encoding="utf-8"))
        tasks = tasks_from_dict(content["classes"])
        views = tuple(content.get("views", ("whole",)))
        size, side = int(content["image_size"]), int(content["copy_side"])
        temperatures = {name: float(content.get("temperatures", {}).get(name, 1.0)) for name in tasks}
        thresholds = {name: float(value) for name, value in content.get("thresholds", {}).items()}
        checksum = str(content.get("model_checksum", ""))
        if content.get("checksum", "") not in ("", _checksum(content)):
            raise UserError(
                f"{folder / LABELS} is not as the training wrote it (its checksum is another): get a sound copy of the "
                "folder, or train it again"
            )
        return Run(folder, tasks, size, side, bool(content.get("demo")), temperatures, views, thresholds, checksum)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / LABELS} is damaged ({type(error).__name__}: {error}): get a sound copy") from error


def open_run_for_pictures(folder: Path | None) -> Run:
    """As `open_run`, for saying something of a user's pictures: with a note where the model only knows the demo's."""
    run = open_run(folder)
    if run.demo:
        print(
            f"note: {run.folder} was trained on the demo, paintings drawn by code: what it says of real ones means "
            "nothing",
            file=sys.stderr,
        )
    return run


def check_teacher_size(run: Run, copy_side: int) -> None:
    """Raise `UserError` where a network cannot be asked about small copies of this side."""
    if run.copy_side != copy_side:
        raise UserError(f"--teachers {run.folder} was trained at --image-size {run.image_size}: use the same size here")


def newest(models: Path = Path("models")) -> Path:
    """The folder of the newest run."""
    runs = [p.parent for p in Path(models).glob(f"*/{MODEL}") if not p.parent.name.startswith(".")]
    if not runs:
        raise UserError(f"there is no trained model in {models}: train one with python -m painters_mtl.train")
    return max(runs, key=lambda folder: ((folder / MODEL).stat().st_mtime_ns, folder.name))
