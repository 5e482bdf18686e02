"""Run folders: `models/NAME` holds all that is needed to predict, explain, export or go on training."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl import cli
from painters_mtl.errors import UserError
from painters_mtl.files import whole, write_json
from painters_mtl.settings import TrainSettings
from painters_mtl.tasks import TASK_NAMES, Task, tasks_from_dict, tasks_to_dict

if TYPE_CHECKING:
    import keras

MODEL, LABELS, CONFIG, SPLIT = "model.keras", "labels.json", "config.json", "split.csv"
HISTORY, METRICS, REPORT, FIGURES = "history.csv", "metrics.json", "report.html", "figures"
BASELINES, COMPARISON = "baselines", "comparison.json"


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

    def model(self) -> "keras.Model":
        """Load the network, without its optimiser. No code in the file is run."""
        import keras

        file = self.folder / MODEL
        try:
            model = keras.saving.load_model(file, compile=False, safe_mode=True)
        except Exception as error:  # keras raises whatever its parts raise
            reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
            raise UserError(f"{file} cannot be loaded ({reason}): train it again or get a sound copy") from error
        found = {name: output.shape[-1] for name, output in model.output.items()}
        if found != (wanted := {name: len(task.classes) for name, task in self.tasks.items()}):
            raise UserError(f"{self.folder / LABELS} does not belong to {MODEL}: it has {wanted} classes, that {found}")
        return model


def save_labels(
    folder: Path,
    tasks: dict[str, Task],
    image_size: int,
    copy_side: int,
    demo: bool,
    views: Sequence[str] = ("whole",),
    temperatures: Mapping[str, float] | None = None,
) -> None:
    """Write `labels.json`: what a model's inputs and outputs mean.

    A probability of the network, p, stands for the softmax of log(p) / temperature.
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
    write_json(folder / LABELS, content)


def save_model(model: "keras.Model", folder: Path) -> None:
    """Write `model.keras`, whole."""
    with whole(folder / MODEL) as temporary:
        model.save(temporary)


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
        return Run(folder, tasks, size, side, bool(content.get("demo")), temperatures, views)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / LABELS} is damaged ({type(error).__name__}: {error}): get a sound copy") from error


def newest(models: Path = Path("models")) -> Path:
    """The folder of the newest run."""
    runs = [p.parent for p in Path(models).glob(f"*/{MODEL}") if not p.parent.name.startswith(".")]
    if not runs:
        raise UserError(f"there is no trained model in {models}: train one with python -m painters_mtl.train")
    return max(runs, key=lambda folder: ((folder / MODEL).stat().st_mtime_ns, folder.name))


def _check_network(settings: TrainSettings) -> None:
    if settings.weights not in ("imagenet", "none") and not Path(settings.weights).is_file():
        raise UserError(f"--weights {settings.weights} is not there: give a weights file, imagenet, or none")
    if settings.backbone not in ("efficientnet_lite0", "small_convnet"):
        cli.import_tensorflow()
        from painters_mtl.backbones import find_application

        find_application(settings.backbone)


def _check_sources(settings: TrainSettings, folder: Path) -> None:
    """That the networks to start from or to learn from are there, and not in the folder that may be replaced."""
    for option, sources in (("--start-from", settings.start_from), ("--teachers", settings.teachers)):
        for source in sources:
            open_run(source, option=option)
            if folder.resolve() in (source.resolve(), *source.resolve().parents):
                raise UserError(f"{option} {source} is part of the run {folder} itself: choose another --name")
    if settings.start_shared not in ("mean", "imagenet", *TASK_NAMES):
        raise UserError(f"--start-shared {settings.start_shared} is unknown: mean, imagenet, {', '.join(TASK_NAMES)}")


def run_folder(settings: TrainSettings) -> Path:
    """Where the run goes. One that is there already is continued if its settings are the same, else refused.

    Also refuses a network that cannot be built: now, not after an hour of making small copies.
    """
    _check_network(settings)
    folder = settings.models / (settings.name or time.strftime("%Y%m%d-%H%M%S"))
    _check_sources(settings, folder)
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: choose another --name")
    if any(folder.iterdir()):
        if not any((folder / name).exists() for name in (CONFIG, LABELS)):
            raise UserError(f"{folder} is not the folder of a run and is not replaced: choose another --name")
        if not settings.overwrite and (changed := changes(settings, folder / CONFIG)):
            raise UserError(
                f"{folder} is there already, with other settings ({', '.join(changed)}): choose another --name, or "
                "--overwrite to replace it"
            )
    return folder


def changes(settings: TrainSettings, file: Path) -> list[str]:
    """The settings that differ from those in a run's config.json, but for those that change no result."""
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [f"{file.name} is missing or damaged"]
    now = settings.to_dict()
    same = {"overwrite", "baselines", "cache", "memory_gb", "name", "models", "seeds", "strategies"}
    return sorted(k for k in {*before, *now} - same if before.get(k) != now.get(k))
