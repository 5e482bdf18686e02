"""Run folders: `models/NAME` holds all that is needed to predict, explain, export or go on training."""

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_write, write_json
from painters_mtl.common.small_floats import from_byte_planes
from painters_mtl.data.tasks import Task, known_output, tasks_from_dict, tasks_to_dict
from painters_mtl.runs.keras_file import MODEL, digest_of, load_keras_file, read_keras_file, save_keras_file
from painters_mtl.runs.network_files import NETWORK, network_digest, remove_network_files
from painters_mtl.runs.packaged import LABELS, MANIFEST, check_packaged, is_packaged

if TYPE_CHECKING:
    import keras
    import numpy as np

CONFIG, SPLIT = "config.json", "split.csv"
HISTORY, METRICS, REPORT, FIGURES = "history.csv", "metrics.json", "report.html", "figures"
BASELINES, COMPARISON = "baselines", "comparison.json"
HEADS = "heads.npz"  # as they were before they were fitted to pyramid maps


@dataclass(frozen=True)
class Run:
    """A trained network with what its outputs mean."""

    folder: Path
    tasks: dict[str, Task]
    image_size: int  # side of the square that the network sees
    cache_side: int  # a picture is first squashed to this side, as in training, then resized to `image_size`
    demo: bool  # trained on paintings drawn by code
    temperatures: Mapping[str, float]  # what divides the logits so that confidences mean what they say; 1 by default
    views: tuple[str, ...] = ("whole",)  # or ("whole", "detail"), for a network with two inputs
    thresholds: Mapping[str, float] = field(default_factory=dict)  # for each task: a lower score is "unknown"
    digest: str = ""  # of `network_file`, as the training left it; "" while it is being trained
    network_digest: str = ""  # of network.json; "" also where there is none
    training_counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # paintings of each class, by task
    packaged: bool = False  # the small form that travels, see `runs.packaged`
    title: str = ""  # how it is called where it is said which model answers; by default its folder

    def __post_init__(self) -> None:
        """Call a run that has no other title after its folder."""
        if not self.title:
            object.__setattr__(self, "title", str(self.folder))

    @property
    def network_file(self) -> Path:
        """The file that tells this network from others: model.keras; of a packaged model network.json."""
        return network_file(self.folder)

    def network_checksum(self) -> str:
        """What `digest` is, computed from the files as they are now; 32 hexadecimal digits."""
        return network_digest(self.folder) if self.packaged else digest_of(self.folder / MODEL)

    def unknown(self, task: str, score: Any) -> Any:
        """Whether a score of `open_set.known_score`, a number or an array, is below the task's threshold."""
        return score < self.thresholds.get(task, 0.0)

    def model(self) -> "keras.Model":
        """The network in `model.keras`, without its optimizer, as this version of Keras reads it. No code in it is run.

        `inference.open_network` is for all versions. Its outputs are {task: probabilities}, and for some tasks
        `{task}_known`: see `open_set`.
        """
        self.check()
        model = load_keras_file(self.folder / MODEL)
        self.check_heads({name: output.shape[-1] for name, output in model.output.items()})
        return model

    def check_heads(self, heads: Mapping[str, int]) -> None:
        """Raise `UserError` where the heads of a network, {name: classes}, are not those that `labels.json` names."""
        beside = {known_output(name) for name in self.tasks}
        classes = {name: count for name, count in heads.items() if name not in beside}
        if classes != (named := {name: len(task.classes) for name, task in self.tasks.items()}):
            network = self.network_file.name
            raise UserError(
                f"{self.folder / LABELS} does not belong to {network}: it has {named} classes, that {classes}"
            )

    def trained_head(self, task: str) -> "list[np.ndarray]":
        """Kernel, float32 (channels of the last map, classes), and bias of a head, as `save_heads` wrote them."""
        import numpy as np

        file = self.folder / HEADS
        try:
            with np.load(file, allow_pickle=False) as heads:
                return [from_byte_planes(heads[f"{task}_kernel"]), heads[f"{task}_bias"]]
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"{file} is missing or damaged: get a sound copy of the run, or train it again") from error

    def check(self) -> None:
        """Refuse a model file that is not the one the training wrote, or that holds more than layers of Keras.

        Of a packaged model any file that is not the one that was written.

        Raises `UserError`. A checksum finds damage and mistakes; it is no signature: who can write to the folder can
        write both.
        """
        if self.packaged:
            check_packaged(self.folder)
            return
        file = self.folder / MODEL
        content = read_keras_file(file)
        if self.digest and self.digest != content.digest():
            raise UserError(
                f"{file} is not the one that the training wrote (its checksum is not that in {LABELS}): get a sound "
                "copy of the folder, or train it again"
            )
        content.check_layers()


def save_labels(
    folder: Path,
    tasks: dict[str, Task],
    image_size: int,
    cache_side: int,
    demo: bool,
    views: Sequence[str] = ("whole",),
    temperatures: Mapping[str, float] | None = None,
    thresholds: Mapping[str, float] | None = None,
    training_counts: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Write `labels.json`: what a model's inputs and outputs mean.

    A probability of the network, p, stands for the softmax of log(p) / temperature. With `thresholds` (see
    `open_set`) the model is finished, and the checksums of its files are written too. `training_counts` are the
    training paintings of each class: see `evaluation.balance`.
    """
    content = {
        "classes": tasks_to_dict(tasks),
        "image_size": image_size,
        "copy_side": cache_side,
        "preprocessing": "RGB 0-255, whole picture squashed to copy_side (bicubic), then to image_size (bilinear)",
        "demo": demo,
        "views": list(views),
        "temperatures": {name: round((temperatures or {}).get(name, 1.0), 4) for name in tasks},
    }
    if training_counts is not None:
        content["training_counts"] = {name: list(training_counts[name]) for name in tasks}
    if thresholds is not None:
        content |= {"thresholds": dict(thresholds), "model_checksum": digest_of(folder / MODEL)}
        if network := network_digest(folder):
            content["network_checksum"] = network
    write_json(folder / LABELS, content | {"checksum": _checksum(content)})


def copy_labels(run: Run, folder: Path) -> None:
    """Write the `labels.json` of a run beside its network in another form, with the checksum of that."""
    content = json.loads((run.folder / LABELS).read_text(encoding="utf-8"))
    content = {name: value for name, value in content.items() if name not in ("model_checksum", "checksum")}
    content["network_checksum"] = network_digest(folder)
    write_json(folder / LABELS, content | {"checksum": _checksum(content)})


def _checksum(content: Mapping[str, Any]) -> str:
    """Of all that `labels.json` says but the checksum itself; 32 hexadecimal digits."""
    values = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).hexdigest()


def network_file(folder: Path) -> Path:
    """The file of a run folder that tells its network from others; see `Run.network_file`."""
    return folder / (NETWORK if is_packaged(folder) else MODEL)


def save_model(model: "keras.Model", folder: Path) -> None:
    """Write `model.keras`, whole. Arrays of an earlier network go: see `inference.open_network` for both."""
    remove_network_files(folder)
    save_keras_file(model, folder / MODEL)


def save_heads(model: "keras.Model", tasks: Iterable[str], folder: Path) -> None:
    """Write `heads.npz`, whole: what another training can start from, for at its start no head reads pyramid maps."""
    import numpy as np

    named = {}
    for name in tasks:
        named[f"{name}_kernel"], named[f"{name}_bias"] = model.get_layer(name).get_weights()
    with atomic_write(folder / HEADS) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **named)  # type: ignore[arg-type]


def open_run(folder: Path, option: str = "--model") -> Run:
    """The run in a folder, or the packaged model. Raises `UserError` that names what is missing.

    Which run it is where none is named, `model_choice` says.
    """
    folder = Path(folder)
    if not folder.is_dir():
        near = sorted(p.parent.name for p in folder.parent.glob(f"*/{MODEL}")) if folder.parent.is_dir() else []
        has = f"there are {', '.join(near[:5])}" if near else "train one with painters-mtl train"
        raise UserError(f"{option} {folder} is not a folder; {has}")
    packaged = is_packaged(folder)
    for name in (LABELS,) if packaged else (MODEL, LABELS):
        if not (folder / name).is_file():
            if name == MODEL and (folder / MANIFEST).is_file():
                raise UserError(
                    f"{option} {folder} is an export for other programs, as its README.md says: name the run it was "
                    "made from"
                )
            raise UserError(f"{option} {folder} lacks {name}: it is not the folder of a finished run")
    try:
        content: dict[str, Any] = json.loads((folder / LABELS).read_text(encoding="utf-8"))
        tasks = tasks_from_dict(content["classes"])
        if content.get("checksum", "") not in ("", _checksum(content)):
            raise UserError(
                f"{folder / LABELS} is not as the training wrote it (its checksum is another): get a sound copy of the "
                "folder, or train it again"
            )
        return Run(
            folder,
            tasks,
            image_size=int(content["image_size"]),
            cache_side=int(content["copy_side"]),
            demo=bool(content.get("demo")),
            temperatures={name: float(content.get("temperatures", {}).get(name, 1.0)) for name in tasks},
            views=tuple(content.get("views", ("whole",))),
            thresholds={name: float(value) for name, value in content.get("thresholds", {}).items()},
            digest=str(content.get("network_checksum" if packaged else "model_checksum", "")),
            network_digest=str(content.get("network_checksum", "")),
            packaged=packaged,
            training_counts=_counts(content.get("training_counts", {}), tasks),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / LABELS} is damaged ({type(error).__name__}: {error}): get a sound copy") from error


def _counts(stored: Mapping[str, Sequence[int]], tasks: Mapping[str, Task]) -> dict[str, tuple[int, ...]]:
    """The training paintings of each class. Raises `ValueError` where there is not one number for each class."""
    counts = {name: tuple(map(int, values)) for name, values in stored.items()}
    for name, values in counts.items():
        if len(values) != len(tasks[name].classes) or min(values, default=0) < 0:
            raise ValueError(f"training_counts of {name}")
    return counts


def check_teacher_size(run: Run, cache_side: int) -> None:
    """Raise `UserError` where a teacher was trained on larger cached images than `cache_side`; smaller ones it knows.

    A teacher sees whole paintings, scaled to its own --image-size.
    """
    if run.cache_side > cache_side:
        raise UserError(
            f"--teachers {run.folder} was trained at --image-size {run.image_size}: use no smaller one here"
        )
