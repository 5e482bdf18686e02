"""What a command does about a run folder that is there already: go on with it, refuse it, replace it."""

import dataclasses
import json
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.data.tasks import TASK_NAMES
from painters_mtl.runs.run import BASELINES, CONFIG, LABELS, METRICS, MODEL, check_teacher_size, open_run
from painters_mtl.training.checkpoint import CHECKPOINT
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.tf_config import cluster_asked_for

S = TypeVar("S", bound=TrainSettings)


def settings_to_resume(settings: S, named: frozenset[str] = frozenset()) -> S:
    """With --resume, the settings of the run that is there, and from the command line what it names.

    Raises `UserError` where there is no such run; one with other settings is refused later, as without --resume.

    Args:
        named: the settings that the command line names, also where it names the default. What differs from the
            defaults counts as named: no command line made the settings of a notebook.
    """
    if not settings.resume:
        return settings
    if not settings.name:
        raise UserError(f"--resume needs the --name of the run to go on with{_unfinished(settings.models)}")
    folder = settings.models / settings.name
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"--resume: {folder} has no run to go on with{_unfinished(settings.models)}; leave --resume out to start it"
        )
    default, before = type(settings)(), type(settings).load(folder / CONFIG)
    own = {"name", "models", "overwrite", *settings.NOT_STORED}
    kept = {
        field.name: getattr(before, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in own | named and getattr(settings, field.name) == getattr(default, field.name)
    }
    return dataclasses.replace(settings, **kept)


@contextmanager
def remove_unfinished_on_failure(folder: Path, replace: bool = False) -> Iterator[None]:
    """Where the block fails, a folder that it made goes again, unless it holds something to go on with or to use.

    Args:
        replace: begin without the folder that is there; it comes back if nothing takes its place.
    """
    aside = folder.with_name(f".{folder.name}-replaced")
    if replace and folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        folder.replace(aside)
    new = not folder.exists()
    try:
        yield
    except BaseException:
        if new and not any(any(folder.rglob(name)) for name in (MODEL, METRICS, CHECKPOINT)):
            shutil.rmtree(folder, ignore_errors=True)
            if replace and aside.exists():
                aside.replace(folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _unfinished(models: Path) -> str:
    """The names of runs with a checkpoint in them or in their baselines, to be added to a sentence."""
    found = {file.relative_to(models).parts[0] for file in models.rglob(CHECKPOINT)} if models.is_dir() else set()
    return (
        f" (unfinished in {models}: {', '.join(sorted(found))})" if found else f" (nothing is unfinished in {models})"
    )


def resume_command(verb: str, settings: TrainSettings, folder: Path) -> str:
    """The sentence with the command that goes on."""
    if (
        cluster_asked_for(settings.distribute) is not None
    ):  # not all workers need see the folder that --resume looks into
        return "to go on: start all workers again with the command of the start"
    models = [] if settings.models == type(settings)().models else ["--models", str(settings.models)]
    words = ["python", "-m", f"painters_mtl.{verb}", "--resume", "--name", folder.name, *models]
    for name in ("distribute", "engine", "ray_address", "ray_cpus"):  # where it runs is not in config.json
        if (value := getattr(settings, name, None)) != getattr(type(settings)(), name, None):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return f"to go on: {shlex.join(words)}"


def _check_network(settings: TrainSettings, trained_here: bool) -> None:
    if settings.weights not in ("imagenet", "none") and not Path(settings.weights).is_file():
        raise UserError(f"--weights {settings.weights} is not there: give a weights file, imagenet, or none")
    if settings.backbone not in ("efficientnet_lite0", "small_convnet"):
        lazy_imports.import_tensorflow()
        from painters_mtl.network.backbones import build_backbone, find_application

        # Workers meet before TensorFlow makes a variable.
        if not trained_here or cluster_asked_for(settings.distribute) is not None:
            find_application(settings.backbone)
        else:
            build_backbone(settings.backbone, settings.image_size, settings.weights)


def _check_sources(settings: TrainSettings, folder: Path) -> None:
    """That networks to start from or to learn from are there, fit, and not in the folder that may be replaced."""
    if settings.start_shared not in ("mean", "imagenet", *TASK_NAMES):
        raise UserError(f"--start-shared {settings.start_shared} is unknown: mean, imagenet, {', '.join(TASK_NAMES)}")
    if not settings.start_from and not settings.teachers:
        return
    from painters_mtl.images.cache import cache_side

    for option, sources in (("--start-from", settings.start_from), ("--teachers", settings.teachers)):
        for source in sources:
            run = open_run(source, option=option)
            if option == "--teachers":
                check_teacher_size(run, cache_side(settings.image_size))
            if folder.resolve() in (source.resolve(), *source.resolve().parents):
                raise UserError(f"{option} {source} is part of the run {folder} itself: choose another --name")


def prepare_run_folder(settings: TrainSettings, trained_here: bool = True) -> Path:
    """Where the run goes. One that is there already is continued if its settings are the same, else refused.

    Also refuses a network that cannot be built: now, not after an hour of making small copies.

    Args:
        trained_here: this process trains; a machine of a Ray cluster may have another Keras.
    """
    _check_network(settings, trained_here)
    folder = settings.models / (settings.name or time.strftime("%Y%m%d-%H%M%S"))
    _check_sources(settings, folder)
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: choose another --name")
    if any(not file.name.startswith(".") for file in folder.iterdir()):  # a killed write leaves a hidden file
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
        raw = json.loads(file.read_text(encoding="utf-8"))
        before = type(settings)().to_dict() | raw  # it may lack a setting that is newer
    except (OSError, ValueError, TypeError):
        return [f"{file.name} is missing or damaged"]
    now = settings.to_dict()
    if ("seeds" in raw) != ("seeds" in now):
        return [f"it was made by python -m painters_mtl.{'compare' if 'seeds' in raw else 'train'}"]
    same = {"overwrite", "baselines", "cache", "memory_gb", "name", "models", "seeds", "strategies"}
    if not (file.parent / BASELINES).is_dir() and "seeds" not in now:
        same.add("budget")  # of the baselines, and there are none
    for values in (before, now):  # however the place was written
        for key in ("data", "split"):
            values[key] = values.get(key) and str(Path(values[key]).resolve())
    return sorted(k for k in {*before, *now} - same if before.get(k) != now.get(k))
